"""Secrets and the environment: every way to fill them in wrongly has a message that says what to do."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.feldera.connection import (
    SECRET_TYPE,
    Connection,
    ConnectionInvalid,
    Secret,
    connection_from_environment,
    connection_from_secret,
)
from support.feldera import PEM, PRIVATE, build_secret


def refuse(secret: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ConnectionInvalid) as caught:
        connection_from_secret(secret)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 300
    return caught.value.reason, message


def test_a_whole_secret() -> None:
    secret = build_secret(url="https://feldera.test:8080\n", api_key="apikey:abc\n", ca=f"# Ünser CA\n{PEM}\n")
    connection = connection_from_secret(secret)
    assert connection.url == "https://feldera.test:8080"
    assert connection.read_token() == "apikey:abc"
    assert connection.ca_pem == PEM.strip()
    assert connection.build_ssl().get_ca_certs()


def test_a_key_and_a_ca_are_optional_and_other_keys_are_not_looked_at() -> None:
    connection = connection_from_secret(build_secret(url="http://feldera.test", keystore=b"\xff\xfe\x00"))
    assert (connection.read_token(), connection.ca_pem) == (None, None)


@pytest.mark.parametrize("type_", ["Opaque", None, "", "kubernetes.io/tls", 3, "x" * 9999], ids=lambda it: str(it)[:20])
def test_a_secret_of_another_type_is_not_used(type_: Any) -> None:
    """Whoever may create Pipelines must not have any Secret of the namespace read and sent somewhere."""
    secret = {**build_secret(url="http://feldera.test", api_key="k"), "type": type_}
    reason, message = refuse(secret)
    assert reason == "SecretTypeWrong"
    assert "create the Secret anew" in message
    secret.pop("type")
    assert refuse(secret)[0] == "SecretTypeWrong"


@pytest.mark.parametrize("data", [None, {}, {"url": None}, {"url": ""}, {"URL": "aHR0cDovL2E="}, [], "x"], ids=str)
def test_without_a_url_the_message_says_what_to_set(data: Any) -> None:
    reason, message = refuse({"type": SECRET_TYPE, "data": data})
    assert reason == "UrlMissing"
    assert "the key url is missing or empty; set it to the url of the Feldera API server" in message


@pytest.mark.parametrize("key", ["url", "api-key", "ca.crt"])
@pytest.mark.parametrize("value", ["!!!", "====", "é", "aGVsbG8", "/////w==", "\x00"], ids=repr)
def test_what_is_not_text_in_base64_is_named(key: str, value: str) -> None:
    secret = build_secret(url="http://feldera.test")
    secret["data"][key] = value
    reason, message = refuse(secret)
    assert reason == "SecretInvalid"
    assert f"the key {key} is not text in base64; write it as plain text under stringData" in message


@pytest.mark.parametrize(
    ("url", "reason", "words"),
    [
        ("   \n", "UrlMissing", "set it to"),
        ("feldera:8080", "UrlInvalid", "begins with http:// or https://"),
        ("feldera", "UrlInvalid", "begins with http:// or https://"),
        ("ftp://feldera", "UrlInvalid", "begins with http:// or https://"),
        ("file:///etc/passwd", "UrlInvalid", "begins with http:// or https://"),
        ("unix:///run/feldera", "UrlInvalid", "begins with http:// or https://"),
        ("http://", "UrlInvalid", "begins with http:// or https://"),
        ("http:///v0", "UrlInvalid", "begins with http:// or https://"),
        ("http://:8080", "UrlInvalid", "begins with http:// or https://"),
        ("http://u:hunter2@feldera", "UrlInvalid", "take them out and use api-key"),
        ("http://hunter2@feldera", "UrlInvalid", "take them out and use api-key"),
        ("http://feldera:hunter2", "UrlInvalid", "is not a url; it looks like http://host:8080"),
        ("http://feldera:99999", "UrlInvalid", "is not a url"),
        ("http://[::1", "UrlInvalid", "is not a url"),
        ("http://feldera/?key=hunter2", "UrlInvalid", "without query"),
        ("http://feldera/#hunter2", "UrlInvalid", "without query"),
        ("http://fel dera", "UrlInvalid", "spaces"),
        ("http://fel\ndera", "UrlInvalid", "spaces"),
        ("http://feldera\x00", "UrlInvalid", "plain url"),
        ("http://fel\u00addera", "UrlInvalid", "plain url"),
        ("http://a..b", "UrlInvalid", "no host that can be reached"),
        ("http://.", "UrlInvalid", "no host that can be reached"),
        ("http://🍝", "UrlInvalid", "no host that can be reached"),
        ("http://" + "a" * 64, "UrlInvalid", "no host that can be reached"),
        ("http://xn--a", "UrlInvalid", "no host that can be reached"),
        ("http://feldera/" + "x" * 3000, "UrlInvalid", "too long"),
        ("http://feldera/" + "x" * 900_000, "UrlInvalid", "too long"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_url_that_is_none_is_refused_without_being_repeated(url: str, reason: str, words: str) -> None:
    found, message = refuse(build_secret(url=url))
    assert found == reason
    assert words in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://feldera", "http://feldera"),
        ("http://feldera/", "http://feldera"),
        ("http://feldera/v0", "http://feldera"),
        ("http://feldera/v0/", "http://feldera"),
        ("http://v0", "http://v0"),
        ("http://v0/v0", "http://v0"),
        ("https://gateway/feldera/v0//", "https://gateway/feldera"),
        ("HTTP://Feldera:8080", "http://Feldera:8080"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("http://bücher.example", "http://bücher.example"),
        ("http://my_host", "http://my_host"),
    ],
)
def test_a_url_is_taken_as_people_write_it(url: str, plain: str) -> None:
    connection = connection_from_secret(build_secret(url=url))
    assert connection.url == plain
    FelderaClient(connection)


@pytest.mark.parametrize(
    "key", ["", "\n", "two words", "Bearer abc", "a\tb", "a\nb", "schlüssel", "a\x7f", "a\x00"], ids=repr
)
def test_a_key_that_no_header_takes_is_refused_without_being_repeated(key: str) -> None:
    reason, message = refuse(build_secret(url="http://feldera.test", api_key=key))
    assert reason == "ApiKeyInvalid"
    assert "take it out if there is no key" in message
    assert key.strip() == "" or key not in message


@pytest.mark.parametrize(
    "ca",
    [
        "",
        "text",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nTm90aGluZw==\n-----END CERTIFICATE-----",
        PEM.replace("-----END CERTIFICATE-----", ""),
        PEM[: len(PEM) // 2],
        PEM.replace("MII", "XII"),
        PRIVATE,
        "é",
        "\x00",
    ],
    ids=["empty", "text", "nothing", "not one", "cut end", "half", "spoilt", "private key", "not ASCII", "zero"],
)
def test_a_ca_without_a_certificate_is_refused_without_being_repeated(ca: str) -> None:
    reason, message = refuse(build_secret(url="https://feldera.test", ca=ca))
    assert reason == "CAInvalid"
    assert "put the certificate of the CA there" in message
    assert "MII" not in message
    assert "PRIVATE" not in message


def test_a_private_key_beside_the_ca_is_not_kept() -> None:
    connection = connection_from_secret(build_secret(url="https://feldera.test", ca=PRIVATE + PEM))
    assert connection.ca_pem == PEM.strip()


def test_what_is_secret_does_not_show_itself() -> None:
    secret = build_secret(url="https://feldera.test", api_key="apikey:hunter2", ca=PEM)
    connection = connection_from_secret(secret)
    for text in (repr(connection), str(connection), f"{connection.api_key}", f"{connection.api_key!r}"):
        assert "hunter2" not in text
        assert "MII" not in text
    assert "hunter2" not in connection.fingerprint()


def test_the_fingerprint_changes_with_every_part() -> None:
    one = Connection(url="http://a", api_key=Secret("k"), token_file=None, ca_pem=PEM)
    others = [
        Connection(url="http://b", api_key=Secret("k"), ca_pem=PEM),
        Connection(url="http://a", api_key=Secret("l"), ca_pem=PEM),
        Connection(url="http://a", token_file=Path("/k"), ca_pem=PEM),
        Connection(url="http://a", token_file=Path("/\udcff"), ca_pem=PEM),
        Connection(url="http://a", api_key=Secret("k")),
    ]
    assert len({one.fingerprint(), *(other.fingerprint() for other in others)}) == len(others) + 1
    assert one.fingerprint() == Connection(url="http://a", api_key=Secret("k"), ca_pem=PEM).fingerprint()
    assert one.api_key == Secret("k") != Secret("l")
    assert len({Secret("k"), Secret("k")}) == 1


def test_the_environment_may_configure_no_connection() -> None:
    assert connection_from_environment({}) is None
    assert connection_from_environment({"FELDERA_URL": "", "FELDERA_API_KEY": ""}) is None


def test_the_environment_may_configure_everything(tmp_path: Path) -> None:
    (tmp_path / "ca").write_bytes(b"# \xdcnser CA\n" + PEM.encode())
    (tmp_path / "token").write_text("t")
    environ = {"FELDERA_URL": "https://feldera.test/v0", "FELDERA_CA_FILE": str(tmp_path / "ca")}
    connection = connection_from_environment({**environ, "FELDERA_TOKEN_FILE": str(tmp_path / "token")})
    assert connection is not None
    assert (connection.url, connection.read_token(), connection.ca_pem) == ("https://feldera.test", "t", PEM.strip())
    connection = connection_from_environment({**environ, "FELDERA_API_KEY": "apikey:x"})
    assert connection is not None
    assert connection.read_token() == "apikey:x"


@pytest.mark.parametrize(
    ("environ", "reason", "words"),
    [
        ({"FELDERA_API_KEY": "hunter2"}, "UrlMissing", "FELDERA_URL is missing or empty; set it"),
        ({"FELDERA_TOKEN_FILE": "/t"}, "UrlMissing", "FELDERA_URL is missing or empty; set it"),
        ({"FELDERA_URL": "feldera"}, "UrlInvalid", "FELDERA_URL is not a url that begins with"),
        ({"FELDERA_URL": "http://u:hunter2@x"}, "UrlInvalid", "FELDERA_URL has credentials in it"),
        ({"FELDERA_URL": "http://x", "FELDERA_API_KEY": "hunter2 "}, "ApiKeyInvalid", "FELDERA_API_KEY is empty or"),
        (
            {"FELDERA_URL": "http://x", "FELDERA_API_KEY": "hunter2", "FELDERA_TOKEN_FILE": "/t"},
            "ConnectionInvalid",
            "unset one of them",
        ),
        ({"FELDERA_URL": "http://x", "FELDERA_CA_FILE": "/no/such"}, "CAInvalid", "check the path"),
        ({"FELDERA_URL": "http://x", "FELDERA_CA_FILE": "/"}, "CAInvalid", "check the path"),
        ({"FELDERA_URL": "http://x", "FELDERA_CA_FILE": "/dev/null"}, "CAInvalid", "FELDERA_CA_FILE holds no"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_environment_that_is_wrong_is_explained(environ: dict[str, str], reason: str, words: str) -> None:
    with pytest.raises(ConnectionInvalid) as caught:
        connection_from_environment(environ)
    assert caught.value.reason == reason
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_command_says_in_one_line_what_is_wrong_with_its_environment() -> None:
    command = [sys.executable, "-m", "pipeline_approver", "run"]
    environ = {"FELDERA_URL": "http://u:hunter2@feldera", "PATH": "/usr/bin"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("pipeline-approver: FELDERA_URL has credentials in it")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr
