"""The pods satisfy every rule of the Pod Security Standard `restricted`, the strictest that Kubernetes has."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.helm import Helm
from support.kustomize import DEPLOY, OVERLAYS, Tree, named

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")

Spec = dict[str, Any]


def violations(pod: Spec) -> Iterator[str]:
    """The names of the rules that a pod breaks, as https://kubernetes.io/docs/concepts/security/pod-security-standards/."""
    context = pod.get("securityContext", {})
    containers = [c for key in ("containers", "initContainers", "ephemeralContainers") for c in pod.get(key, [])]
    if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "host namespaces"
    if not {key for volume in pod.get("volumes", []) for key in volume if key != "name"} <= VOLUMES:
        yield "volume types"
    if not {entry["name"] for entry in context.get("sysctls", [])} <= SAFE_SYSCTLS:
        yield "sysctls"
    for container in containers:
        own = container.get("securityContext", {})
        yield from violations_of_container(container, own, context)


def violations_of_container(container: Spec, own: Spec, context: Spec) -> Iterator[str]:
    effective = {**context, **own}
    for scope in (own, context):
        if scope.get("windowsOptions", {}).get("hostProcess"):
            yield "host process"
        if scope.get("appArmorProfile", {}).get("type", "RuntimeDefault") not in ("RuntimeDefault", "Localhost"):
            yield "app armor"
        selinux = scope.get("seLinuxOptions", {})
        if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
            yield "selinux"
        if scope.get("seccompProfile", {}).get("type") == "Unconfined":
            yield "seccomp"
        if scope.get("runAsUser") == 0:
            yield "running as root"
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "privilege escalation"
    if "ALL" not in own.get("capabilities", {}).get("drop", []):
        yield "capabilities"
    if not set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if own.get("procMount", "Default") != "Default":
        yield "proc mount"
    if effective.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccomp"
    if effective.get("runAsNonRoot") is not True:
        yield "running as non-root"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "host ports"
    for probe in [container.get(name, {}) for name in PROBES] + list(container.get("lifecycle", {}).values()):
        if any(probe.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield "host probes"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pods_of_kustomize_are_restricted(tree: Tree, overlay: str) -> None:
    pod = named(tree.combine(overlay), "Deployment")["spec"]["template"]["spec"]
    assert list(violations(pod)) == []


def test_the_pods_of_the_chart_are_restricted(helm: Helm) -> None:
    values = {"feldera": {"token": {"audience": "feldera"}, "ca": {"secret": "ca"}}, "replicas": 1}
    pod = named(helm.render(DEPLOY / "chart", values), "Deployment")["spec"]["template"]["spec"]
    assert list(violations(pod)) == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_root_file_system_is_read_only_and_only_tmp_is_written(tree: Tree, overlay: str) -> None:
    """More than the standard asks for."""
    pod = named(tree.combine(overlay), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/tmp"]
    assert pod["volumes"] == [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}]


def spoil(**fields: Any) -> Callable[[Spec], None]:
    return lambda pod: pod.update(fields)


def spoil_context(**fields: Any) -> Callable[[Spec], None]:
    return lambda pod: pod["securityContext"].update(fields)


def spoil_container(**fields: Any) -> Callable[[Spec], None]:
    return lambda pod: pod["containers"][0].update(fields)


def spoil_own(**fields: Any) -> Callable[[Spec], None]:
    return lambda pod: pod["containers"][0]["securityContext"].update(fields)


SPOILT = [
    (spoil(hostNetwork=True), "host namespaces"),
    (spoil(hostPID=True), "host namespaces"),
    (spoil(volumes=[{"name": "a", "hostPath": {"path": "/"}}]), "volume types"),
    (spoil_context(sysctls=[{"name": "kernel.msgmax", "value": "1"}]), "sysctls"),
    (spoil_context(windowsOptions={"hostProcess": True}), "host process"),
    (spoil_context(appArmorProfile={"type": "Unconfined"}), "app armor"),
    (spoil_own(seLinuxOptions={"user": "root"}), "selinux"),
    (spoil_context(seccompProfile={"type": "Unconfined"}), "seccomp"),
    (spoil_context(seccompProfile={}), "seccomp"),
    (spoil_context(runAsUser=0), "running as root"),
    (spoil_own(runAsUser=0), "running as root"),
    (spoil_own(privileged=True), "privileged"),
    (spoil_own(allowPrivilegeEscalation=None), "privilege escalation"),
    (spoil_own(capabilities={"drop": []}), "capabilities"),
    (spoil_own(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "capabilities"),
    (spoil_own(procMount="Unmasked"), "proc mount"),
    (spoil_own(runAsNonRoot=False), "running as non-root"),
    (spoil_container(ports=[{"containerPort": 8080, "hostPort": 8080}]), "host ports"),
    (spoil_container(livenessProbe={"httpGet": {"path": "/", "port": 80, "host": "example.com"}}), "host probes"),
    (spoil(initContainers=[{"name": "a", "image": "b"}]), "privilege escalation"),
]


@pytest.mark.parametrize(("spoil_it", "rule"), SPOILT, ids=[f"{rule}-{n}" for n, (_, rule) in enumerate(SPOILT)])
def test_this_check_can_fail(tree: Tree, spoil_it: Callable[[Spec], None], rule: str) -> None:
    pod = copy.deepcopy(named(tree.combine("cluster-wide"), "Deployment")["spec"]["template"]["spec"])
    spoil_it(pod)
    assert rule in list(violations(pod))
