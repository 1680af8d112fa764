"""One HTTP response: its errors as ours, and its body checked and decoded."""

from __future__ import annotations

import codecs
import http
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from protime_source.api.redaction import quoted, redacted_url
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    ResponseError,
    UnauthorizedError,
    UnavailableError,
)

T = TypeVar("T")

_LONGEST_ID = 19
"""Digits of 64 bits."""

_ERRORS: dict[int, type[ResponseError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ExpiredError,
    410: ExpiredError,
}
_ADVICE: dict[int, str] = {
    401: "Ask Protime whether this client may read it: a missing scope is answered by 401 too.",
    403: "Ask Protime to add the scope to the client, or whether the tenant has the feature:"
    " assignments are not available with Planning Flex or Shift.",
}


@dataclass(frozen=True)
class Response:
    """A response whose body has been read.

    Attributes:
        status: The HTTP status.
        headers: The headers; lookups ignore letter case.
        content: The body, decompressed.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the status is not an error."""
        return self.status < http.HTTPStatus.BAD_REQUEST


def raise_for_status(response: Response, url: str) -> None:
    """Raises an error for a redirect or an error status.

    Args:
        response: The response.
        url: The requested URL.

    Raises:
        ProtocolError: For a redirect.
        ResponseError: For an error status.
    """
    status = response.status
    if 300 <= status < 400:
        raise ProtocolError(
            f"{redacted_url(url)} answered {status_line(status)}. The redirect is not followed,"
            " because the access token would go with it. Check api_url and tenant."
        )
    if response.ok:
        return
    code, text, reasons = _parse_error(response.content)
    reason = "; ".join(part for part in (text or code, *reasons) if part) or "no reason given"
    advice = _ADVICE.get(status, "")
    message = f"{redacted_url(url)} answered {status_line(status)}: {reason}. {advice}"
    kind = _ERRORS.get(status, ResponseError)
    raise kind(message.strip(), status=status, code=code, reasons=reasons)


def decode_body(response: Response, url: str, decode: Callable[[bytes], T]) -> T:
    """Returns the decoded body.

    Args:
        response: The response.
        url: The requested URL.
        decode: Decodes JSON; raises `msgspec.DecodeError`.

    Raises:
        UnavailableError: When the body is truncated, not JSON or not UTF-8: a retry may help.
        ProtocolError: When the body is JSON of an undocumented shape.
    """
    try:
        if _is_utf8(response.content):  # msgspec does not check what it leaves undecoded (`Raw`)
            return decode(response.content)
    except msgspec.ValidationError as error:
        raise ProtocolError(
            f"{redacted_url(url)} answered with JSON that is not as documented: {error}."
        ) from error
    except RecursionError as error:
        raise ProtocolError(
            f"{redacted_url(url)} answered with JSON that is nested too deeply to decode."
        ) from error
    except msgspec.DecodeError:
        pass  # raised below without this error, whose traceback holds the body and its tokens
    raise UnavailableError(
        f"{redacted_url(url)} answered with a body that is truncated or not JSON"
        f" ({len(response.content)} bytes)."
    )


def created_id(response: Response, what: str) -> int:
    """Returns the id of a record that Protime has created.

    It is in `Location` (documentation: reference/responses). Whether a body comes too is not
    documented; where `Location` has no id, one in the body counts.

    Args:
        response: The response to a POST.
        what: What was created.

    Raises:
        ProtocolError: When neither has an id: the record exists all the same.
    """
    location = response.headers.get("Location", "")
    new = location.rstrip("/").rpartition("/")[2]
    if new.isdecimal() and len(new) <= _LONGEST_ID:
        return int(new)
    try:
        body: Any = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, RecursionError):
        body = None
    if isinstance(body, dict) and type(body.get("id")) is int:
        return int(body["id"])
    raise ProtocolError(f"Protime created the {what} but the response has no id (Location).")


def status_line(status: int) -> str:
    """Returns a status with its name: `404 Not Found`."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


_UTF8_PIECE_BYTES = 64 * 2**10
"""A page of 370 KB with accents takes 0.15 ms in such pieces and 0.7 ms at once: the decoded text
of a piece stays in the CPU's cache."""


def _is_utf8(body: bytes) -> bool:
    if body.isascii():
        return True
    decode = codecs.getincrementaldecoder("utf-8")().decode
    try:
        for start in range(0, len(body), _UTF8_PIECE_BYTES):
            decode(body[start : start + _UTF8_PIECE_BYTES])
        decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    rb"\\\\"  # an escaped backslash: what follows it is not an escape
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair
    rb"|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"  # a lone surrogate, which is not valid Unicode
)
_LONE_SURROGATE_MARK = rb"\uFFFF"  # not a character either, but JSON decoders accept it


def mark_lone_surrogates(body: bytes) -> bytes:
    r"""Returns JSON text with `\uFFFF` in place of lone surrogates, which decoders reject.

    `decode.values` replaces the mark once the record it belongs to is known.
    """
    # The search for a backslash is twenty times as fast as the pattern, and many pages have none.
    if b"\\" not in body or _SURROGATE.search(body) is None:
        return body
    return _ESCAPES.sub(_mark_if_lone, body)


def _mark_if_lone(match: re.Match[bytes]) -> bytes:
    is_lone = len(match[0]) == len(_LONE_SURROGATE_MARK)
    return _LONE_SURROGATE_MARK if is_lone else match[0]


_MOST_REASONS = 5
"""Reasons of a refused request that are told."""


class _ErrorBody(msgspec.Struct):
    """`{"error": {"code", "message", "reasons"}}`; gateways and validation differ."""

    error: Any = None
    validationErrors: Any = None  # noqa: N815  # Protime's spelling


def _parse_error(body: bytes) -> tuple[str, str, tuple[str, ...]]:
    """Returns code, message and reasons of an error body; empty where the body has none."""
    try:
        parsed = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.MsgspecError, RecursionError):
        return "", "", ()
    error = parsed.error if isinstance(parsed.error, dict) else {}
    reasons = error.get("reasons") or parsed.validationErrors or []
    listed = reasons if isinstance(reasons, list) else [reasons]
    listed = listed[:_MOST_REASONS]
    message, *rest = (_one_line(part) for part in (error.get("message") or "", *listed))
    return _one_line(error.get("code") or ""), message, tuple(filter(None, rest))


def _one_line(value: object) -> str:
    return quoted(_text(value)).rstrip(".")


def _text(value: object) -> str:
    """Returns a reason as text; the shape of a validation error is not documented."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
