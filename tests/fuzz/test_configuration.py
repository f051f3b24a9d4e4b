"""Whatever the operator is started with: settings, environments and kubeconfigs work, or are refused with a message."""

import argparse
import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kubernetes.aio.config import kube_config

from pipeline_approver import settings
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import ConnectionInvalid, connection_from_environment
from pipeline_approver.kube import errors
from pipeline_approver.kube.api import KubeApi
from support.fuzz import JSON, TEXT

# An environment holds text without NUL; bytes that are no text are surrogates in it.
VALUES = st.text(st.characters(exclude_characters="\x00", exclude_categories=[]), max_size=20) | st.sampled_from(
    [
        *(
            "0",
            "1",
            "-1",
            "3",
            "0.05",
            "3600",
            "1e3",
            "1_0",
            "nan",
            "inf",
            "-inf",
            "٣",
            "65535",
            "65536",
            "8080 ",
            "0x10",
        ),
        *("any", "waiting", "never", "text", "json", "info", "default,shop", " shop , shop", ",", "a" * 64, "9" * 5000),
        *("true", "false", "TRUE", "", " ", "\ud800", "\udcff", "🍝", "x" * 100_000),
    ]
)


def find_variables() -> list[str]:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    flags = vars(parser.parse_args([]))
    return [f"{settings.PREFIX}{flag.upper()}" for flag in flags]


VARIABLES = find_variables()


@given(environ=st.dictionaries(st.sampled_from(VARIABLES), VALUES, max_size=5))
@example(environ={f"{settings.PREFIX}HEALTH_PORT": "9" * 5000})
def test_any_environment_is_settings_or_a_message(environ: dict[str, str]) -> None:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    try:
        chosen = settings.read_settings(parser.parse_args([]), environ)
    except settings.SettingsInvalid as error:
        message = str(error)
        assert message
        assert len(message) < 1000
        assert any(variable in message for variable in environ) or "--" in message
    else:
        for seconds in (chosen.poll_interval_seconds, chosen.approve_timeout_seconds, chosen.settle_seconds):
            assert math.isfinite(seconds)
            assert seconds > 0
        assert chosen.settle_seconds > chosen.approve_timeout_seconds
        assert 0 <= chosen.health_port <= 65535
        assert chosen.one_shot in settings.ONE_SHOT
        assert all(name.isascii() and name for name in chosen.namespaces)


@given(
    environ=st.dictionaries(
        st.sampled_from(["FELDERA_URL", "FELDERA_API_KEY", "FELDERA_TOKEN_FILE", "FELDERA_CA_FILE"]),
        VALUES | st.sampled_from(["http://feldera", "https://feldera:8080/v0", "/dev/null", "/", "/no/such"]),
        max_size=4,
    )
)
def test_any_environment_is_a_connection_that_opens_or_a_message(environ: dict[str, str]) -> None:
    try:
        connection = connection_from_environment(environ)
    except ConnectionInvalid as error:
        assert str(error).isprintable()
        assert "FELDERA_" in str(error)
    else:
        if connection is not None:
            connection.fingerprint()
            FelderaClient(connection)


NAMES = st.sampled_from(["a", "b", ""]) | TEXT
USERS = st.fixed_dictionaries(
    {},
    optional={
        "token": TEXT | JSON,
        "tokenFile": TEXT,
        "username": TEXT | JSON,
        "password": TEXT | JSON,
        "client-certificate-data": TEXT,
        "client-key-data": TEXT | JSON,
    },
)
SERVERS = st.sampled_from(["http://127.0.0.1:1", "https://127.0.0.1:1", "127.0.0.1", "http://[", "file:///"]) | JSON
PROXIES = st.sampled_from(["http://127.0.0.1:1", "x", "http://[", "http://127.0.0.1:x"]) | JSON
CLUSTERS = st.fixed_dictionaries(
    {},
    optional={
        "server": SERVERS,
        "certificate-authority-data": TEXT | JSON,
        "certificate-authority": TEXT,
        "insecure-skip-tls-verify": JSON,
        "tls-server-name": TEXT,
        "proxy-url": PROXIES,
    },
)


def name_all(kind: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    entries = st.fixed_dictionaries({}, optional={"name": NAMES, kind: values | JSON})
    return st.lists(entries | st.fixed_dictionaries({"name": st.just("a"), kind: values}), max_size=2) | JSON


def build_kubeconfig(cluster: Any, user: Any) -> dict[str, Any]:
    """One whose parts fit together."""
    return {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": cluster}],
        "users": [{"name": "a", "user": user}],
    }


CONTEXTS = st.fixed_dictionaries({}, optional={"cluster": NAMES, "user": NAMES | JSON})
KUBECONFIGS = (
    st.fixed_dictionaries(
        {},
        optional={
            "apiVersion": TEXT,
            "current-context": st.just("a") | NAMES | JSON,
            "contexts": name_all(
                "context", st.fixed_dictionaries({}, optional={"cluster": NAMES, "user": NAMES | JSON})
            ),
            "clusters": name_all("cluster", CLUSTERS),
            "users": name_all("user", USERS),
        },
    )
    | st.builds(
        build_kubeconfig,
        CLUSTERS,
        USERS,
    )
    | JSON
)


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The file that this process takes its kubeconfig from."""
    file = tmp_path_factory.mktemp("fuzz") / "kubeconfig"
    with pytest.MonkeyPatch.context() as patch:
        # The official client reads the variable once, when it is imported.
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        yield file


def configure(**cluster: Any) -> bytes:
    """A kubeconfig that is whole but for its cluster."""
    return json.dumps(build_kubeconfig(cluster, {})).encode()


@example(content=configure(server="http://["))
@example(content=configure(server="http://127.0.0.1:99999"))
@example(content=configure(server="http://127.0.0.1:x"))
@example(content=configure(server="http://127.0.0.1:1", **{"proxy-url": "http://["}))
@given(content=KUBECONFIGS.map(json.dumps).map(str.encode) | st.binary(max_size=60))
def test_any_kubeconfig_is_used_or_refused_with_a_message(kubeconfig: Path, content: bytes) -> None:
    kubeconfig.write_bytes(content)

    async def use() -> None:
        kube = await KubeApi.connect(timeout_seconds=5)
        try:
            await kube.get_pipeline("default", "orders")
        finally:
            await kube.aclose()

    with pytest.raises(errors.KubeError) as caught:
        asyncio.run(use())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= errors.MESSAGE_LENGTH
