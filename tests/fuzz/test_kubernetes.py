"""Whatever Kubernetes holds: manifests, statuses, annotations and Secrets are read, or refused with a message."""

import base64
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.test_decide import apply_patch

from pipeline_approver.core.resource import parse_resource
from pipeline_approver.core.statusjson import build_merge_patch, parse_status, render_status
from pipeline_approver.core.tokens import LONGEST, TokenKind, parse_token
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import SECRET_TYPE, ConnectionInvalid, connection_from_secret
from support.fuzz import JSON, NUMBER, TEXT, TOKENS

TIMES = TEXT | st.sampled_from(
    [
        *("2026-11-23T12:00:00Z", "2026-11-23T12:00:00.123456789Z", "2026-11-23", "0001-01-01T00:00:00+14:00"),
        *("9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z", "2026-11-23T12:00:00", "2026-W48-1", "20261123T120000Z"),
    ]
)
WORDS = st.sampled_from(
    ["Approved", "Rejected", "Sending", "Sent", "Bootstrapped", "Failed", "Durable", "Silent", "Emit"]
)


def build(**fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these fields, each as it should be or anything at all."""
    return st.fixed_dictionaries({}, optional={key: strategy | JSON for key, strategy in fields.items()})


BY = build(via=st.sampled_from(["Annotation", "Policy"]), user=TEXT, manager=TEXT, policy=TEXT)
DECISIONS = build(
    requestId=TEXT,
    deploymentId=TEXT,
    digest=TEXT,
    verdict=WORDS,
    by=BY,
    reason=TEXT,
    at=TIMES,
    outputs=WORDS,
    outcome=WORDS,
    message=TEXT,
    attempts=NUMBER,
    retryAt=TIMES,
    checkpoint=WORDS,
    checkpoint_sequence_number=NUMBER,
)
CHANGES = build(
    addedViews=st.lists(TEXT), modifiedTables=st.lists(TEXT | JSON), omitted=NUMBER, error=TEXT, novelty=JSON
)
STATUSES = build(
    observedGeneration=NUMBER,
    state=TEXT,
    checkpoint_sequence_number=NUMBER,
    checkpointIncarnation=TEXT,
    pipeline=build(id=TEXT, deploymentId=TEXT, status=TEXT, programVersion=NUMBER, platformVersion=TEXT),
    request=build(
        id=TEXT,
        digest=TEXT,
        since=TIMES,
        risk=TEXT,
        reasons=st.lists(TEXT),
        summary=TEXT,
        outputs=WORDS,
        change=CHANGES,
    ),
    decision=DECISIONS,
    handled=build(approve=TOKENS, reject=TOKENS),
    ignored=st.lists(build(annotation=TEXT, value=TEXT, reason=TEXT, message=TEXT), max_size=3),
    history=st.lists(DECISIONS, max_size=3),
    conditions=st.lists(
        build(type=TEXT, status=TEXT, reason=TEXT, message=TEXT, observedGeneration=NUMBER, lastTransitionTime=TIMES),
        max_size=3,
    ),
)


@given(status=STATUSES | JSON)
def test_any_status_is_read_and_written_again_as_it_was_read(status: Any) -> None:
    read = parse_status(status)
    rendered = render_status(read)
    json.dumps(rendered, allow_nan=False)
    assert parse_status(rendered) == read
    assert render_status(parse_status(rendered)) == rendered


@given(before=STATUSES, after=STATUSES)
def test_the_patch_makes_one_status_of_the_other(before: Any, after: Any) -> None:
    one, other = (render_status(parse_status(status)) for status in (before, after))
    patch = build_merge_patch(one, other)
    assert apply_patch(one, patch) == other
    assert (patch == {}) == (one == other)


@given(value=TOKENS | JSON)
def test_any_annotation_is_a_token_that_fits(value: Any) -> None:
    token = parse_token(value)
    assert len(token.text) <= LONGEST
    assert (token.kind is TokenKind.NONE) == (value in (None, "", "false"))
    if token.kind in (TokenKind.ID, TokenKind.DIGEST, TokenKind.ONE_SHOT):
        assert token.text == value
    assert (token.complaint != "") == (token.kind is TokenKind.INVALID)


ANNOTATIONS = st.dictionaries(
    st.sampled_from(["approve", "reject", "reason", "approved-by"]).map("pipeline-approver.io/{}".format) | TEXT,
    TOKENS.filter(lambda value: value is not None),
    max_size=5,
)
FIELDS = build(
    **{
        "f:metadata": build(**{"f:annotations": build(**{"f:pipeline-approver.io/approve": st.just({}), ".": JSON})}),
        "f:spec": JSON,
    }
)
MANAGED = st.lists(build(manager=TEXT, operation=TEXT, fieldsV1=FIELDS, time=TIMES), max_size=3)
METADATA = st.fixed_dictionaries(
    {"uid": TEXT, "namespace": TEXT, "name": TEXT},
    optional={
        "resourceVersion": st.sampled_from(["1", "2", "10", "x", "", "9" * 5000]) | TEXT | JSON,
        "generation": NUMBER | JSON,
        "creationTimestamp": TIMES | JSON,
        "deletionTimestamp": TIMES | JSON,
        "annotations": ANNOTATIONS | JSON,
        "labels": JSON,
        "managedFields": MANAGED | JSON,
    },
)
SPECS = build(
    pipelineName=TEXT,
    connectionSecretRef=build(name=TEXT),
    outputs=WORDS,
    checkpoint=st.sampled_from(["AfterBootstrap", "Never"]),
    suspend=st.booleans(),
    autoApprove=TEXT,
)
MANIFESTS = st.fixed_dictionaries({"metadata": METADATA}, optional={"spec": SPECS | JSON, "status": STATUSES | JSON})


@given(manifest=MANIFESTS)
def test_any_pipeline_is_read(manifest: dict[str, Any]) -> None:
    resource = parse_resource(manifest)
    assert resource.key == f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
    assert resource.pipeline_name or not resource.name
    assert len(resource.reason) <= 512
    assert len(resource.approved_by) <= 253
    assert all(len(manager) <= 253 for _, manager in resource.managers)
    assert type(resource.generation) is int
    assert resource.who("approve").via == "Annotation"
    # An odd reference to a Secret never becomes the operator's own connection.
    reference = manifest.get("spec", {})
    reference = reference.get("connectionSecretRef") if isinstance(reference, dict) else None
    assert (resource.secret_name is None) == (reference is None)


@given(
    secret=st.fixed_dictionaries(
        {"type": st.just(SECRET_TYPE) | JSON},
        optional={
            "data": st.dictionaries(
                st.sampled_from(["url", "api-key", "ca.crt"]) | TEXT,
                (TEXT | st.sampled_from(["http://feldera", "https://f:1/v0", "http://🍝"])).map(
                    lambda text: base64.b64encode(text.encode("utf-8", errors="surrogatepass")).decode()
                )
                | st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode())
                | TEXT
                | JSON,
            )
            | JSON
        },
    )
)
@example(secret={"type": SECRET_TYPE, "data": {"url": base64.b64encode(b"http://[fe80::1%25eth0]:80").decode()}})
def test_any_secret_is_a_connection_that_opens_or_is_refused_with_a_message(secret: dict[str, Any]) -> None:
    try:
        connection = connection_from_secret(secret)
    except ConnectionInvalid as error:
        assert str(error).isprintable()
        assert len(str(error)) < 400
        assert error.reason.isalnum()
    else:
        connection.fingerprint()
        FelderaClient(connection)
