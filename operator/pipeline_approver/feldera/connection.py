"""Where Feldera is, and how to prove who asks: from a Secret, or from the operator's environment.

Key and url come from the same place on purpose: nobody can have the operator send a key to a url of their choice.
"""

import base64
import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

LONGEST_URL = 2048
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
    ca_pem: str | None = field(default=None, repr=False)
    """Certificates, and nothing but certificates."""

    def fingerprint(self) -> str:
        """Changes when anything changes; says nothing about what it is."""
        key = self.api_key.reveal() if self.api_key else ""
        parts = (self.url, key, str(self.token_file or ""), self.ca_pem or "")
        # A path may hold bytes that are no text; Python keeps them as surrogates.
        return hashlib.sha256("\0".join(parts).encode("utf-8", errors="surrogatepass")).hexdigest()

    def read_token(self) -> str | None:
        """The token to send with the next request; raises TokenUnreadable."""
        if self.token_file is None:
            return self.api_key.reveal() if self.api_key else None
        try:
            token = self.token_file.read_text("utf-8").strip()
        except (OSError, ValueError):
            raise TokenUnreadable(
                "the file in FELDERA_TOKEN_FILE cannot be read; check the path, and that the token is mounted"
            ) from None
        if not token or not _fits_header(token):
            raise TokenUnreadable(
                "the file in FELDERA_TOKEN_FILE holds no token; it must be the token and nothing else"
            )
        return token

    def build_ssl(self) -> ssl.SSLContext:
        """Trusts the given certificates, else the system's."""
        if not self.url.startswith("https:"):
            # Nothing will use it, and loading the system's certificates costs time and memory per connection.
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
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
    data = data if isinstance(data, Mapping) else {}
    # Other keys are nobody's business here; they may well be binary.
    url, key, ca = (_decode(name, data.get(name)) for name in ("url", "api-key", "ca.crt"))
    return Connection(
        url=_parse_url("the key url", url or ""),
        api_key=_parse_key("the key api-key", key),
        ca_pem=_parse_ca("the key ca.crt", ca),
    )


def connection_from_environment(environ: Mapping[str, str]) -> Connection | None:
    """The operator's own connection, or None when none is configured; raises ConnectionInvalid."""
    url, key = environ.get("FELDERA_URL", ""), environ.get("FELDERA_API_KEY")
    token_file, ca_file = environ.get("FELDERA_TOKEN_FILE"), environ.get("FELDERA_CA_FILE")
    if not (url or key or token_file or ca_file):
        return None
    if key and token_file:
        raise ConnectionInvalid(
            "ConnectionInvalid", "FELDERA_API_KEY and FELDERA_TOKEN_FILE exclude each other; unset one of them"
        )
    ca_pem = None
    if ca_file:
        try:
            ca_pem = Path(ca_file).read_text("utf-8", errors="replace")
        except (OSError, ValueError):
            raise ConnectionInvalid(
                "CAInvalid", "the file in FELDERA_CA_FILE cannot be read; check the path and its permissions"
            ) from None
    return Connection(
        url=_parse_url("FELDERA_URL", url),
        api_key=_parse_key("FELDERA_API_KEY", key or None),
        token_file=Path(token_file) if token_file else None,
        ca_pem=_parse_ca("FELDERA_CA_FILE", ca_pem),
    )


def _decode(name: str, value: object) -> str | None:
    if value is None:
        return None
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True).decode("utf-8")
    except ValueError:
        raise ConnectionInvalid(
            "SecretInvalid", f"the key {name} is not text in base64; write it as plain text under stringData"
        ) from None


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
        raise ConnectionInvalid("UrlInvalid", f"{where} is not a url; it looks like http://host:8080") from None
    if parts.username is not None or parts.password is not None:
        raise ConnectionInvalid(
            "UrlInvalid", f"{where} has credentials in it; take them out and use api-key or FELDERA_API_KEY"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConnectionInvalid("UrlInvalid", f"{where} is not a url that begins with http:// or https:// and a host")
    if parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in url):
        raise ConnectionInvalid("UrlInvalid", f"{where} must be a plain url, without query, fragment or spaces")
    path = parts.path.rstrip("/").removesuffix("/v0").rstrip("/")
    plain = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    try:
        # What the client and the resolver would refuse later is refused here, where its author is told.
        parts.hostname.encode("idna")
        usable = len(plain) <= LONGEST_URL and httpx.URL(plain).host != ""
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable:
        raise ConnectionInvalid("UrlInvalid", f"{where} has no host that can be reached, or is too long; correct it")
    return plain


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
    # Bundles have comments in any language between the certificates, and sometimes a key that is none of our business.
    pem = "\n".join(_CERTIFICATE.findall(value))
    try:
        if pem:
            ssl.create_default_context(cadata=pem)
            return pem
    except (ssl.SSLError, ValueError, TypeError):
        pass
    raise ConnectionInvalid(
        "CAInvalid",
        f"{where} holds no certificate in PEM form; put the certificate of the CA there, with its BEGIN and END lines",
    )


_CERTIFICATE = re.compile(
    r"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END (?:TRUSTED |X509 )?CERTIFICATE-----"
)
