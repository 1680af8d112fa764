"""One answer over HTTP: its body, read up to a limit, and Protime's errors as ours."""

from __future__ import annotations

import email.utils
import http
import io
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa
from urllib3 import BaseHTTPResponse

from protime_source.api.redaction import redact
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    ResponseError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)

MAX_BODY = 256 * 2**20
"""Bytes, unpacked, that are read of one answer: room for 100,000 records with comments of 2,000
characters, and little enough that a small machine survives an answer without end."""

_PIECE = 2**20
"""Bytes read at once."""

_PACKED_PIECE = 64 * 2**10
"""The same when they are packed. Older urllib3 unpack all of a piece: a thousandfold, 64 MiB."""

_ERRORS: dict[int, type[ResponseError]] = {
    400: BadRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ExpiredError,
    410: ExpiredError,
}
_ADVICE: dict[int, str] = {
    401: "Ask Protime whether this client may read it: a missing scope is answered so, too.",
    403: "Ask Protime to add the scope to the client, or whether the tenant has the feature:"
    " assignments are not available with Planning Flex or Shift.",
}


@dataclass(frozen=True)
class Answer:
    """An answer, read to its end.

    Attributes:
        status: The HTTP status.
        headers: Its headers, to be asked for in any letter case.
        content: The body, unpacked.
        requests: How many requests it took: two when the first was answered with a 401.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    requests: int = 1

    @property
    def ok(self) -> bool:
        """Whether it is no error."""
        return self.status < http.HTTPStatus.BAD_REQUEST

    def check_text(self) -> None:
        """Raises `pyarrow.ArrowInvalid` when the body is not UTF-8.

        Arrow makes no text of it as `bytes.decode` does: a tenth of the time, and no second copy.
        """
        ends = pa.py_buffer(struct.pack("ii", 0, len(self.content)))
        pa.StringArray.from_buffers(1, ends, pa.py_buffer(self.content)).validate(full=True)


class RateLimitedError(UnavailableError):
    """429: the request was not taken."""


def read(response: BaseHTTPResponse, url: str) -> Answer:
    """Reads a response.

    Args:
        response: What came, unread.
        url: Where from.

    Raises:
        TooLargeError: When the body is larger than `MAX_BODY`; the rest is not read.
        urllib3.exceptions.HTTPError: When the body breaks off or cannot be unpacked.
    """
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and float(announced) > MAX_BODY:
        raise _too_large(response, url)
    return Answer(response.status, response.headers, _body(response, url))


def raise_if_passing(answer: Answer, url: str) -> None:
    """Raises what is worth waiting for: 429 and 5xx (documentation: reference/responses).

    Args:
        answer: What came.
        url: Where from.

    Raises:
        UnavailableError: When it will pass; `RateLimitedError` when it was not even taken.
    """
    limited = answer.status == http.HTTPStatus.TOO_MANY_REQUESTS
    if not limited and answer.status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return
    kind = RateLimitedError if limited else UnavailableError
    raise kind(
        f"{place(url)} answered {status_line(answer.status)}, also after waiting and asking again.",
        _retry_after(answer.headers.get("Retry-After", "")),
    )


def response_error(answer: Answer, url: str) -> ResponseError:
    """What an error answer says, for people and for programs.

    Args:
        answer: What came.
        url: Where from.
    """
    status = answer.status
    code, text, reasons = _said(answer.content)
    said = "; ".join(part for part in (text or code, *reasons) if part) or "no reason given"
    advice = _ADVICE.get(status, "")
    message = f"{place(url)} answered {status_line(status)}: {said}. {advice}"
    kind = _ERRORS.get(status, ResponseError)
    return kind(message.strip(), status=status, code=code, reasons=reasons)


def place(url: str) -> str:
    """Where it happened, without the query."""
    return redact(url.partition("?")[0])


def status_line(status: int) -> str:
    """A status as people know it: `404 Not Found`."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


class _ErrorBody(msgspec.Struct):
    """`{"error": {"code", "message", "reasons"}}`; gateways and validation differ."""

    error: Any = None
    validationErrors: Any = None  # noqa: N815  # Protime's spelling


def _body(response: BaseHTTPResponse, url: str) -> bytes:
    """The body; no list of pieces, since tiny ones would cost far more than they hold.

    An error's traceback keeps what we name alive, but not what a closed buffer held.
    """
    size = _PACKED_PIECE if "Content-Encoding" in response.headers else _PIECE
    with io.BytesIO() as body:
        for piece in response.stream(size):
            if body.tell() + len(piece) > MAX_BODY:
                raise _too_large(response, url)
            body.write(piece)
        return body.getvalue()


def _too_large(response: BaseHTTPResponse, url: str) -> TooLargeError:
    return TooLargeError(
        f"{place(url)} answered {status_line(response.status)} with more than"
        f" {MAX_BODY // 2**20} MiB; the rest was not read. Nothing of Protime's is that large:"
        " check api_url and token_url, and ask Protime if they are right."
    )


def _said(body: bytes) -> tuple[str, str, tuple[str, ...]]:
    """Code, message and reasons of an error body, as far as it has them."""
    try:
        answer = msgspec.json.decode(body, type=_ErrorBody)
    except (msgspec.MsgspecError, RecursionError):
        return "", "", ()
    error = answer.error if isinstance(answer.error, dict) else {}
    reasons = error.get("reasons") or answer.validationErrors or []
    listed = reasons if isinstance(reasons, list) else [reasons]
    message, *rest = (_one_line(part) for part in (error.get("message") or "", *listed))
    return _text(error.get("code") or ""), message, tuple(filter(None, rest))


def _one_line(value: object) -> str:
    return " ".join(_text(value).split()).rstrip(".")


def _text(value: object) -> str:
    """A reason as text; the shape of a validation error is not documented."""
    return redact(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _retry_after(header: str) -> float | None:
    """Seconds to wait; the header may be a number of seconds or a date."""
    if header.strip().isdecimal():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment.timestamp() - time.time())
