"""Links as Protime sends them, made fit to be followed."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urljoin, urlsplit

from protime_source.errors import ProtocolError
from protime_source.redaction import redact

_TOKENS = frozenset({"continuationToken", "deltaToken"})
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def absolute(link: str, origin: str) -> str:
    """Makes a link of Protime's a URL that can be requested.

    Protime sends host-relative links whose filter and tokens are not encoded (documentation:
    how-to/fetch-resources): blanks, quotes, and the `+`, `/` and `=` of Base64. Encoded and
    absolute ones are taken as well.

    Args:
        link: `nextLink` or `deltaLink` as sent.
        origin: Scheme, host and port of the API.

    Returns:
        The URL, percent-encoded.

    Raises:
        ProtocolError: When the link leads to another host: the bearer token must not go there.
    """
    path, mark, query = urljoin(origin + "/", link).partition("?")
    if _origin(path) != _origin(origin):
        raise ProtocolError(
            f"Protime sent a link to another host ({redact(path)}); it is not followed, since the"
            f" access token belongs to {origin} alone."
        )
    encoded = "&".join(_parameter(pair) for pair in query.split("&"))
    return quote(path, safe=":/%") + mark + encoded


def _parameter(pair: str) -> str:
    """Encodes one `name=value`. In a token a `+` is Base64, elsewhere it may stand for a blank."""
    name, equals, value = pair.partition("=")
    if name in _TOKENS:
        return name + equals + quote(unquote(value), safe="")
    return name + equals + quote(_STRAY_PERCENT.sub("%25", value), safe="%+=,:()@/")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise ProtocolError(f"Protime sent a link that is no URL ({redact(url)}).") from error
    return parts.scheme, parts.hostname, port
