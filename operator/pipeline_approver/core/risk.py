"""How dangerous a change is: the highest class over all its parts, each with its reason.

The classes follow what Feldera does on approval; see "Modifying a pipeline" in its documentation.
"""

import enum

from pipeline_approver.core.change import Change, Outputs, Part, clip
from pipeline_approver.core.observation import Program

SHOWN_REASONS = 20
REASON_LENGTH = 256


class Risk(enum.IntEnum):
    """Ordered, unknown highest, so that `max()` is safe."""

    ADDITIVE = 0
    REEMITS = 1
    REINGESTS = 2
    DESTRUCTIVE = 3
    UNKNOWN = 4

    @property
    def word(self) -> str:
        """The word in `status.request.risk`."""
        return self.name.capitalize()


# Class and what approving does, per list. Inputs that are added are looked at one by one below.
_EFFECTS: dict[Part, tuple[Risk, str]] = {
    Part.REMOVED_TABLES: (Risk.DESTRUCTIVE, "removed table {} loses its rows"),
    Part.MODIFIED_TABLES: (
        Risk.DESTRUCTIVE,
        "modified table {} loses its rows and is read again from its inputs",
    ),
    Part.REMOVED_VIEWS: (
        Risk.DESTRUCTIVE,
        "removed view {} loses its state; its sinks keep what they last received",
    ),
    Part.MODIFIED_OUTPUT_CONNECTORS: (
        Risk.DESTRUCTIVE,
        "modified output connector {} starts over and may truncate its sink",
    ),
    Part.MODIFIED_INPUT_CONNECTORS: (
        Risk.REINGESTS,
        "modified input connector {} forgets its offset and reads from its start again",
    ),
    Part.REMOVED_INPUT_CONNECTORS: (
        Risk.REINGESTS,
        "removed input connector {} loses its offset; its rows stay",
    ),
    Part.REMOVED_OUTPUT_CONNECTORS: (Risk.REEMITS, "removed output connector {} leaves its sink stale"),
    Part.MODIFIED_VIEWS: (Risk.REEMITS, "modified view {}"),
    Part.ADDED_TABLES: (Risk.ADDITIVE, "added table {}"),
    Part.ADDED_VIEWS: (Risk.ADDITIVE, "added view {}"),
    Part.ADDED_OUTPUT_CONNECTORS: (Risk.ADDITIVE, "added output connector {}"),
}


def assess_risk(change: Change, *, program: Program, outputs: Outputs) -> tuple[Risk, tuple[str, ...]]:
    """The class of a change and the reasons, gravest first, bounded for a status."""
    found: list[tuple[Risk, str]] = []
    if not change.computed:
        why = f": {change.error}" if change.error else ""
        found.append((Risk.UNKNOWN, f"Feldera could not compute the difference{why}"))
    found += [(Risk.UNKNOWN, f"unknown part {key} in the difference") for key in change.unknown]
    feeds = dict(program.feeds)
    for part, (risk, text) in _EFFECTS.items():
        for name in change.names(part):
            sentence = text.format(name)
            if part is Part.MODIFIED_VIEWS:
                sentence += _describe_reemission(feeds.get(name, ()), outputs)
            found.append((risk, sentence))
    for name in change.names(Part.ADDED_INPUT_CONNECTORS):
        if name.rsplit(".", 1)[0] in change.names(Part.ADDED_TABLES):
            found.append((Risk.ADDITIVE, f"added input connector {name}"))
        else:
            found.append(
                (
                    Risk.REINGESTS,
                    f"added input connector {name} may read into its table what is already there",
                )
            )
    if not found:
        # An approval that Feldera asks for without naming a difference is nothing we understand.
        found.append((Risk.UNKNOWN, "the difference names nothing"))
    found.sort(key=lambda item: (-item[0], item[1]))
    reasons = [clip(reason, REASON_LENGTH) for _, reason in found[:SHOWN_REASONS]]
    if len(found) > SHOWN_REASONS:
        reasons[-1] = f"and {len(found) - SHOWN_REASONS + 1} more"
    return max(risk for risk, _ in found), tuple(reasons)


def _describe_reemission(connectors: tuple[str, ...], outputs: Outputs) -> str:
    if outputs is Outputs.SILENT:
        return " is computed again; silently, so its sinks keep what they last received"
    if connectors:
        return f" feeds {', '.join(connectors)}"
    return " is computed again and sent whole to its sinks"
