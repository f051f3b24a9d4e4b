"""The command `pipeline-approver`: arguments, exit codes, and the only prints."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from pipeline_approver import __version__, logs, settings

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
    # The sandbox declares its own flags, and is imported only when it is asked for.
    commands.add_parser(
        "sandbox", help="run an in-memory Kubernetes API and a simulated Feldera, to try things out", add_help=False
    )
    arguments, rest = parser.parse_known_args(argv)
    if arguments.command == "sandbox":
        return _run_sandbox(rest)
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return _run_operator(arguments)


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
