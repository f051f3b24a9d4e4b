"""Where the cluster is and how to log in: kubeconfigs of all kinds, plugins, and the service account of a pod."""

import asyncio
import os
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from aiohttp import web
from kubernetes.aio.config import incluster_config, kube_config

from pipeline_approver.kube import errors
from pipeline_approver.kube.api import KubeApi
from pipeline_approver.sandbox.kube import KubeServer

SECRET = "s3cr3t-" * 6
Configure = Callable[[dict[str, Any] | str | bytes], Path]


def build_kubeconfig(url: Any = "http://127.0.0.1:1", *, cluster: Any = None, user: Any = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": url, **(cluster or {})}}],
        "users": [{"name": "me", "user": {"token": SECRET} if user is None else user}],
    }


def build_plugin(folder: Path, body: str) -> dict[str, Any]:
    """A plugin for logging in; the body is Python, and its output the answer."""
    script = folder / "plugin"
    script.write_text(f"#!{sys.executable}\nimport json, pathlib, sys\n{body}\n")
    script.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}}


ANSWER = """
token = pathlib.Path(sys.argv[0]).with_name("token").read_text()
version = "client.authentication.k8s.io/v1"
print(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": {"token": token}}))
"""


async def run(kubeconfig: Path) -> tuple[int | None, str]:
    """The operator with a kubeconfig: its exit code, and what it wrote."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE", "FELDERA"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipeline_approver", "run", "--health-port", "0", "--log-level", "debug"),
        env={**environ, "HOME": "/nonexistent", "KUBECONFIG": str(kubeconfig)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


def spoil(**changes: Any) -> dict[str, Any]:
    return {**build_kubeconfig(), **changes}


MISPLACED = [{"name": "me", "token": SECRET}]
PROVIDER = {"auth-provider": {"name": "oidc", "config": {"id-token": SECRET, "client-secret": SECRET}}}
UNUSABLE: dict[str, tuple[dict[str, Any] | str | bytes, str]] = {
    "no file": ("", "set KUBECONFIG to a usable kubeconfig"),
    "no YAML": (f"users:\n- token: {SECRET}: [\n", "it is no YAML: line 2"),
    "a tab": (f"users:\n\t- token: {SECRET}\n", "it is no YAML: line 2"),
    "not text": (b"\xff\xfe\x00", "set KUBECONFIG to a usable kubeconfig"),
    "a word": ("kubeconfig", "it is malformed"),
    "a list": ("[1, 2]", "it is malformed"),
    "nothing": ("null", "set KUBECONFIG to a usable kubeconfig"),
    "nothing in it": ({"apiVersion": "v1", "kind": "Config"}, "set KUBECONFIG to a usable kubeconfig"),
    "no context": (spoil(**{"current-context": ""}), "Expected object with name"),
    "an unknown context": (spoil(**{"current-context": "there"}), "there"),
    "no clusters": (spoil(clusters=None), "here"),
    "clusters that are none": (spoil(clusters="here"), "Expected key name"),
    "a cluster without a cluster": (spoil(clusters=[{"name": "here"}]), "Expected key cluster"),
    "a cluster without a server": (
        spoil(clusters=[{"name": "here", "cluster": {}}]),
        "the server of its cluster is no url",
    ),
    "a server that is a number": (build_kubeconfig(7), "it is malformed"),
    "a server that is a name": (build_kubeconfig("kubernetes"), "the server of its cluster is no url"),
    "a server that is no url": (build_kubeconfig("http://["), "the server of its cluster is no url"),
    "a server with a port that is none": (build_kubeconfig("http://here:99999"), "the server of its cluster is no url"),
    "a token beside the user": (spoil(users=MISPLACED), "Expected key user"),
    "users that are none": (spoil(users=[SECRET]), "to have 'name' key"),
    "a CA that is none": (
        build_kubeconfig("https://127.0.0.1:1", cluster={"certificate-authority-data": "bm9uZQ=="}),
        "the certificates of the kubeconfig cannot be used",
    ),
    "a CA that is not base64": (
        build_kubeconfig("https://127.0.0.1:1", cluster={"certificate-authority-data": SECRET + "é"}),
        "the certificates of the kubeconfig cannot be used",
    ),
    "a CA file that is not there": (
        build_kubeconfig("https://127.0.0.1:1", cluster={"certificate-authority": "/no/such"}),
        "/no/such",
    ),
    "a certificate without its key": (
        build_kubeconfig("https://127.0.0.1:1", user={"client-certificate-data": "bm9uZQ=="}),
        "the certificates of the kubeconfig cannot be used",
    ),
    "a token file that is not there": (build_kubeconfig(user={"tokenFile": "/no/such"}), "No such file"),
    "a provider without a token": (build_kubeconfig(user=PROVIDER), "malformed"),
    "a plugin without a command": (build_kubeconfig(user={"exec": {"apiVersion": "v1"}}), "gave no credentials"),
    "a plugin that is not there": (
        build_kubeconfig(user={"exec": {"apiVersion": "v1", "command": "/no/such"}}),
        "gave no credentials",
    ),
}


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Make a kubeconfig the one that this process uses."""
    file = tmp_path / "kubeconfig"

    def write(content: dict[str, Any] | str | bytes) -> Path:
        content = yaml.safe_dump(content) if isinstance(content, dict) else content
        if content:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        # The official client reads the variable once, when it is imported.
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        return file

    return write


