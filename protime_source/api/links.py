"""Links as Protime sends them, made fit to be followed."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urljoin, urlsplit

from protime_source.api.redaction import redact
from protime_source.errors import ProtocolError

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
    base, mark, query = _joined(origin, link).partition("?")
    if _origin(base) != _origin(origin):
        raise ProtocolError(
            f"Protime sent a link to another host ({redact(base)}); it is not followed, since the"
            f" access token belongs to {origin} alone."
        )
    # What was checked is not what is requested: only the path of a link is ever used.
    path = _STRAY_PERCENT.sub("%25", base.partition("//")[2].partition("/")[2])
    encoded = "&".join(_parameter(pair) for pair in query.split("&"))
    return f"{origin}/{quote(path, safe=':/%')}{mark}{encoded}"


def _parameter(pair: str) -> str:
    """Encodes one `name=value`. In a token a `+` is Base64, elsewhere it may stand for a blank."""
    raw_name, equals, value = pair.partition("=")
    name = quote(_STRAY_PERCENT.sub("%25", raw_name), safe="%")
    if name in _TOKENS:
        return name + equals + quote(unquote(value), safe="")
    return name + equals + quote(_STRAY_PERCENT.sub("%25", value), safe="%+=,:()@/")


def _joined(origin: str, link: str) -> str:
    try:
        return urljoin(origin + "/", link)
    except ValueError as error:
        raise _no_url(link) from error


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, user and host as written, and port, which http and https need not name."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise _no_url(url) from error
    user, at, _ = parts.netloc.rpartition("@")
    return parts.scheme, f"{user}{at}{parts.hostname}", port


def _no_url(link: str) -> ProtocolError:
    return ProtocolError(f"Protime sent a link that is no URL ({redact(link.partition('?')[0])}).")
