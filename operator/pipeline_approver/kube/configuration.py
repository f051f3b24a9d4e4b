"""Where the Kubernetes API is and how to log in: the cluster around the process, else the kubeconfig."""

import re
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import yaml
from kubernetes.aio import config

from pipeline_approver.core.change import clip
from pipeline_approver.kube import errors

REASON_LENGTH = 200


async def load_configuration(configuration: Any) -> None:
    """Fill in a configuration of the official client; raises KubeError with what to do."""
    try:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            loader = await config.load_kube_config(client_configuration=configuration, persist_config=False)
            _check_plugin(loader, configuration)
            _check_types(configuration)
            _check_server(configuration.host)
        configuration.proxy = configuration.proxy or find_proxy(configuration.host)
    except (
        config.ConfigException,
        yaml.YAMLError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RecursionError,
    ) as error:
        raise errors.KubeError(
            "no cluster is configured: set KUBECONFIG to a usable kubeconfig, or run inside a cluster"
            f" ({_explain(error)})"
        ) from None
    token = configuration.api_key.get("BearerToken")
    if isinstance(token, str):
        # Files of tokens end with a line break, which no header takes.
        configuration.api_key["BearerToken"] = token.strip()


def find_proxy(url: str) -> str | None:
    """The proxy that the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) names for a server, if any."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def _check_plugin(loader: Any, configuration: Any) -> None:
    """The library only logs what goes wrong with a plugin, and goes on without credentials."""
    user = getattr(loader, "_user", None)
    if user and "exec" in user and not (configuration.api_key.get("BearerToken") or configuration.cert_file):
        raise errors.KubeError(
            "the plugin that the kubeconfig names for logging in gave no credentials; its error is above, and running"
            " it by hand may tell more"
        )


def _check_types(configuration: Any) -> None:
    texts = (configuration.host, configuration.proxy, configuration.tls_server_name, *configuration.api_key.values())
    if not all(isinstance(text, str | None) for text in texts):
        # The library passes on whatever is there.
        raise TypeError


def _check_server(url: str) -> None:
    """Without a server, or with nonsense for it, the library would try for a minute what cannot come true."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise config.ConfigException("the server of its cluster is no url that begins with http:// or https://")


def _explain(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"it is no YAML: line {error.problem_mark.line + 1}"
    if isinstance(error, config.ConfigException):
        # The library shows whole entries, with the tokens in them.
        return clip(re.split(r"[{\[]", str(error))[0], REASON_LENGTH)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it is malformed: {type(error).__name__}"