@pytest.mark.parametrize(("content", "told"), UNUSABLE.values(), ids=UNUSABLE)
async def test_a_kubeconfig_that_cannot_be_used_is_explained_without_what_is_secret_in_it(
    configure: Configure, content: dict[str, Any] | str | bytes, told: str
) -> None:
    configure(content)
    with pytest.raises(errors.KubeError) as caught:
        await KubeApi.connect()
    message = str(caught.value)
    assert told in message
    assert message.isprintable()
    assert SECRET not in message


FAILING = {
    "fails": "sys.exit('no session; log in first')",
    "no JSON": "print('{')",
    "empty": "print('{}')",
    "a list": "print('[]')",
    "another version": "print(json.dumps({'apiVersion': 'v9', 'kind': 'ExecCredential', 'status': {}}))",
    "no token": "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': '', 'status': {}}))",
}


@pytest.mark.parametrize("body", FAILING.values(), ids=FAILING)
async def test_a_plugin_that_fails_is_named(configure: Configure, tmp_path: Path, body: str) -> None:
    configure(build_kubeconfig(user=build_plugin(tmp_path, body)))
    with pytest.raises(errors.KubeError, match="the plugin that the kubeconfig names for logging in gave no creden"):
        await KubeApi.connect()


async def test_the_command_ends_with_the_explanation_in_its_last_line(configure: Configure, tmp_path: Path) -> None:
    file = configure(spoil(users=MISPLACED))
    code, output = await run(file)
    assert (code, "Expected key user" in output.splitlines()[-1]) == (1, True)
    assert "Traceback" not in output
    assert SECRET not in output
    configure(build_kubeconfig(user=build_plugin(tmp_path, FAILING["fails"])))
    code, output = await run(file)
    assert (code, "gave no credentials" in output.splitlines()[-1]) == (1, True)
    assert "no session; log in first" in output
    assert "Traceback" not in output


async def test_a_token_file_may_end_with_a_line_break(server: KubeServer, configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("user:alice\n")
    configure(build_kubeconfig(server.url, user={"tokenFile": str(tmp_path / "token")}))
    kube = await KubeApi.connect()
    assert await kube.list_pipelines(None) == {}
    await kube.aclose()
    assert server.requests[-1].user == "alice"


async def test_credentials_of_a_plugin_that_have_run_out_are_asked_for_again(
    serve: Any, configure: Configure, tmp_path: Path
) -> None:
    valid = "Bearer first"

    async def handler(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") == valid:
            return web.json_response({"metadata": {}, "items": []})
        return web.json_response({"message": "Unauthorized"}, status=401)

    url = (await serve(handler))._client.configuration.host
    (tmp_path / "token").write_text("first")
    configure(build_kubeconfig(url, user=build_plugin(tmp_path, ANSWER)))
    kube = await KubeApi.connect()
    assert await kube.list_pipelines(None) == {}
    valid = "Bearer second"
    (tmp_path / "token").write_text("second")
    assert await kube.list_pipelines(None) == {}
    await kube.aclose()


async def test_a_service_account_is_used_in_a_pod_and_its_token_may_be_rotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    token = tmp_path / "token"
    token.write_text("first")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    valid, seen = "bearer first", []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        if seen[-1] == valid:
            return web.json_response({"metadata": {}, "items": []})
        return web.json_response({"message": "Unauthorized"}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(runner.addresses[0][1]))
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
        kube = await KubeApi.connect()
        assert await kube.list_pipelines(None) == {}
        # The kubelet writes the new token before the old one ends.
        token.write_text("second")
        valid = "bearer second"
        assert await kube.list_pipelines(None) == {}
        assert seen == ["bearer first", "bearer first", "bearer second"]
        token.unlink()
        valid = "bearer third"
        with pytest.raises(errors.KubeError):
            await kube.list_pipelines(None)
        await kube.aclose()
    finally:
        await runner.cleanup()


async def test_a_proxy_that_the_environment_names_is_used_but_not_for_what_it_excepts(
    server: KubeServer, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server takes the requests to a proxy as its own.
    configure(build_kubeconfig("http://cluster.invalid", user={}))
    monkeypatch.setenv("http_proxy", server.url)
    kube = await KubeApi.connect()
    assert await kube.list_pipelines(None) == {}
    await kube.aclose()

    monkeypatch.setenv("no_proxy", "cluster.invalid")
    kube = await KubeApi.connect()
    with pytest.raises(errors.Unavailable):
        await kube.list_pipelines(None)
    await kube.aclose()


async def test_nothing_of_a_netrc_is_sent(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    async def note(request: web.Request) -> web.Response:
        sent.append(request.headers.get("Authorization"))
        return web.json_response({"metadata": {}, "items": []})

    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password s3cr3t")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    kube = await serve(note)
    await kube.list_pipelines(None)
    assert sent == [None]
