"""Who may do what, and how a refusal reads."""

import pytest

from pipeline_approver.sandbox.kube import KubeServer
from support.rawkube import MERGE, RawKube


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        (
            "GET",
            "widgets",
            'widgets.conformance.example.com is forbidden: User "stranger" cannot list resource "widgets"'
            ' in API group "conformance.example.com" in the namespace "{namespace}"',
        ),
        (
            "GET",
            "all",
            'widgets.conformance.example.com is forbidden: User "stranger" cannot list resource "widgets"'
            ' in API group "conformance.example.com" at the cluster scope',
        ),
        (
            "GET",
            "widgets/a",
            'widgets.conformance.example.com "a" is forbidden: User "stranger" cannot get resource "widgets"'
            ' in API group "conformance.example.com" in the namespace "{namespace}"',
        ),
        (
            "PATCH",
            "widgets/a/status",
            'widgets.conformance.example.com "a" is forbidden: User "stranger" cannot patch resource "widgets/status"'
            ' in API group "conformance.example.com" in the namespace "{namespace}"',
        ),
        (
            "DELETE",
            "widgets",
            'widgets.conformance.example.com is forbidden: User "stranger" cannot deletecollection resource "widgets"'
            ' in API group "conformance.example.com" in the namespace "{namespace}"',
        ),
    ],
)
async def test_a_refusal_names_the_user_the_verb_and_the_place(
    api: RawKube, stranger: RawKube, method: str, path: str, message: str
) -> None:
    await api.create("a")
    url = stranger.all_widgets if path == "all" else stranger.widgets + path.removeprefix("widgets")
    answer = await stranger.call(method, url, {} if method == "PATCH" else None, kind=MERGE)
    assert answer.refusal == (403, "Forbidden")
    assert answer.body["message"] == message.format(namespace=api.namespace)


async def test_a_watch_may_be_refused(stranger: RawKube) -> None:
    answer = await stranger.call("GET", stranger.widgets, watch="true")
    assert answer.refusal == (403, "Forbidden")
    assert 'cannot watch resource "widgets"' in answer.body["message"]


async def test_the_core_group_has_no_name(stranger: RawKube) -> None:
    answer = await stranger.call("GET", f"{stranger.core}/secrets/s")
    assert answer.body["message"] == (
        'secrets "s" is forbidden: User "stranger" cannot get resource "secrets" in API group "" in the namespace'
        f' "{stranger.namespace}"'
    )


async def test_a_token_that_nobody_knows_is_refused(api: RawKube) -> None:
    api._token = "nonsense"
    answer = await api.call("GET", api.widgets)
    assert answer.refusal == (401, "Unauthorized")
    assert answer.body["message"] == "Unauthorized"


async def test_everybody_may_ask_what_he_may(api: RawKube, stranger: RawKube) -> None:
    for raw, is_allowed in ((api, True), (stranger, False)):
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    "verb": "approve",
                    "group": "conformance.example.com",
                    "resource": "widgets",
                    "namespace": api.namespace,
                }
            },
        }
        answer = await raw.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        assert answer.status == 201
        assert answer.object["status"]["allowed"] is is_allowed


async def test_everybody_may_ask_who_he_is(stranger: RawKube) -> None:
    stranger.needs((1, 28), "self subject review")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await stranger.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    assert answer.object["status"]["userInfo"] == {"username": "stranger", "groups": ["system:authenticated"]}


async def test_an_authorizer_can_be_set_at_any_time_and_sees_everything(
    memory_server: KubeServer, memory: RawKube
) -> None:
    asked = []

    def allow(*question: object) -> bool:
        asked.append(question)
        return question[1] != "delete"

    await memory.create("a")
    memory_server.allow = allow
    assert (await memory.merge("a", {"status": {"phase": "Up"}}, sub="/status")).status == 200
    assert (await memory.delete("a")).status == 403
    group, namespace = "conformance.example.com", memory.namespace
    assert asked == [
        ("admin", "patch", group, "widgets", "status", namespace, "a"),
        ("admin", "delete", group, "widgets", "", namespace, "a"),
    ]
    memory_server.allow = None
    assert (await memory.delete("a")).status == 200


async def test_an_impersonated_user_is_the_one_that_asks(memory_server: KubeServer, memory: RawKube) -> None:
    memory_server.allow = lambda user, *_: user == "alice"
    assert (await memory.get("a")).status == 403
    for user, status in (("alice", 404), ("bob", 403)):
        answer = await memory.call("GET", f"{memory.widgets}/a", headers={"Impersonate-User": user})
        assert answer.status == status
    assert [record.user for record in memory_server.requests][-3:] == ["admin", "alice", "bob"]
