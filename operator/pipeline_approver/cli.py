"""The command `pipeline-approver`: arguments, exit codes, and the only prints."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline_approver import __version__, logs, settings
from pipeline_approver.core.change import Outputs

EXIT_FAILED = 1
EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the answer is the exit code: 0 done, 1 failed, 2 wrongly called."""
    parser = argparse.ArgumentParser(
        prog="pipeline-approver",
        description="Approves Feldera pipeline changes: exactly what was decided, exactly once, on the record.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run the operator",
        description="Run the operator against the cluster of KUBECONFIG, or the one it runs in. Its own connection to"
        " Feldera comes from FELDERA_URL, FELDERA_API_KEY or FELDERA_TOKEN_FILE, and FELDERA_CA_FILE. Each flag can be"
        " given as an environment variable too: PIPELINE_APPROVER_ and its name, for example"
        " PIPELINE_APPROVER_POLL_INTERVAL.",
    )
    settings.add_arguments(run)
    _add_digest(commands.add_parser("digest", help="compute the digest of a change before its rollout"))
    # The sandbox declares its own flags, and is imported only when it is asked for.
    commands.add_parser(
        "sandbox", help="run an in-memory Kubernetes API and a simulated Feldera, to try things out", add_help=False
    )
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command == "sandbox":
        return _run_sandbox(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return _print_digest(arguments) if arguments.command == "digest" else _run_operator(arguments)


def _add_digest(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Print the digest of a change, for the annotation approve: what status.request.digest will be when the pipeline"
        " waits. The difference comes from a file, or from the Feldera of FELDERA_URL and FELDERA_API_KEY, which"
        " compares with the program that is configured there. It prints nothing else to standard output."
    )
    files: dict[str, str] = {
        "--program": "the SQL program that is about to be rolled out",
        "--udf-rust": "its user-defined functions (default: none with --diff, else those that are configured)",
        "--udf-toml": "their Cargo dependencies (default: likewise)",
    }
    for flag, text in files.items():
        parser.add_argument(flag, type=Path, metavar="FILE", required=flag == "--program", help=text)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--diff", metavar="FILE", help="what POST /v0/pipelines/<name>/diff answered; - for standard input"
    )
    source.add_argument("--pipeline", metavar="NAME", help="ask Feldera for the difference to this pipeline")
    parser.add_argument(
        "--runtime-version",
        metavar="VERSION",
        help="with --pipeline: compile for this version (default: Feldera's own)",
    )
    parser.add_argument(
        "--outputs",
        choices=("Emit", "Silent"),
        default="Emit",
        help="what output connectors will do while the pipeline bootstraps (default: Emit)",
    )
    parser.add_argument("--explain", action="store_true", help="print risk and reasons to standard error")


def _print_digest(arguments: argparse.Namespace) -> int:
    from pipeline_approver import digest

    outputs = Outputs(arguments.outputs)
    if arguments.runtime_version is not None and arguments.pipeline is None:
        return _fail("--runtime-version goes with --pipeline: the difference in a file is there already", EXIT_USAGE)
    try:
        sources = digest.read_sources(arguments.program, arguments.udf_rust, arguments.udf_toml)
        if arguments.diff is not None:
            preview = digest.read_preview(sources, outputs, diff=arguments.diff)
        else:
            preview = asyncio.run(
                digest.ask_preview(
                    sources,
                    outputs,
                    pipeline=arguments.pipeline,
                    runtime_version=arguments.runtime_version,
                    environ=os.environ,
                )
            )
    except digest.InputInvalid as error:
        return _fail(str(error), EXIT_USAGE)
    except digest.NotComputed as error:
        return _fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_FAILED
    for warning in preview.warn():
        print(f"pipeline-approver: {warning}", file=sys.stderr)
    for line in preview.explain() if arguments.explain else ():
        print(line, file=sys.stderr)
    print(preview.digest)
    return 0


def _run_operator(arguments: argparse.Namespace) -> int:
    try:
        chosen = settings.read_settings(arguments, os.environ)
    except settings.SettingsInvalid as error:
        return _fail(str(error), EXIT_USAGE)
    logs.configure_logging(level=chosen.log_level, form=chosen.log_format)
    from pipeline_approver import app, life  # kopf and the client take a moment to load

    try:
        asyncio.run(app.run_operator(chosen, os.environ))
    except settings.SettingsInvalid as error:
        return _fail(str(error), EXIT_USAGE)
    except life.StartupFailed as error:
        return _fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_FAILED
    return 0


def _run_sandbox(rest: Sequence[str]) -> int:
    try:
        from pipeline_approver.sandbox import command
    except ModuleNotFoundError as error:
        return _fail(f"the sandbox needs {error.name}; install pipeline-approver[sandbox]", EXIT_FAILED)
    return command.main(rest)


def _fail(message: str, code: int) -> int:
    print(f"pipeline-approver: {message}", file=sys.stderr)
    return code
