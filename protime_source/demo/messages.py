"""The HTTP messages of the demo tenant: requests, responses, links and opaque tokens."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qsl, quote

API_ROOT = "/connector/protimeapi/api/v1"
LinkStyle = Literal["plain", "encoded", "absolute"]

_STATUSES = frozenset(HTTPStatus)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
# Base64 of this text contains "+" and "/" at any offset: characters that a link must survive.
_CHECK_TEXT = "~~~???"


@dataclass(frozen=True)
class Request:
    """A request as received; header names in Title-Case, path and query as sent."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def target(self) -> str:
        """Path and query as sent, still percent-encoded."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def is_api(self) -> bool:
        """Whether the request is for the API, not for the token endpoint."""
        return self.path.startswith(API_ROOT)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The decoded query parameters; `+` is a space, a bare key has the value ""."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True)
class RecordedRequest:
    """A request that the tenant has responded to, for tests to inspect.

    Attributes:
        method: HTTP method.
        path: Path as sent.
        query: Query as sent, still percent-encoded, without `?`.
        headers: Headers, names in Title-Case.
        status: Status of the response; 0 when the connection was dropped.
        at: Time of the request by the tenant's clock.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int
    at: datetime


@dataclass
class Response:
    """A response to send.

    Attributes:
        status: HTTP status; 0 closes the connection without a response.
        body: The body that `Content-Length` announces.
        headers: Headers; `Content-Length` is added unless given, which a test may do to send a
            wrong one.
        cut: Whether to close the connection after half the body. Of a response without a body,
            nothing is sent.
        blank_bytes: Number of spaces to send instead of the body, without `Content-Length`.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    blank_bytes: int = 0


class HttpError(Exception):
    """An error that the API reports."""

    def __init__(self, status: int, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.reasons = status, message, reasons

    def response(self) -> Response:
        """The documented error body (page `reference/responses/`)."""
        error: dict[str, Any] = {"code": reason_phrase(self.status).replace(" ", "")}
        error["message"] = self.message
        if self.reasons:
            error["reasons"] = list(self.reasons)
        return json_response(self.status, {"error": error})


def json_response(status: int, content: Any) -> Response:
    """A response with `content` as its JSON body."""
    return Response(
        status, encode_json(content), {"Content-Type": "application/json; charset=utf-8"}
    )


def encode_json(content: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _ENCODER.encode(content).encode()


def reason_phrase(status: int) -> str:
    """The reason phrase of an HTTP status; "Unknown" for a status that does not exist."""
    return HTTPStatus(status).phrase if status in _STATUSES else "Unknown"


def make_link(request: Request, path: str, parameters: Mapping[str, str], style: LinkStyle) -> str:
    """A nextLink or deltaLink in the given style.

    As documented (page `how-to/fetch-resources/`), a plain link has no host and its values are not
    encoded: it contains spaces and quotes.
    """
    pairs = []
    for name, value in parameters.items():
        text = value if style == "plain" else quote(value, safe="")
        pairs.append(f"{name}={text}" if value else name)
    host = f"http://{request.headers.get('Host', '')}" if style == "absolute" else ""
    return f"{host}{path}?{'&'.join(pairs)}"


def pack_token(content: dict[str, Any]) -> str:
    """An opaque token: Base64 of JSON, as the delta token is (page `reference/delta/`).

    Each token contains `+`, `/` and `=`.
    """
    text = json.dumps({**content, "Check": _CHECK_TEXT}, separators=(",", ":"))
    return base64.b64encode((text if len(text) % 3 else text + " ").encode()).decode()


def unpack_token(token: str) -> dict[str, Any]:
    """The content of an opaque token.

    Raises:
        ValueError: The tenant did not issue the token, or it was changed on the way.
    """
    content = json.loads(base64.b64decode(token, validate=True))
    if not isinstance(content, dict) or content.pop("Check", None) != _CHECK_TEXT:
        raise ValueError("not a token of this tenant")
    return content
