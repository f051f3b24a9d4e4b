"""The pipeline process: the real owner of the approval, and of the numbers of its checkpoints."""

import zlib
from dataclasses import dataclass, field
from typing import Any

NO_CONTROLLER = frozenset({"Initializing", "AwaitingApproval", "Standby"})
"""Phases in which a process has no controller yet and refuses checkpoints."""
AT_WORK = frozenset({"Running", "Paused"})


@dataclass(slots=True, kw_only=True)
class Process:
    """One start of the program. A crash makes a new one in the same deployment."""

    deployment_id: str
    incarnation: str
    """Random per process start; checkpoint numbers mean nothing outside of it."""
    desired: str
    """Running, Paused, Standby or Suspended."""
    policy: str
    """allow, reject or await_approval: as started, or as stored by an earlier process of this deployment."""
    silent: bool
    concurrent: bool
    """As started: the process reads it before the approval, so approving cannot change it."""
    started_at: int
    """Unix time in seconds."""
    phase: str = "Initializing"
    diff: dict[str, Any] | None = None
    """What was found at initialisation; None when nothing differs."""
    next_number: int = 0
    success: int | None = None
    failure: dict[str, Any] | None = None
    waiting: list[int] = field(default_factory=list)
    """Requested checkpoints that are not yet written."""
    writing: list[int] = field(default_factory=list)
    """Requested checkpoints that the write in progress will cover."""

    @property
    def at_work(self) -> bool:
        return self.phase in AT_WORK

    def take_number(self) -> int:
        """Number the next requested checkpoint; the first is 0."""
        number = self.next_number
        self.next_number += 1
        self.waiting.append(number)
        return number

    def checkpoint_status(self) -> dict[str, Any]:
        return {"success": self.success, "failure": self.failure}


def new_checkpoint(uuid: str, code: str) -> dict[str, Any]:
    """The metadata of a durable checkpoint of a program."""
    return {
        "uuid": uuid,
        "identifier": None,
        # Unsigned 64 bits, larger than what a signed number or a double holds.
        "fingerprint": 2**63 + zlib.crc32(code.encode()),
        "size": 4096 + len(code),
        "steps": 1,
        "processed_records": 0,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """What a process leaves in its storage for the next process of the same deployment."""

    deployment_id: str
    policy: str
    silent: bool
    desired: str
