"""Four eyes: who changed the spec last cannot approve, and who approved cannot change it, where a namespace asks so."""

import contextlib

import pytest

from support.admission import Admission, Refused
from support.people import build, policies
from support.pipelines import DIGEST, WAITING, pipeline, waiting

STAMP = "pipeline-approver.io/changed-by"
SILENT = {"outputs": "Silent"}


def strict(author: str | None = "ed", **more: object) -> dict[str, object]:
    """A Pipeline in a namespace that asks for four eyes."""
    stamps = {} if author is None else {"changed_by": author}
    return pipeline(namespace="strict", **{"status": waiting(), **stamps, **more})  # type: ignore[arg-type]


CASES = {
    "ed changes, ann approves": ("ann", strict("ed"), strict("ed", approve=WAITING), None),
    "ann changes, ann approves": (
        "ann",
        strict("ann"),
        strict("ann", approve=WAITING),
        "ann changed the Pipeline last",
    ),
    "ann changes, bob approves": ("bob", strict("ann"), strict("ann", approve=WAITING), None),
    "ann changes, ann rejects": ("ann", strict("ann"), strict("ann", reject=WAITING), None),
    "ann changes and approves in one": (
        "ann",
        strict("ed"),
        strict("ed", approve=WAITING, spec=SILENT),
        "ann changed the Pipeline last",
    ),
    "ann creates approved": ("ann", None, strict(None, approve=DIGEST), "ann changed the Pipeline last"),
    "argo creates approved": ("argo", None, strict(None, approve=DIGEST), "argo changed the Pipeline last"),
    "ann claims that ed changed": (
        "ann",
        strict("ann"),
        strict("ed", approve=WAITING),
        "ann changed the Pipeline last",
    ),
    "ann removes the author": ("ann", strict("ann"), strict(None, approve=WAITING), "ann changed the Pipeline last"),
    "an author who is not known": ("ann", strict(None), strict(None, approve=WAITING), "ann changed the Pipeline last"),
    "ann approves what comes, then changes": (
        "ann",
        strict("ed", approve="true", approved_by="ann"),
        strict("ed", approve="true", approved_by="ann", spec=SILENT),
        "ann approved and so cannot change the spec",
    ),
    "ann approved, bob changes": (
        "bob",
        strict("ed", approve="true", approved_by="ann"),
        strict("ed", approve="true", approved_by="ann", spec=SILENT),
        None,
    ),
    "ann's approval is used up, then ann changes": (
        "ann",
        strict("ed", approve="true", approved_by="ann", status=waiting(handled={"approve": "true"})),
        strict("ed", approve="true", approved_by="ann", status=waiting(handled={"approve": "true"}), spec=SILENT),
        None,
    ),
    "ann takes her approval back and changes": (
        "ann",
        strict("ed", approve="true", approved_by="ann"),
        strict("ed", approved_by="ann", spec=SILENT),
        None,
    ),
    "ann changes something else": (
        "ann",
        strict("ed", approve="true", approved_by="ann"),
        strict("ed", approve="true", approved_by="ann", reason="so"),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_takes_two(four_eyes: Admission, case: str) -> None:
    user, old, new, message = CASES[case]
    if message is None:
        four_eyes.write(user, new, old)
        return
    with pytest.raises(Refused) as refused:
        four_eyes.write(user, new, old)
    assert message in refused.value.message


@pytest.mark.parametrize("case", CASES)
def test_elsewhere_it_takes_one(four_eyes: Admission, case: str) -> None:
    user, old, new, _ = CASES[case]
    moved = [
        manifest and {**manifest, "metadata": {**manifest["metadata"], "namespace": "default"}}
        for manifest in (new, old)
    ]
    four_eyes.write(user, *moved)


@pytest.mark.parametrize(
    ("user", "old", "new", "author"),
    [
        ("ed", None, strict(None), "ed"),
        ("ann", strict("ed"), strict("ed", spec=SILENT), "ann"),
        ("ann", strict("ed"), strict("ann", spec=SILENT), "ann"),
        ("ann", strict("ed"), strict("ann"), "ed"),
        ("ann", strict("ed"), strict(None, reason="so"), "ed"),
        ("ann", strict(None), strict(None, reason="so"), "ann"),
    ],
)
def test_the_author_is_who_changed_the_spec_last(
    four_eyes: Admission, user: str, old: dict[str, object] | None, new: dict[str, object], author: str
) -> None:
    assert four_eyes.write(user, new, old).object["metadata"]["annotations"][STAMP] == author


def test_without_the_stamp_nobody_approves() -> None:
    without_stamp = build("approve-verb", "approved-by", "four-eyes")
    alone = [m for m in policies("four-eyes") if m["kind"].startswith("Validating")]
    without_stamp = Admission(alone, without_stamp.grants, without_stamp.namespaces)
    with pytest.raises(Refused, match="it is not known who changed the Pipeline last"):
        without_stamp.write("ann", strict(None, approve=WAITING), strict(None))


@pytest.mark.parametrize("number", [1, 2])
def test_every_validation_refuses_something_that_no_other_does(number: int) -> None:
    weakened = build("approve-verb", "approved-by", "four-eyes", without=number)
    slipped_through = []
    for case, (user, old, new, message) in CASES.items():
        with contextlib.suppress(Refused):
            weakened.write(user, new, old)
            slipped_through += [case] if message else []
    assert slipped_through
