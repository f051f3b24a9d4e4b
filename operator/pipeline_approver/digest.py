"""`pipeline-approver digest`: the digest of a change before its rollout, so that one commit can carry both.

The same functions that build a request in the operator compute it here, from the sources that are about to be rolled
out and from the difference that Feldera's `/diff` names: asked for now, or asked for before and given as a file.

`/diff` compares with the program that is configured, an approval with the latest checkpoint. Where those two differ,
so do the digests, and the digest that was committed approves nothing: never the other way round.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline_approver.core.change import Change, Outputs, digest_change, parse_change, summarise
from pipeline_approver.core.observation import Program
from pipeline_approver.core.risk import Risk, assess_risk
from pipeline_approver.feldera import errors, wire
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import ConnectionInvalid, connection_from_environment

COMPILE_SECONDS = 300.0
"""How long Feldera may take to compile a proposed program."""

_HINTS = {
    "ProgramNotCompiled": "wait until the program that is configured is compiled",
    "ProgramInfoMissesDataflow": "have the program that is configured compiled again by the present version",
    "CompilerUnavailable": "try again later",
    "CompilerTimeout": "try again later",
}


class InputInvalid(Exception):
    """What was given cannot be used; the message is for the person who gave it."""


class NotComputed(Exception):
    """Feldera did not name the difference; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The program that is about to be rolled out; None for what was not given."""

    program_code: str
    udf_rust: str | None = None
    udf_toml: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the operator will say of a change."""

    digest: str
    change: Change
    risk: Risk
    reasons: tuple[str, ...]
    outputs: Outputs

    def explain(self) -> list[str]:
        """Risk, summary and reasons, line by line."""
        head = f"{self.risk.word}: {summarise(self.change)}; outputs {self.outputs.value}"
        return [head, *(f"- {reason}" for reason in self.reasons)]

    def warn(self) -> list[str]:
        """Why the digest may be of no use."""
        if not self.change.computed:
            return ["Feldera could not compute the difference, so the digest approves a change that nobody has seen"]
        if not self.change.parts and not self.change.unknown:
            return ["nothing differs from the program that is configured; Feldera may not ask for approval at all"]
        return []


def read_sources(program: Path, udf_rust: Path | None, udf_toml: Path | None) -> Sources:
    """The texts to the last byte; raises InputInvalid."""
    return Sources(
        program_code=_read(program),
        udf_rust=None if udf_rust is None else _read(udf_rust),
        udf_toml=None if udf_toml is None else _read(udf_toml),
    )


def read_preview(sources: Sources, outputs: Outputs, *, diff: str) -> Preview:
    """From a difference in a file, or `-` for standard input; raises InputInvalid."""
    text = sys.stdin.read() if diff == "-" else _read(Path(diff))
    where = "standard input" if diff == "-" else diff
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InputInvalid(f"{where} is not JSON; give what POST /v0/pipelines/<name>/diff answers") from None
    parsed = wire.parse_diff(document)
    if parsed is None:
        # An error of Feldera's that was saved in its place says why itself.
        told = errors.clean(wire.text(document.get("message"))) if isinstance(document, dict) else ""
        raise InputInvalid(f"{where} is not a difference as Feldera names it{f': {told}' if told else ''}")
    return _build(sources, outputs, diff=parsed, configured=Program(program_code="", udf_rust="", udf_toml=""))


async def ask_preview(
    sources: Sources, outputs: Outputs, *, pipeline: str, runtime_version: str | None, environ: Mapping[str, str]
) -> Preview:
    """From the difference that Feldera names now; raises InputInvalid and NotComputed."""
    try:
        connection = connection_from_environment(environ)
    except ConnectionInvalid as error:
        raise InputInvalid(str(error)) from None
    if connection is None:
        raise InputInvalid("FELDERA_URL is not set; set it to the url of the Feldera API server, or give --diff")
    client = FelderaClient(connection, approve_timeout_seconds=COMPILE_SECONDS)
    try:
        _, configured = await client.get_program(pipeline)
        diff = await client.diff(pipeline, program_code=sources.program_code, runtime_version=runtime_version)
    except errors.FelderaError as error:
        raise NotComputed(_explain(error)) from None
    finally:
        await client.aclose()
    return _build(sources, outputs, diff=diff, configured=configured)


def _build(sources: Sources, outputs: Outputs, *, diff: str, configured: Program) -> Preview:
    def choose(given: str | None, present: str) -> str:
        return present if given is None else wire.fingerprint(given)

    program = Program(
        program_code=wire.fingerprint(sources.program_code),
        udf_rust=choose(sources.udf_rust, configured.udf_rust),
        udf_toml=choose(sources.udf_toml, configured.udf_toml),
        feeds=configured.feeds,
    )
    change = parse_change(diff)
    risk, reasons = assess_risk(change, program=program, outputs=outputs)
    digest = digest_change(diff=diff, program=program, outputs=outputs)
    return Preview(digest=digest, change=change, risk=risk, reasons=reasons, outputs=outputs)


def _read(path: Path) -> str:
    # As bytes: the digest is over the text as it is, with its line ends.
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputInvalid(f"{path} is not UTF-8 text") from None


def _explain(error: errors.FelderaError) -> str:
    if error.status in (404, 405) and error.code is None:
        return f"{error}; Feldera has /diff since 0.324: with an older one, give the difference with --diff"
    hint = _HINTS.get(error.code or "")
    return f"{error}; {hint}" if hint else str(error)
