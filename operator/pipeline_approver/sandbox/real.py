"""A real etcd and kube-apiserver on loopback, where their binaries are installed.

Nothing in it is worth keeping: it ends without ceremony, and what it wrote lies in a folder that its caller removes.
"""

import asyncio
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from pipeline_approver.sandbox.crd import read_crd

DEFAULT_ASSETS = Path("/usr/local/kubebuilder/bin")
PATIENCE_SECONDS = 60.0
ADMIN = "sandbox-admin"

_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class ServerMissing(Exception):
    """The binaries are not installed, or did not start; the message says what to do."""


def find_binary(name: str) -> Path:
    """A binary in KUBEBUILDER_ASSETS or the default folder; raises ServerMissing."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or DEFAULT_ASSETS)
    path = folder / name
    if not path.is_file():
        raise ServerMissing(
            f"there is no {name} in {folder}: put etcd and kube-apiserver there, for example with setup-envtest"
            " (sigs.k8s.io/controller-runtime/tools/setup-envtest), or set KUBEBUILDER_ASSETS to a folder that has them"
        )
    return path


class RealServer:
    """Both processes, and what may happen to them. The methods block; `serve` is for an event loop."""

    def __init__(
        self, folder: Path, *, users: Mapping[str, tuple[str, ...]] | None = None, audit: bool = False
    ) -> None:
        """`users` are accounts beside the administrator, with their groups; `audit` logs every request."""
        self._folder = folder
        self._users = {ADMIN: ("system:masters",), **(users or {})}
        self._tokens = {name: secrets.token_hex(16) for name in self._users}
        self._binaries = find_binary("etcd"), find_binary("kube-apiserver")
        self._etcd_port, self._peer_port, self.port = (_free_port() for _ in range(3))
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None
        self.audit_log = folder / "audit.log" if audit else None

    @property
    def url(self) -> str:
        """Of the Kubernetes API."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def etcd_url(self) -> str:
        """Of its store."""
        return f"http://127.0.0.1:{self._etcd_port}"

    def token(self, user: str = ADMIN) -> str:
        """A bearer token of a user."""
        return self._tokens[user]

    def start(self) -> None:
        """Start both and wait until the API serves; raises ServerMissing."""
        openssl = shutil.which("openssl")
        if openssl is None:
            raise ServerMissing("openssl is needed for the key of service accounts; install it")
        command = [openssl, "genrsa", "-out", str(self._key), "2048"]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed arguments
        (self._folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
        self._folder.joinpath("tokens.csv").write_text(
            "".join(
                f'{self._tokens[name]},{name},{number},"{",".join(groups)}"\n'
                for number, (name, groups) in enumerate(self._users.items())
            )
        )
        self._etcd = self._spawn(
            *(str(self._binaries[0]), f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error"),
            *(f"--listen-client-urls={self.etcd_url}", f"--advertise-client-urls={self.etcd_url}"),
            f"--listen-peer-urls=http://127.0.0.1:{self._peer_port}",
        )
        self.start_apiserver()

    def start_apiserver(self) -> None:
        """Start the API server, for the first time or again: same port, same data, same accounts."""
        audit = (
            [f"--audit-log-path={self.audit_log}", f"--audit-policy-file={self._folder / 'audit-policy.json'}"]
            if self.audit_log
            else []
        )
        self._apiserver = self._spawn(
            *(str(self._binaries[1]), f"--etcd-servers={self.etcd_url}", f"--cert-dir={self._folder / 'certs'}"),
            *("--bind-address=127.0.0.1", f"--secure-port={self.port}", "--service-cluster-ip-range=10.0.0.0/24"),
            *(f"--service-account-key-file={self._key}", f"--service-account-signing-key-file={self._key}"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            *("--authorization-mode=RBAC", f"--token-auth-file={self._folder / 'tokens.csv'}"),
            *("--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount"),
            *audit,
        )
        self._wait_until_ready()

    def kill_apiserver(self) -> None:
        """End the API server in the middle of whatever it does."""
        _kill(self._apiserver)

    def pause_etcd(self) -> None:
        """Freeze the store: the API server hangs."""
        assert self._etcd is not None
        self._etcd.send_signal(signal.SIGSTOP)

    def resume_etcd(self) -> None:
        """Let the store go on."""
        assert self._etcd is not None
        self._etcd.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End both."""
        _kill(self._apiserver)
        _kill(self._etcd)

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """One request of the administrator: status and parsed answer. Raises OSError or http.client.HTTPException."""
        # The server makes its own certificate at its first start; it listens on loopback only.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        headers = {
            "Authorization": f"Bearer {self.token()}",
            "Content-Type": content_type,
            "Accept": "application/json",
        }
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text.startswith(b"{") else text.decode(errors="replace")
        finally:
            connection.close()

    def kubeconfig(self, user: str = ADMIN) -> dict[str, Any]:
        """A kubeconfig of a user."""
        return make_kubeconfig(self.url, self.token(user))

    @property
    def _key(self) -> Path:
        return self._folder / "service-account.key"

    def _spawn(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self._folder / "servers.log").open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - the binaries are the caller's choice
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_ready():
            ended = any(process is None or process.poll() is not None for process in (self._etcd, self._apiserver))
            if ended or time.monotonic() > deadline:
                tail = "\n".join((self._folder / "servers.log").read_text(errors="replace").splitlines()[-5:])
                raise ServerMissing(f"etcd and kube-apiserver did not start:\n{tail}")
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz")[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False


@contextlib.asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Both processes with the CRD applied; yields a kubeconfig."""
    server = RealServer(folder)
    try:
        await asyncio.to_thread(server.start)
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        status, answer = await asyncio.to_thread(server.request, "POST", path, read_crd())
        if status not in (http.HTTPStatus.CREATED, http.HTTPStatus.CONFLICT):
            raise ServerMissing(f"the CRD was refused: {answer}")
        yield server.kubeconfig()
    finally:
        await asyncio.to_thread(server.stop)


def make_kubeconfig(url: str, token: str) -> dict[str, Any]:
    """A kubeconfig with one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sandbox",
        "clusters": [{"name": "sandbox", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "sandbox", "user": {"token": token}}],
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _kill(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        process.kill()
        process.wait()
