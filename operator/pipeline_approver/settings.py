"""Flags and environment as one frozen object. Every mistake names the flag or variable, and says what it should be."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PREFIX = "PIPELINE_APPROVER_"
SHOWN_LENGTH = 80
"""Characters of a wrong value that are repeated to its author."""
ONE_SHOT = ("any", "waiting", "never")
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
LONGEST_RETRY_FACTOR = 2
"""The holder of a Lease must have time for a second attempt to renew it."""
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class SettingsInvalid(Exception):
    """A setting that cannot be used; the message is for the person who set it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How `pipeline-approver run` was asked to run."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty means all."""
    own_connection_namespaces: frozenset[str] | None = None
    """Namespaces whose Pipelines may use the operator's own connection; None means all."""
    one_shot: str = "any"
    poll_interval_seconds: float = 3.0
    approve_timeout_seconds: float = 15.0
    """How long a call to Feldera that carries a decision may take."""
    settle_seconds: float = 20.0
    """How long a call whose answer was not heard may still be under way; above the timeout."""
    resync_seconds: float = 600.0
    """How often all Pipelines are listed and looked at again, whatever the watch said or missed."""
    log_format: str = "text"
    log_level: str = "info"
    health_port: int = 8080
    """Where health and metrics are served; 0 means nowhere."""
    leader_elect: bool = False
    """Whether to act only while holding the Lease."""
    lease_namespace: str = ""
    lease_duration_seconds: float = 15.0
    lease_renew_deadline_seconds: float = 10.0
    lease_retry_period_seconds: float = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags; each has an environment variable of the same name with PIPELINE_APPROVER_ before it."""
    parser.add_argument(
        "--namespace",
        "-n",
        action="append",
        metavar="NAME",
        help="watch only this namespace; may be given more than once (default: all namespaces)",
    )
    parser.add_argument(
        "--own-connection-namespaces",
        metavar="NAME,…",
        help="namespaces whose Pipelines may use the operator's own connection (default: all)",
    )
    parser.add_argument(
        "--one-shot",
        metavar="|".join(ONE_SHOT),
        help="what the annotation value true approves: any = the request that waits, else the next one;"
        " waiting = only a request that the status already showed; never = nothing (default: any)",
    )
    parser.add_argument("--poll-interval", metavar="SECONDS", help="pause between two polls of Feldera (default: 3)")
    parser.add_argument(
        "--approve-timeout", metavar="SECONDS", help="how long a call that carries a decision may take (default: 15)"
    )
    parser.add_argument(
        "--settle-time",
        metavar="SECONDS",
        help="how long to wait before a call whose answer was not heard is made again (default: 20)",
    )
    parser.add_argument(
        "--resync-interval",
        metavar="SECONDS",
        help="how often all Pipelines are listed anew, for what the watch may have missed (default: 600)",
    )
    parser.add_argument("--log-format", metavar="|".join(LOG_FORMATS), help="(default: text)")
    parser.add_argument("--log-level", metavar="|".join(LOG_LEVELS), help="(default: info)")
    parser.add_argument(
        "--health-port",
        metavar="PORT",
        help="serve /healthz, /readyz and /metrics there; 0 turns it off (default: 8080)",
    )
    parser.add_argument(
        "--leader-elect",
        nargs="?",
        const="true",
        metavar="true|false",
        help="of several replicas, let only the one act that holds the Lease pipeline-approver"
        " (default: true where POD_NAMESPACE is set, as in the shipped Deployment, else false)",
    )
    parser.add_argument(
        "--lease-namespace", metavar="NAME", help="namespace of the Lease (default: the value of POD_NAMESPACE)"
    )
    parser.add_argument(
        "--lease-duration",
        metavar="SECONDS",
        help="how long others wait for a holder of the Lease that has fallen silent (default: 15)",
    )
    parser.add_argument(
        "--lease-renew-deadline",
        metavar="SECONDS",
        help="how long the holder acts after it last renewed the Lease (default: 10)",
    )
    parser.add_argument(
        "--lease-retry-period", metavar="SECONDS", help="pause between two attempts at the Lease (default: 2)"
    )


def read_settings(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """Flags win over environment variables; raises SettingsInvalid."""

    def find(flag: str) -> tuple[str, str | None]:
        value = getattr(arguments, flag.replace("-", "_"))
        if value is not None:
            return f"--{flag}", value
        variable = PREFIX + flag.replace("-", "_").upper()
        return variable, environ.get(variable) or None

    namespaces = (
        ("--namespace", arguments.namespace)
        if arguments.namespace
        else (f"{PREFIX}NAMESPACE", (environ.get(f"{PREFIX}NAMESPACE") or "").split(","))
    )
    own_name, own = find("own-connection-namespaces")
    pod_namespace = environ.get("POD_NAMESPACE") or ""
    lease_name, lease = find("lease-namespace")
    lease_name, lease = (lease_name, lease) if lease is not None else ("POD_NAMESPACE", pod_namespace)
    defaults = Settings()
    settings = Settings(
        namespaces=_parse_namespaces(*namespaces),
        own_connection_namespaces=None if own is None else frozenset(_parse_namespaces(own_name, own.split(","))),
        one_shot=_choose(*find("one-shot"), ONE_SHOT, defaults.one_shot),
        poll_interval_seconds=_parse_seconds(*find("poll-interval"), defaults.poll_interval_seconds),
        approve_timeout_seconds=_parse_seconds(*find("approve-timeout"), defaults.approve_timeout_seconds),
        settle_seconds=_parse_seconds(*find("settle-time"), defaults.settle_seconds),
        resync_seconds=_parse_seconds(*find("resync-interval"), defaults.resync_seconds),
        log_format=_choose(*find("log-format"), LOG_FORMATS, defaults.log_format),
        log_level=_choose(*find("log-level"), LOG_LEVELS, defaults.log_level),
        health_port=_parse_port(*find("health-port"), defaults.health_port),
        leader_elect=_choose(*find("leader-elect"), ("true", "false"), "true" if pod_namespace else "false") == "true",
        lease_namespace="".join(_parse_namespaces(lease_name, [lease])),
        lease_duration_seconds=_parse_seconds(*find("lease-duration"), defaults.lease_duration_seconds),
        lease_renew_deadline_seconds=_parse_seconds(
            *find("lease-renew-deadline"), defaults.lease_renew_deadline_seconds
        ),
        lease_retry_period_seconds=_parse_seconds(*find("lease-retry-period"), defaults.lease_retry_period_seconds),
    )
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Raise SettingsInvalid where settings contradict each other."""
    if settings.settle_seconds <= settings.approve_timeout_seconds:
        raise SettingsInvalid(
            f"--settle-time ({settings.settle_seconds:g}) must be longer than"
            f" --approve-timeout ({settings.approve_timeout_seconds:g})"
        )
    if settings.leader_elect and not settings.lease_namespace:
        raise SettingsInvalid("--leader-elect needs --lease-namespace where POD_NAMESPACE is not set")
    longest_pause = settings.lease_retry_period_seconds * LONGEST_RETRY_FACTOR
    if not settings.lease_duration_seconds > settings.lease_renew_deadline_seconds > longest_pause:
        raise SettingsInvalid(
            f"--lease-duration ({settings.lease_duration_seconds:g}) must be longer than --lease-renew-deadline"
            f" ({settings.lease_renew_deadline_seconds:g}), and that at least {LONGEST_RETRY_FACTOR} times as long as"
            f" --lease-retry-period ({settings.lease_retry_period_seconds:g})"
        )


def _parse_namespaces(name: str, values: Sequence[str]) -> tuple[str, ...]:
    namespaces = [value.strip() for value in values if value.strip()]
    for namespace in namespaces:
        if not _NAMESPACE.fullmatch(namespace):
            raise SettingsInvalid(f"{name}: {_show(namespace)} is not the name of a namespace")
    return tuple(dict.fromkeys(namespaces))


def _choose(name: str, value: str | None, choices: Sequence[str], default: str) -> str:
    if value is None:
        return default
    if value not in choices:
        raise SettingsInvalid(f"{name}: {_show(value)} is none of {', '.join(choices)}")
    return value


def _parse_seconds(name: str, value: str | None, default: float) -> float:
    try:
        seconds = default if value is None else float(value)
    except ValueError:
        seconds = 0.0
    # Written so that not-a-number fails as well.
    if not 0.05 <= seconds <= 3600:
        raise SettingsInvalid(f"{name}: {_show(value)} is not a number of seconds between 0.05 and 3600")
    return seconds


def _parse_port(name: str, value: str | None, default: int) -> int:
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65535:
        raise SettingsInvalid(f"{name}: {_show(value)} is not a port between 0 and 65535")
    return int(value)


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
