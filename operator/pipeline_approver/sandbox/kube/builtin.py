"""The built-in kinds that operators and their users meet."""

import dataclasses
from typing import Any

from pipeline_approver.sandbox.kube import ages, crds, typed
from pipeline_approver.sandbox.kube.columns import AGE, NAME
from pipeline_approver.sandbox.kube.kinds import Column, Kind, Object


def _dig(object_: Object, *path: str) -> Any:
    value: Any = object_
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _involved(event: Object) -> str:
    involved = event.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _last_seen(event: Object) -> str:
    return ages.age(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _source(event: Object) -> str:
    return str(_dig(event, "source", "component") or event.get("reportingComponent") or "")


NAMESPACES = Kind(
    group="",
    version="v1",
    plural="namespaces",
    kind="Namespace",
    singular="namespace",
    namespaced=False,
    short_names=("ns",),
    has_status=True,
    selectable=frozenset({"status.phase"}),
    columns=(NAME, Column(name="Status", read=lambda o: _dig(o, "status", "phase")), AGE),
    schema=typed.NAMESPACE,
    complete=typed.complete_namespace,
)
SECRETS = Kind(
    group="",
    version="v1",
    plural="secrets",
    kind="Secret",
    singular="secret",
    selectable=frozenset({"type"}),
    columns=(
        NAME,
        Column(name="Type", read=lambda o: o.get("type")),
        Column(name="Data", type="string", read=lambda o: str(len(o.get("data") or {}))),
        AGE,
    ),
    schema=typed.SECRET,
    adjust=typed.adjust_secret,
    check=typed.check_secret,
)
CONFIG_MAPS = Kind(
    group="",
    version="v1",
    plural="configmaps",
    kind="ConfigMap",
    singular="configmap",
    short_names=("cm",),
    columns=(
        NAME,
        Column(name="Data", read=lambda o: str(len(o.get("data") or {}) + len(o.get("binaryData") or {}))),
        AGE,
    ),
    schema=typed.CONFIG_MAP,
    check=typed.check_config_map,
)
SERVICE_ACCOUNTS = Kind(
    group="",
    version="v1",
    plural="serviceaccounts",
    kind="ServiceAccount",
    singular="serviceaccount",
    short_names=("sa",),
    columns=(NAME, Column(name="Secrets", read=lambda o: str(len(o.get("secrets") or ()))), AGE),
    schema=typed.SERVICE_ACCOUNT,
)
EVENTS = Kind(
    group="",
    version="v1",
    plural="events",
    kind="Event",
    singular="event",
    short_names=("ev",),
    selectable=frozenset(
        {
            *("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid"),
            *("involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath"),
            *("reason", "type", "source", "reportingComponent"),
        }
    ),
    columns=(
        Column(name="Last Seen", read=_last_seen),
        Column(name="Type", read=lambda o: o.get("type")),
        Column(name="Reason", read=lambda o: o.get("reason")),
        Column(name="Object", read=_involved),
        Column(name="Source", read=_source, priority=1),
        Column(name="Message", read=lambda o: str(o.get("message") or "").strip()),
        Column(name="Count", type="integer", read=lambda o: o.get("count") or 1, priority=1),
        dataclasses.replace(NAME, priority=1),
    ),
    schema=typed.EVENT,
    check=typed.check_event,
)
LEASES = Kind(
    group="coordination.k8s.io",
    version="v1",
    plural="leases",
    kind="Lease",
    singular="lease",
    allows_blind_update=False,
    columns=(NAME, Column(name="Holder", read=lambda o: _dig(o, "spec", "holderIdentity")), AGE),
    schema=typed.LEASE,
    check=typed.check_lease,
)
DEFINITIONS = Kind(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    singular="customresourcedefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    has_status=True,
    counts_generation=True,
    allows_blind_update=False,
    columns=(
        NAME,
        Column(name="Created At", type="date", read=lambda o: o["metadata"]["creationTimestamp"]),
    ),
    complete=crds.establish,
    check=crds.check_definition,
)
KINDS = (NAMESPACES, SECRETS, CONFIG_MAPS, SERVICE_ACCOUNTS, EVENTS, LEASES, DEFINITIONS)
FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
