"""The rights in our manifests suffice, each of them is used, and the want of one is said where people look."""

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster import ACCOUNT, SYSTEM, TEAM, Cluster, Manifest, account_name
from support.real import RealStage
from support.stage import wait_until

pytestmark = pytest.mark.e2e

NAME = "orders"
LEASES = "/apis/coordination.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
Right = tuple[str, str, str]
LEASE = ("--leader-elect", "--lease-duration", "3", "--lease-renew-deadline", "2", "--lease-retry-period", "0.3")
OVERLAYS = {"cluster-wide": SYSTEM, "namespaced": TEAM}
_numbers = itertools.count(1)


def roles(cluster: Cluster, overlay: str) -> Iterator[Manifest]:
    """The roles of the operator's account."""
    manifests = cluster.manifests(overlay)
    bound = {
        (manifest["roleRef"]["kind"], manifest["roleRef"]["name"])
        for manifest in manifests
        if manifest["kind"].endswith("RoleBinding")
    }
    yield from (manifest for manifest in manifests if (manifest["kind"], manifest["metadata"]["name"]) in bound)


def rights(role: Manifest) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def connection_secret(stage: RealStage, name: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "pipeline-approver.io/connection",
        "stringData": {"url": stage.feldera.url},
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_the_operator_uses_every_right_that_it_has_and_lacks_none(
    overlay: str, cluster: Cluster, tmp_path: Path
) -> None:
    """One operator in everything that it ever asks of an API server: without one of the rights it would be refused."""
    home = OVERLAYS[overlay]
    namespace = TEAM if overlay == "namespaced" else ""
    async with RealStage(tmp_path, cluster, account=home, namespace=namespace) as stage:
        stage.feldera.add(NAME, state="AwaitingApproval")
        stage.kube.put(connection_secret(stage, "feldera"))
        stage.create(NAME, connectionSecretRef={"name": "feldera"})
        cluster.server.request("DELETE", f"{LEASES}/namespaces/{home}/leases/pipeline-approver")
        async with stage.operated_by(*LEASE, environ={"POD_NAMESPACE": home}):
            request = await stage.request(NAME)
            # The same event again, and somebody who writes between a read of the operator and its write.
            for value in ("nonsense", None, "nonsense"):
                stage.annotate(NAME, approve=value)
                await stage.reach(NAME, lambda status, value=value: bool(status.get("ignored")) is bool(value))
            held = stage.kube.gate.hold(("patch", "pipelines/status"))
            stage.annotate(NAME, approve=request["id"])
            await held.reached.wait()
            stage.annotate(NAME, reason="late")
            stage.kube.faults.holds.remove(held)
            held.release()
            await stage.reach(NAME, lambda status: status.get("decision", {}).get("checkpoint") == "Durable")
            await wait_until(lambda: [event["count"] for event in stage.events(NAME, "AnnotationIgnored")] == [2])
        assert len([record for record in stage.feldera.approvals if record.effective]) == 1
        granted = {right for role in roles(cluster, overlay) for right in rights(role)}
        used = {request.right for request in stage.operated() if request.resource}
        assert used == granted


@contextlib.asynccontextmanager
async def stage_without(cluster: Cluster, folder: Path, *missing: Right) -> AsyncIterator[RealStage]:
    """A stage whose operator has all rights of the overlay `namespaced` but one."""
    home = f"poor-{next(_numbers)}"
    call = cluster.server.request
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": home}}
    cluster.create(account)
    left = [right for role in roles(cluster, "namespaced") for right in rights(role) if right not in missing]
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": [verb]} for group, resource, verb in left]
    assert call("POST", f"{RBAC}/namespaces/{home}/roles", {"metadata": {"name": "poor"}, "rules": rules})[0] == 201
    binding = {
        "metadata": {"name": "poor"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "poor"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": home}],
    }
    assert call("POST", f"{RBAC}/namespaces/{home}/rolebindings", binding)[0] == 201
    with pytest.raises(AssertionError, match="the operator lacks a right"):
        async with RealStage(folder, cluster, account=home, namespace=home) as stage:
            yield stage


async def test_without_the_right_to_list_the_operator_says_so_and_ends(cluster: Cluster, tmp_path: Path) -> None:
    missing = ("pipeline-approver.io", "pipelines", "list")
    async with stage_without(cluster, tmp_path, missing) as stage, stage.operated_by() as operator:
        assert await operator.ended() == 1
        told = "may not list Pipelines: pipelines.pipeline-approver.io is forbidden"
        assert f'{told}: User "{account_name(stage.namespace)}"' in operator.output


async def test_without_the_right_to_the_lease_the_operator_says_so_and_ends(cluster: Cluster, tmp_path: Path) -> None:
    async with (
        stage_without(cluster, tmp_path, ("coordination.k8s.io", "leases", "get")) as stage,
        stage.operated_by(*LEASE, environ={"POD_NAMESPACE": stage.namespace}) as operator,
    ):
        assert await operator.ended() == 1
        assert "may not use the Lease pipeline-approver" in operator.output


async def test_without_the_right_to_write_the_status_nothing_is_approved_and_the_log_says_why(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with stage_without(cluster, tmp_path, ("pipeline-approver.io", "pipelines/status", "patch")) as stage:
        stage.feldera.add(NAME, state="AwaitingApproval")
        stage.create(NAME, annotations={"approve": "true"})
        async with stage.operated_by() as operator:
            await operator.says('cannot patch resource "pipelines/status"')
            await stage.polls(3)
        assert stage.feldera.approvals == []


async def test_without_the_right_to_secrets_the_pipeline_says_so(cluster: Cluster, tmp_path: Path) -> None:
    async with stage_without(cluster, tmp_path, ("", "secrets", "get")) as stage:
        stage.kube.put(connection_secret(stage, "feldera"))
        stage.create(NAME, connectionSecretRef={"name": "feldera"})
        async with stage.operated_by():
            await stage.reach(NAME, lambda status: status.get("state") == "Misconfigured")
        connected = stage.condition(NAME, "Connected")
        assert (connected["reason"], "give its account the verb get on secrets" in connected["message"]) == (
            "SecretForbidden",
            True,
        )


EVENT_RIGHTS = [("", "events", verb) for verb in ("create", "get", "patch")]


async def test_without_the_right_to_events_everything_else_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    async with stage_without(cluster, tmp_path, *EVENT_RIGHTS) as stage:
        stage.feldera.add(NAME, state="AwaitingApproval")
        stage.create(NAME, annotations={"approve": "true"})
        async with stage.operated_by() as operator:
            await stage.outcome(NAME, "Bootstrapped")
            await operator.says("Events cannot be posted")
            assert operator.output.count("Events cannot be posted") == 1


async def test_nobody_but_the_operator_writes_statuses_and_it_writes_nothing_else(cluster: Cluster) -> None:
    """The permissions of the account itself, asked of the API server."""
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

    def may(verb: str, resource: str, *, user: str = account_name(SYSTEM), namespace: str = "shop") -> Any:
        group, _, rest = resource.partition("/")
        plural, _, subresource = rest.partition("/")
        where = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "subresource": subresource}
        body = {"spec": {"user": user, "resourceAttributes": where}}
        return cluster.server.request("POST", path, body)[1]["status"]["allowed"]

    assert may("patch", "pipeline-approver.io/pipelines/status")
    assert not may("patch", "pipeline-approver.io/pipelines/status", user="alice")
    team = account_name(TEAM)
    assert may("patch", "pipeline-approver.io/pipelines/status", user=team, namespace=TEAM)
    assert not may("patch", "pipeline-approver.io/pipelines/status", user=team)
    for user, namespace in ((account_name(SYSTEM), "shop"), (team, TEAM)):
        for verb in ("create", "update", "patch", "delete", "deletecollection", "approve"):
            assert not may(verb, "pipeline-approver.io/pipelines", user=user, namespace=namespace)
        for verb in ("list", "watch", "create", "update", "patch", "delete"):
            assert not may(verb, "/secrets", user=user, namespace=namespace)


async def test_a_namespaced_operator_neither_sees_nor_touches_other_namespaces(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with RealStage(tmp_path, cluster, account=TEAM, namespace=TEAM) as stage:
        await stage.cluster.kubectl(
            "-n",
            "shop",
            "apply",
            "-f",
            "-",
            stdin=json.dumps(
                {"apiVersion": "pipeline-approver.io/v1alpha1", "kind": "Pipeline", "metadata": {"name": NAME}}
            ),
        )
        stage.feldera.add(NAME, state="AwaitingApproval")
        stage.create("mine", pipelineName=NAME)
        async with stage.operated_by():
            await stage.request("mine")
        assert {request.namespace for request in stage.operated() if request.resource} == {TEAM}
        await stage.cluster.kubectl("-n", "shop", "delete", "fpl", NAME)
