"""The compiler of the simulated Feldera: a program walks through the statuses in one step.

A program that contains the text SYNTAX ERROR ends as SqlError; every other one compiles.
"""

from typing import Any

from pipeline_approver.sandbox.feldera import sql
from pipeline_approver.sandbox.feldera.clock import stamp
from pipeline_approver.sandbox.feldera.model import SimPipeline
from pipeline_approver.sandbox.feldera.rows import no_program_error

WALK = ("CompilingSql", "SqlCompiled", "CompilingRust", "Success")
FAILED = frozenset({"SqlError", "RustError", "SystemError"})
SYNTAX_ERROR = "SYNTAX ERROR"


def recompile(pipeline: SimPipeline) -> None:
    """Start over with the present program; the caller has raised the versions."""
    row = pipeline.row
    row.program_info, row.program_error = None, no_program_error()
    _status(pipeline, "Pending")
    _next(pipeline, row.program_version, 0)


def compile_at_once(pipeline: SimPipeline) -> None:
    """Be compiled, without passing time; for seeded pipelines."""
    row = pipeline.row
    row.program_info, row.program_error = program_info(row.program_code), _success()
    row.program_status, row.program_status_since = "Success", row.created_at


def syntax_error(code: str) -> dict[str, Any] | None:
    """The `program_error` of a program that does not compile."""
    position = code.find(SYNTAX_ERROR)
    if position < 0:
        return None
    line = code.count("\n", 0, position) + 1
    column = position - code.rfind("\n", 0, position)
    message = {
        "start_line_number": line,
        "start_column": column,
        "end_line_number": line,
        "end_column": column + len(SYNTAX_ERROR),
        "warning": False,
        "error_type": "Error parsing SQL",
        "message": f'Encountered "{SYNTAX_ERROR}"',
        "snippet": code.splitlines()[line - 1],
    }
    return no_program_error() | {"sql_compilation": {"exit_code": 1, "messages": [message]}}


def program_info(code: str) -> dict[str, Any]:
    """Schema and connectors; what GET shows of it."""
    found = sql.relations(code).values()
    return {
        "schema": {
            "inputs": [_relation(relation) for relation in found if relation.is_table],
            "outputs": [_relation(r) for r in found if not r.is_table and not r.is_local],
        },
        "udf_stubs": "",
        "input_connectors": _connectors(code, tables=True),
        "output_connectors": _connectors(code, tables=False),
    }


def _next(pipeline: SimPipeline, version: int, position: int) -> None:
    def advance() -> None:
        if pipeline.row.program_version != version or pipeline.deleted:
            return
        status = WALK[position]
        if status == "SqlCompiled" and (error := syntax_error(pipeline.row.program_code)) is not None:
            pipeline.row.program_error = error
            _status(pipeline, "SqlError")
            pipeline.refuse_start()
            return
        if status == "SqlCompiled":
            pipeline.row.program_info = program_info(pipeline.row.program_code)
        if status == "Success":
            pipeline.row.program_error = _success()
        _status(pipeline, status)
        if status == "Success":
            pipeline.react_soon()
        else:
            _next(pipeline, version, position + 1)

    pipeline.world.timers.after(pipeline.world.step_seconds / len(WALK), advance)


def _status(pipeline: SimPipeline, status: str) -> None:
    pipeline.row.program_status, pipeline.row.program_status_since = status, stamp()
    pipeline.touch()


def _success() -> dict[str, Any]:
    return no_program_error() | {
        "sql_compilation": {"exit_code": 0, "messages": []},
        "rust_compilation": {"exit_code": 0, "stdout": "", "stderr": ""},
    }


def _relation(relation: sql.Relation) -> dict[str, Any]:
    return {
        "name": relation.name,
        "case_sensitive": relation.quoted,
        "materialized": relation.materialized,
        "fields": [
            {
                "name": name,
                "case_sensitive": False,
                "columntype": {"type": type_, "nullable": nullable},
                "unused": False,
            }
            for name, type_, nullable in relation.columns
        ],
        "properties": {},
    }


def _connectors(code: str, *, tables: bool) -> dict[str, Any]:
    return {
        connector.name: {"stream": connector.relation, **connector.config}
        for connector in sql.connectors(code, tables=tables).values()
    }
