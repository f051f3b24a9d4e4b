"""Where Feldera is, and how to prove who asks: from a Secret, or from the operator's environment.

Key and url come from the same place on purpose: nobody can have the operator send a key to a url of their choice.
"""

import base64
import binascii
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECRET_TYPE = "pipeline-approver.io/connection"  # noqa: S105 - a type, not a secret


class ConnectionInvalid(Exception):
    """The configuration of a connection cannot be used; the message is for the person who wrote it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """CamelCase, for a condition."""


class TokenUnreadable(Exception):
    """The token file cannot be read just now."""


class Secret:
    """A text that shows itself only when asked."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One Feldera API server and one tenant's credentials."""

    url: str
    """Without a slash at the end."""
    api_key: Secret | None = None
    token_file: Path | None = None
    """Read for every request, so that a rotated token is used at once."""
    ca_pem: str | None = None

    def fingerprint(self) -> str:
        """Changes when anything changes; says nothing about what it is."""
        key = self.api_key.reveal() if self.api_key else ""
        parts = (self.url, key, str(self.token_file or ""), self.ca_pem or "")
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def read_token(self) -> str | None:
        """The token to send with the next request; raises TokenUnreadable."""
        if self.token_file is None:
            return self.api_key.reveal() if self.api_key else None
        try:
            token = self.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise TokenUnreadable("the file in FELDERA_TOKEN_FILE cannot be read") from None
        if not token or not _fits_header(token):
            raise TokenUnreadable("the file in FELDERA_TOKEN_FILE holds no token")
        return token

    def build_ssl(self) -> ssl.SSLContext:
        """Trusts the given certificates, else the system's."""
        return ssl.create_default_context(cadata=self.ca_pem)


def connection_from_secret(secret: Mapping[str, Any]) -> Connection:
    """Read a Secret manifest; raises ConnectionInvalid."""
    type_ = secret.get("type")
    if type_ != SECRET_TYPE:
        raise ConnectionInvalid(
            "SecretTypeWrong",
            f"its type is {str(type_)[:100]!r}, not {SECRET_TYPE}; a type cannot be changed, so create the Secret anew",
        )
    data = secret.get("data")
    values = {key: _decode(key, value) for key, value in data.items()} if isinstance(data, Mapping) else {}
    return Connection(
        url=_parse_url("the key url", values.get("url", "")),
        api_key=_parse_key("the key api-key", values.get("api-key")),
        ca_pem=_parse_ca("the key ca.crt", values.get("ca.crt")),
    )


def connection_from_environment(environ: Mapping[str, str]) -> Connection | None:
    """The operator's own connection, or None when none is configured; raises ConnectionInvalid."""
    url, key = environ.get("FELDERA_URL", ""), environ.get("FELDERA_API_KEY")
    token_file, ca_file = environ.get("FELDERA_TOKEN_FILE"), environ.get("FELDERA_CA_FILE")
    if not (url or key or token_file or ca_file):
        return None
    if key and token_file:
        raise ConnectionInvalid("ConnectionInvalid", "FELDERA_API_KEY and FELDERA_TOKEN_FILE exclude each other")
    ca_pem = None
    if ca_file:
        try:
            ca_pem = Path(ca_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConnectionInvalid("CAInvalid", "the file in FELDERA_CA_FILE cannot be read") from None
    return Connection(
        url=_parse_url("FELDERA_URL", url),
        api_key=_parse_key("FELDERA_API_KEY", key or None),
        token_file=Path(token_file) if token_file else None,
        ca_pem=_parse_ca("FELDERA_CA_FILE", ca_pem),
    )


def _decode(key: str, value: object) -> str:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise ConnectionInvalid("SecretInvalid", f"the key {key[:64]} is not text in base64") from None


def _parse_url(where: str, value: str) -> str:
    url = value.strip()
    if not url:
        raise ConnectionInvalid(
            "UrlMissing", f"{where} is missing or empty; set it to the url of the Feldera API server"
        )
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConnectionInvalid("UrlInvalid", f"{where} is not a url") from None
    if parts.username is not None or parts.password is not None:
        raise ConnectionInvalid(
            "UrlInvalid", f"{where} has credentials in it; take them out and use api-key or FELDERA_API_KEY"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConnectionInvalid("UrlInvalid", f"{where} is not a url that begins with http:// or https:// and a host")
    if parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in url):
        raise ConnectionInvalid("UrlInvalid", f"{where} must be a plain url, without query, fragment or spaces")
    return url.rstrip("/").removesuffix("/v0").rstrip("/")


def _parse_key(where: str, value: str | None) -> Secret | None:
    if value is None:
        return None
    key = value.strip("\r\n")
    if not key or not _fits_header(key):
        raise ConnectionInvalid(
            "ApiKeyInvalid",
            f"{where} is empty or has characters that a key cannot have; take it out if there is no key",
        )
    return Secret(key)


def _fits_header(value: str) -> bool:
    return value.isascii() and all(c.isprintable() and not c.isspace() for c in value)


def _parse_ca(where: str, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        ssl.create_default_context(cadata=value)
        if "BEGIN CERTIFICATE" not in value:
            raise ValueError
    except (ssl.SSLError, ValueError):
        raise ConnectionInvalid("CAInvalid", f"{where} holds no certificate in PEM form") from None
    return value
