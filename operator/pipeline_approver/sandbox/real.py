"""A real etcd and kube-apiserver on loopback, where their binaries are installed."""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from pipeline_approver.sandbox.crd import read_crd

DEFAULT_ASSETS = Path("/usr/local/kubebuilder/bin")
PATIENCE_SECONDS = 60.0


class ServerMissing(Exception):
    """The binaries are not installed, or did not start; the message says what to do."""


def find_binary(name: str) -> Path:
    """A binary in KUBEBUILDER_ASSETS or the default folder; raises ServerMissing."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or DEFAULT_ASSETS)
    path = folder / name
    if not path.is_file():
        raise ServerMissing(f"there is no {name} in {folder}; set KUBEBUILDER_ASSETS to the folder that has it")
    return path


@contextlib.asynccontextmanager
async def serve(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Both processes with the CRD applied; yields a kubeconfig."""
    etcd, apiserver = find_binary("etcd"), find_binary("kube-apiserver")
    openssl = shutil.which("openssl")
    if openssl is None:
        raise ServerMissing("openssl is needed for the key of service accounts; install it")
    token, ports = secrets.token_hex(16), [_free_port() for _ in range(3)]
    key = folder / "service-account.key"
    await _run(openssl, "genrsa", "-out", str(key), "2048")
    (folder / "tokens.csv").write_text(f"{token},sandbox-admin,1,system:masters\n")
    store = f"http://127.0.0.1:{ports[0]}"
    commands = [
        [
            *(str(etcd), f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--log-level=error"),
            *(f"--listen-client-urls={store}", f"--advertise-client-urls={store}"),
            f"--listen-peer-urls=http://127.0.0.1:{ports[1]}",
        ],
        [
            *(str(apiserver), f"--etcd-servers={store}", f"--cert-dir={folder / 'certs'}"),
            *("--bind-address=127.0.0.1", f"--secure-port={ports[2]}", "--service-cluster-ip-range=10.0.0.0/24"),
            *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            *("--authorization-mode=RBAC", f"--token-auth-file={folder / 'tokens.csv'}"),
            *("--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount"),
        ],
    ]
    url = f"https://127.0.0.1:{ports[2]}"
    processes: list[asyncio.subprocess.Process] = []
    with (folder / "servers.log").open("wb") as log:
        try:
            processes += [
                await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, cwd=folder)
                for command in commands
            ]
            await _prepare(url, token, processes)
            yield _make_kubeconfig(url, token)
        finally:
            for process in reversed(processes):
                if process.returncode is None:
                    process.terminate()
                await process.wait()


async def _prepare(url: str, token: str, processes: list[asyncio.subprocess.Process]) -> None:
    """Wait until the API serves, and apply the CRD."""
    # The server makes its own certificate at every start; it listens on loopback only.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/readyz", ssl=context) as response:
                    if response.status == 200:
                        break
            if asyncio.get_running_loop().time() > deadline or any(p.returncode is not None for p in processes):
                raise ServerMissing("etcd and kube-apiserver did not start")
            await asyncio.sleep(0.1)
        crds = f"{url}/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        async with session.post(crds, json=read_crd(), ssl=context) as response:
            if response.status not in (201, 409):
                raise ServerMissing(f"the CRD was refused: {await response.text()}")


def _make_kubeconfig(url: str, token: str) -> dict[str, Any]:
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


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise ServerMissing(f"{Path(command[0]).name} failed")
