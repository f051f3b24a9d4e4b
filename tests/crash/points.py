"""Where an operator can be stopped on its way through a decision: before and after every request that it makes."""

from dataclasses import dataclass
from typing import Any

KUBERNETES, FELDERA = "kube", "feldera"
WRITE = ("patch", "pipelines/status")
READ, LIST = ("GET", "get"), ("GET", "list")
ACTS = {"approve": ("POST", "approve"), "reject": ("POST", "stop")}
CHECKPOINT, PROGRESS = ("POST", "checkpoint"), ("GET", "checkpoint_status")


@dataclass(frozen=True, slots=True)
class Place:
    """One request, held before or after the server applies it."""

    api: str
    match: tuple[str, str]
    where: str


@dataclass(frozen=True, slots=True)
class Point:
    """A crash point."""

    name: str
    way: tuple[Place, ...]
    """Holds to be reached one after another; each is set before the one before it is released."""
    calls: int = 1
    """How often Feldera is called for the decision in all, by the operator that crashes and by the next one."""

    def __str__(self) -> str:
        return self.name


def _both(name: str, api: str, match: tuple[str, str], *way: Place, calls: tuple[int, int] = (1, 1)) -> list[Point]:
    return [
        Point(f"{where} {name}", (*way, Place(api, match, where)), calls=number)
        for where, number in zip(("before", "after"), calls, strict=True)
    ]


def points(act: str, style: str) -> list[Point]:
    """All points of an approval or a rejection, with a Feldera that answers in one of its two styles."""
    answered = Place(FELDERA, ACTS[act], "after")
    until_answered = [
        *_both("the intent is written", KUBERNETES, WRITE),
        *_both("the verifying read", FELDERA, READ),
        # A call that was cut off before Feldera took it is made again; one that Feldera took is not.
        *_both("the call", FELDERA, ACTS[act], calls=(2, 1)),
    ]
    until_up = [
        *_both("the answer is written", KUBERNETES, WRITE, answered),
        *_both("a poll of the follow-up", FELDERA, LIST, answered),
    ]
    requested = Place(FELDERA, CHECKPOINT, "after")
    requesting = [
        *_both("the checkpoint is requested", FELDERA, CHECKPOINT),
        *_both("the checkpoint's number is written", KUBERNETES, WRITE, requested),
    ]
    progress = Place(FELDERA, PROGRESS, "after")
    waiting = [
        *_both("the checkpoint's progress is read", FELDERA, PROGRESS),
        *_both("the checkpoint's end is written", KUBERNETES, WRITE, progress),
    ]
    if act == "reject":
        return [*until_answered, *until_up]
    if style == "string":
        return [*until_answered, *until_up, *requesting, *waiting]
    # Until Feldera answers, its style makes no difference; and the answer names a checkpoint, if it is heard.
    return [until_answered[-1], *until_up, *waiting]


def plan_of(stage: Any, place: Place) -> Any:
    """The server's faults and holds."""
    return (stage.kube if place.api == KUBERNETES else stage.feldera).faults
