"""The same tables on an API server that has admission policies: it decides as they are evaluated here."""

import copy
import itertools
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from pipeline_approver.sandbox.crd import read_crd
from pipeline_approver.sandbox.real import RealServer
from support import stamping
from support.approving import ALLOWED, REFUSED
from support.people import EDITORS, GRANTS, NAMESPACES, policies
from support.pipelines import GROUP, WAITING, pipeline, waiting
from support.rawkube import Answer, RawKube, until

pytestmark = pytest.mark.e2e

USERS = (*EDITORS, "argo")
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server with the definition, the people and their roles, and no policy yet."""
    server = RealServer(tmp_path_factory.mktemp("real"), users=dict.fromkeys(USERS, ()))
    try:
        server.start()
        create(server, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", read_crd())
        for name, labels in NAMESPACES.items():
            if name != "default":
                create(server, "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        for number, grant in enumerate(GRANTS):
            name = f"grant-{number}"
            create(server, f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": grant.role["rules"]})
            binding = {
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": grant.user}],
            }
            where = f"namespaces/{grant.namespace}/rolebindings" if grant.namespace else "clusterrolebindings"
            create(server, f"{RBAC}/{where}", binding)
        yield server
    finally:
        server.stop()


def create(server: RealServer, path: str, manifest: dict[str, Any]) -> None:
    status, answer = server.request("POST", path, manifest)
    assert status in (201, 409), answer


class People:
    """Everybody who may write, on one server."""

    def __init__(self, server: RealServer, session: aiohttp.ClientSession, version: tuple[int, int]) -> None:
        admin = next(iter(server.kubeconfig()["users"]))["user"]["token"]
        tokens = {user: server.token(user) for user in USERS} | {"": admin}
        self.version = version
        self._users = {
            user: RawKube(session, server.url, token, namespace="default", version=version)
            for user, token in tokens.items()
        }

    async def call(self, user: str, method: str, manifest: dict[str, Any], sub: str = "", **query: str) -> Answer:
        metadata = manifest["metadata"]
        path = f"/apis/{GROUP}/v1alpha1/namespaces/{metadata['namespace']}/pipelines"
        place = "" if method == "POST" else f"/{metadata['name']}{sub}"
        return await self._users[user].call(method, path + place, None if method in ("GET", "DELETE") else manifest)

    async def write(self, user: str, new: dict[str, Any], old: dict[str, Any] | None, *, by: str = "") -> Answer:
        """What comes of a user writing `new` where `old` is, which `by` has made."""
        new = copy.deepcopy(new)
        await self.call("", "DELETE", old or new)
        if old is None:
            return await self.call(user, "POST", new)
        made = (await self.call(by, "POST", {**old, "status": None})).object
        if old.get("status"):
            made = (await self.call("", "PUT", {**made, "status": old["status"]}, "/status")).object
        new["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        return await self.call(user, "PUT", new)


@pytest.fixture
async def people(server: RealServer) -> AsyncIterator[People]:
    said = server.request("GET", "/version")[1]
    version = (int(said["major"]), int(said["minor"].rstrip("+")))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield People(server, session, version)


def needs(people: People, version: tuple[int, int], feature: str) -> None:
    if people.version < version:
        pytest.skip(f"NOT CHECKED ON THIS SERVER: KUBERNETES {people.version} HAS NO {feature} YET ({version} HAS)")


async def install(server: RealServer, people: People, *components: str) -> None:
    """Apply policies, and wait until they are in force."""
    for manifest in policies(*components):
        plural = "policies" if manifest["kind"].endswith("Policy") else "policybindings"
        kind = "validatingadmission" if manifest["kind"].startswith("Validating") else "mutatingadmission"
        create(server, f"/apis/admissionregistration.k8s.io/v1/{kind}{plural}", manifest)
    probe = pipeline(name="probe", approve="nonsense")

    async def is_in_force() -> bool:
        return (await people.write("argo", probe, None)).status != 201

    await until(is_in_force)


def is_about_rules(*manifests: dict[str, Any] | None) -> bool:
    """The definition has no spec.autoApprove yet: it is pruned before a policy sees it."""
    return any(manifest and "autoApprove" in manifest["spec"] for manifest in manifests)


async def test_it_refuses_and_allows_what_the_table_says(server: RealServer, people: People) -> None:
    needs(people, (1, 30), "VALIDATING ADMISSION POLICIES")
    await install(server, people, "approve-verb")
    wrong = []
    for case, (user, old, new, message) in REFUSED.items():
        # Who has no role at all is refused before any policy.
        if user not in USERS or is_about_rules(old, new):
            continue
        answer = await people.write(user, new, old, by=author_of(old))
        if answer.status not in (403, 422) or message not in answer.body["message"]:
            wrong.append((case, answer.status, answer.body))
    for case, (user, old, new) in ALLOWED.items():
        if is_about_rules(old, new):
            continue
        answer = await people.write(user, new, old, by=author_of(old))
        if answer.status not in (200, 201):
            wrong.append((case, answer.status, answer.body))
    assert wrong == []


def author_of(old: dict[str, Any] | None) -> str:
    """Nobody can be made to have approved by somebody else."""
    annotations = (old or {"metadata": {}})["metadata"].get("annotations", {})
    return str(annotations.get(f"{GROUP}/approved-by", ""))


async def test_it_stamps_who_decided(server: RealServer, people: People) -> None:
    needs(people, (1, 36), "MUTATING ADMISSION POLICIES")
    await install(server, people, "approve-verb", "approved-by")

    async def is_in_force() -> bool:
        written = await people.write("ann", pipeline(approve="true"), None)
        return stamping.stamp(written.object) == "ann"

    await until(is_in_force)
    wrong = []
    for case, (user, old, new, expected) in stamping.CASES.items():
        if case in stamping.OLDER_THAN_THE_POLICY:
            continue
        answer = await people.write(user, new, old, by=author_of(old))
        if answer.status not in (200, 201) or stamping.stamp(answer.body) != expected:
            wrong.append((case, answer.status, answer.body))
    assert wrong == []


async def test_it_takes_two(server: RealServer, people: People) -> None:
    needs(people, (1, 36), "MUTATING ADMISSION POLICIES")
    await install(server, people, "approve-verb", "approved-by", "four-eyes")
    names = itertools.count()

    async def fresh(**more: Any) -> dict[str, Any]:
        """A Pipeline of ed's, in a namespace that asks for four eyes, with a request that waits."""
        manifest = pipeline(name=f"orders-{next(names)}", namespace="strict", **more)
        made = (await people.call("ed", "POST", manifest)).object
        return (await people.call("", "PUT", {**made, "status": waiting()}, "/status")).object

    async def change(user: str, manifest: dict[str, Any], *, silent: bool = False, **annotations: str) -> Answer:
        manifest = copy.deepcopy(manifest)
        found = manifest["metadata"].setdefault("annotations", {})
        found |= {f"{GROUP}/{key}": value for key, value in annotations.items()}
        manifest["spec"] |= {"outputs": "Silent"} if silent else {}
        return await people.call(user, "PUT", manifest)

    async def is_in_force() -> bool:
        return f"{GROUP}/changed-by" in (await fresh())["metadata"].get("annotations", {})

    await until(is_in_force)
    approved = await change("ann", await fresh(), approve=WAITING)
    assert approved.status == 200, approved.body
    changed = await change("ann", approved.object, silent=True)
    assert "ann approved and so cannot change the spec" in changed.body["message"]
    rewritten = await change("bob", await fresh(), silent=True)
    refused = await change("bob", rewritten.object, approve=WAITING)
    assert "bob changed the Pipeline last" in refused.body["message"]
    assert (await change("ann", rewritten.object, approve=WAITING)).status == 200
