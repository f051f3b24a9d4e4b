"""The whole story as people live it: kubectl, a real API server, the operator as a process under its own account."""

import itertools
import json
import re

import pytest

from support.real import RealStage
from support.stage import API, GROUP, PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.e2e

NAME = "orders"
PIPELINE = {"apiVersion": API, "kind": "Pipeline", "metadata": {"name": NAME}}
TIMEOUT = f"--timeout={PATIENCE_SECONDS:g}s"


def cells(table: str) -> dict[str, str]:
    """Headings and cells of a table with one row; an empty cell is left out."""
    heading, row = table.splitlines()
    starts = [*(match.start() for match in re.finditer(r"\S+", heading)), None]
    found = {heading[a:b].strip(): row[a:b].strip() for a, b in itertools.pairwise(starts)}
    return {key: value for key, value in found.items() if value}


async def test_a_person_approves_with_kubectl_and_the_record_says_so(ground: RealStage) -> None:
    ground.feldera.add(NAME)
    assert "created" in await ground.kubectl("apply", "-f", "-", stdin=PIPELINE)
    async with ground.operated_by():
        await ground.kubectl("wait", "fpl", NAME, "--for=condition=Ready", TIMEOUT)
        row = cells(await ground.kubectl("get", "fpl"))
        assert (row["NAME"], row["STATUS"], row["READY"]) == (NAME, "Running", "True")
        assert "REQUEST" not in row

        ground.feldera.ask(NAME)
        await ground.kubectl("wait", "fpl", NAME, "--for=condition=ApprovalRequired", TIMEOUT)
        row = cells(await ground.kubectl("get", "fpl", "-o", "wide"))
        request_id = row["REQUEST"]
        assert (row["STATUS"], row["READY"], row["RISK"]) == ("AwaitingApproval", "False", "Additive")
        assert row["CHANGE"] == "1 view added"
        described = await ground.kubectl("describe", "fpl", NAME)
        command = re.search(r"kubectl (annotate .*?approve=[0-9a-f]{12})", " ".join(described.split()))
        assert command is not None

        await ground.kubectl("annotate", "fpl", NAME, f"{GROUP}/approve={request_id[:8]}")
        await ground.reach(NAME, lambda status: status.get("ignored"))
        assert ground.feldera.approvals == []

        # Exactly as the condition says it, copied out of the terminal.
        await ground.kubectl("annotate", "fpl", NAME, f"{GROUP}/reason=reviewed", f"{GROUP}/approved-by=alice")
        await ground.kubectl(*command[1].split())
        await ground.kubectl("wait", "fpl", NAME, "--for=condition=CheckpointDurable", TIMEOUT)
        row = cells(await ground.kubectl("get", "fpl", "-o", "wide"))
        assert (row["STATUS"], row["READY"], row["CHECKPOINT"], row["DECIDED-BY"]) == ("Running", "True", "0", "alice")

        decision = json.loads(await ground.kubectl("get", "fpl", NAME, "-o", "json"))["status"]["decision"]
        assert (decision["requestId"], decision["verdict"], decision["outcome"]) == (
            request_id,
            "Approved",
            "Bootstrapped",
        )
        assert decision["by"] == {"via": "Annotation", "user": "alice", "manager": "kubectl-annotate"}
        assert decision["reason"] == "reviewed"
        assert [record.effective for record in ground.feldera.approvals] == [True]

        await wait_until(lambda: ground.events(NAME, "CheckpointComplete"), "the last event")
        told = (await ground.kubectl("describe", "fpl", NAME)).partition("Events:")[2]
        for reason in ("ApprovalRequired", "AnnotationIgnored", "Approved", "Bootstrapped", "CheckpointComplete"):
            assert len(re.findall(rf"\s{reason}\s", told)) == 1, told

        assert "deleted" in await ground.kubectl("delete", "fpl", NAME, TIMEOUT)
    assert await ground.kubectl("get", "fpl", "-o", "name") == ""


async def test_a_person_rejects_with_kubectl_and_the_pipeline_is_stopped(ground: RealStage) -> None:
    ground.feldera.add(NAME, state="AwaitingApproval")
    await ground.kubectl("apply", "-f", "-", stdin=PIPELINE)
    async with ground.operated_by():
        request = await ground.request(NAME)
        await ground.kubectl("annotate", "fpl", NAME, f"{GROUP}/reject={request['id']}")
        decision = await ground.outcome(NAME, "Stopped")
        assert (decision["verdict"], decision["by"]["manager"]) == ("Rejected", "kubectl-annotate")
        assert [stop.force for stop in ground.feldera.stops] == [True]
        assert ground.feldera.approvals == []
        await wait_until(lambda: ground.events(NAME, "Stopped"), "the last event")


async def test_the_same_event_again_is_counted(ground: RealStage) -> None:
    ground.feldera.add(NAME, state="AwaitingApproval")
    ground.create(NAME)
    async with ground.operated_by():
        await ground.request(NAME)
        for value in ("nonsense", None, "nonsense"):
            ground.annotate(NAME, approve=value)
            await ground.reach(NAME, lambda status, value=value: bool(status.get("ignored")) is (value is not None))

        def counts() -> bool:
            return [event["count"] for event in ground.events(NAME, "AnnotationIgnored")] == [2]

        await wait_until(counts, "the event is counted")


async def test_explain_teaches_the_product(ground: RealStage) -> None:
    explained = await ground.kubectl("explain", "pipelines.spec.connectionSecretRef", "--api-version", API)
    assert "The Secret that says where Feldera is" in " ".join(explained.split())


async def test_people_with_our_roles_can_do_what_the_roles_say(ground: RealStage) -> None:
    ground.grant("alice", "pipeline-editor")
    ground.grant("carol", "pipeline-viewer")
    await ground.kubectl("apply", *ground.cluster.validation, "-f", "-", stdin=PIPELINE, user="alice")
    await ground.kubectl("annotate", "fpl", NAME, f"{GROUP}/reason=mine", user="alice")
    assert NAME in await ground.kubectl("get", "fpl", user="carol")
    for user, arguments in (
        ("carol", ("annotate", "fpl", NAME, f"{GROUP}/reason=hers", "--overwrite")),
        (
            "alice",
            ("patch", "fpl", NAME, "--subresource=status", "--type=merge", "-p", '{"status":{"state":"Forged"}}'),
        ),
        ("bob", ("get", "fpl")),
    ):
        with pytest.raises(AssertionError, match=f'User "{user}" cannot'):
            await ground.kubectl(*arguments, user=user)
