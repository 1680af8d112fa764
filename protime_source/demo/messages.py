"""What goes over the wire, without the wire: a call, its answer, and the refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

API_ROOT = "/connector/protimeapi/api/v1"
_STATUSES = frozenset(HTTPStatus)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Call:
    """A request as it came in; header names in Title-Case, path and query as sent."""

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
        """Whether it is for the API, not for the token endpoint."""
        return self.path.startswith(API_ROOT)

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The query's parameters, decoded; `+` is a blank, a bare key has the value ""."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True)
class Request:
    """A request that the tenant has answered, for tests to look at.

    Attributes:
        method: HTTP method.
        path: Path as sent.
        query: Query as sent, still percent-encoded, without `?`.
        headers: Headers, names in Title-Case.
        status: Status of the answer; 0 when the connection was dropped.
        at: When, by the tenant's clock.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    status: int
    at: datetime


@dataclass
class Answer:
    """What goes back.

    Attributes:
        status: HTTP status; 0 closes the connection without an answer.
        body: The body that `Content-Length` announces.
        headers: Headers; `Content-Length` is added unless it is there, as a lie.
        blanks: Bytes of blanks in place of the body, which ends with the connection.
        cut: Whether only half the body is sent before the connection closes; of an answer
            without a body nothing is sent at all.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    blanks: int = 0


class ApiError(Exception):
    """An error answer of the API."""

    def __init__(self, status: int, message: str, reasons: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.reasons = status, message, reasons

    def answer(self) -> Answer:
        """The documented error body (page `reference/responses/`)."""
        error: dict[str, Any] = {"code": phrase(self.status).replace(" ", "")}
        error["message"] = self.message
        if self.reasons:
            error["reasons"] = list(self.reasons)
        return json_answer(self.status, {"error": error})


def json_answer(status: int, content: Any) -> Answer:
    """An answer with `content` as its JSON body."""
    return Answer(status, encode(content), {"Content-Type": "application/json; charset=utf-8"})


def encode(content: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _ENCODER.encode(content).encode()


def phrase(status: int) -> str:
    """The reason phrase of an HTTP status, also of one that does not exist."""
    return HTTPStatus(status).phrase if status in _STATUSES else "Unknown"
