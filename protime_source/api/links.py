"""Turns the links Protime sends into URLs that can be requested."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urljoin, urlsplit

from protime_source.api.redaction import quoted, redacted_url
from protime_source.errors import ProtocolError

_TOKEN_PARAMETERS = frozenset({"continuationToken", "deltaToken"})
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def resolve_link(link: str, origin: str) -> str:
    """Returns the percent-encoded URL of a link.

    Protime sends host-relative links whose filter and tokens are not encoded (documentation:
    how-to/fetch-resources): blanks, quotes, and the `+`, `/` and `=` of Base64. Encoded and
    absolute links are accepted as well.

    Args:
        link: `nextLink` or `deltaLink` as sent.
        origin: Scheme, host and port of the API.

    Raises:
        ProtocolError: When the link leads to another host: the bearer token must not go there.
    """
    base, question_mark, query = _join(origin, link).partition("?")
    if _origin_of(base) != _origin_of(origin):
        raise ProtocolError(
            f"Protime sent a link to another host ({quoted(base)}). It was not followed, because"
            f" the access token is only for {origin}. Check api_url; if it is right, ask Protime."
        )
    # Only the path of the link is used: URL parsers disagree about odd hosts, so the host that
    # was checked need not be the host that would be requested.
    path = _STRAY_PERCENT.sub("%25", base.partition("//")[2].partition("/")[2])
    encoded = "&".join(_encode_parameter(pair) for pair in query.split("&"))
    return f"{origin}/{quote(path, safe=':/%')}{question_mark}{encoded}"


def _encode_parameter(pair: str) -> str:
    """Encodes one `name=value`. In a token `+` is Base64; elsewhere it may mean a blank."""
    raw_name, equals, value = pair.partition("=")
    name = quote(_STRAY_PERCENT.sub("%25", raw_name), safe="%")
    if name in _TOKEN_PARAMETERS:
        return name + equals + quote(unquote(value), safe="")
    return name + equals + quote(_STRAY_PERCENT.sub("%25", value), safe="%+=,:()@/")


def _join(origin: str, link: str) -> str:
    try:
        return urljoin(origin + "/", link)
    except ValueError as error:
        raise _invalid_link(link) from error


def _origin_of(url: str) -> tuple[str, str, int | None]:
    """Returns scheme, user and host as written, and the port, also where it is the default."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise _invalid_link(url) from error
    user, at, _ = parts.netloc.rpartition("@")
    return parts.scheme, f"{user}{at}{parts.hostname}", port


def _invalid_link(link: str) -> ProtocolError:
    return ProtocolError(f"Protime sent a link that is not a URL ({redacted_url(link)}).")
