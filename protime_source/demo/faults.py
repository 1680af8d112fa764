"""Faults that a test injects into the responses of the demo tenant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from protime_source.demo.messages import (
    API_ROOT,
    HttpError,
    LinkStyle,
    Request,
    Response,
    json_response,
    make_link,
)

_HTML_PAGE = b"<!doctype html><html><body><h1>Service unavailable</h1></body></html>"

FaultKind = Literal[
    "status",
    "drop",
    "cut",
    "truncated_json",
    "html",
    "expired_token",
    "redirect",
    "foreign_link",
    "loop",
    "chain",
    "endless",
]


@dataclass
class Fault:
    """A fault in the responses to the next matching requests.

    The tenant does no work for `drop` and for faults with content of their own (`status`, `html`,
    `expired_token`, `redirect`, `chain`, `endless`). `cut`, `truncated_json`, `foreign_link` and
    `loop` spoil the response after the work is done.

    Attributes:
        kind: The kind of fault:
            `status` returns `status`;
            `drop` closes the connection without a response;
            `cut` announces the whole body, sends half and closes (a response without a body, as to
            a write, is lost as a whole);
            `truncated_json` is a complete response whose JSON stops in the middle;
            `html` is a 200 with a web page;
            `expired_token` is a 401;
            `redirect` redirects to `location`, with `status` if that is a 3xx, else with 302;
            `foreign_link` prepends `location` to the link in the response;
            `loop` makes the nextLink the link just requested;
            `chain` is an empty page with a new nextLink each time;
            `endless` returns `status` with `size` spaces and without `Content-Length`.
        status: HTTP status for `status`, `redirect` and `endless`.
        retry_after: Value of the `Retry-After` header: seconds or an HTTP date.
        body: Body for `status`; None for the usual error body.
        content_type: Content type of that body.
        headers: Headers for `status` that are added to the usual ones or replace them.
        size: Bytes of the body of `endless`.
        location: Absolute URL for `redirect` and `foreign_link`.
        times: Number of requests to hit.
        where: Part of the path and query, as sent; "" matches any request to the API, but none for
            a token.
        after: Number of matching requests to let through first.
    """

    kind: FaultKind
    status: int = 500
    retry_after: int | str | None = None
    body: bytes | str | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    size: int = 2**30
    location: str = "http://elsewhere.invalid"
    times: int = 1
    where: str = ""
    after: int = 0
    _seen: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def matched_requests(self) -> int:
        """The number of matching requests so far."""
        return self._seen

    @property
    def spent(self) -> bool:
        """Whether the fault has hit all the requests it was to hit."""
        return self._seen >= self.after + self.times

    def hits(self, request: Request) -> bool:
        """Count this request if it matches, and return whether the fault hits it."""
        if self.spent or not self._matches(request):
            return False
        self._seen += 1
        return self._seen > self.after

    def _matches(self, request: Request) -> bool:
        return self.where in request.target if self.where else request.is_api


def next_fault(faults: list[Fault], request: Request) -> Fault | None:
    """The first fault that hits the request; spent faults are removed from the list."""
    hit = next((fault for fault in faults if fault.hits(request)), None)
    faults[:] = [fault for fault in faults if not fault.spent]
    return hit


def faulty_response(
    fault: Fault, request: Request, serve: Callable[[], Response], style: LinkStyle
) -> Response:
    """The faulty response; `serve` is called for the faults that spoil a good response."""
    early = _EARLY.get(fault.kind)
    return early(fault) if early else _LATE[fault.kind](fault, request, serve(), style)


def _status(fault: Fault) -> Response:
    response = HttpError(fault.status, "Something went wrong.").response()
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        response = Response(fault.status, body, {"Content-Type": fault.content_type})
    if fault.retry_after is not None:
        response.headers["Retry-After"] = str(fault.retry_after)
    response.headers.update(fault.headers)
    return response


def _drop(fault: Fault) -> Response:
    return Response(0)


def _html(fault: Fault) -> Response:
    return Response(200, _HTML_PAGE, {"Content-Type": "text/html; charset=utf-8"})


def _expired_token(fault: Fault) -> Response:
    return HttpError(401, "The access token is expired.").response()


def _redirect(fault: Fault) -> Response:
    status = fault.status if 300 <= fault.status < 400 else 302
    return Response(status, headers={"Location": fault.location})


def _chain(fault: Fault) -> Response:
    return json_response(
        200, {"value": [], "nextLink": f"{API_ROOT}/chain?page={fault.matched_requests}"}
    )


def _endless(fault: Fault) -> Response:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    return Response(fault.status, headers=headers, blank_bytes=fault.size)


def _cut(fault: Fault, request: Request, response: Response, style: LinkStyle) -> Response:
    response.cut = True
    return response


def _truncated_json(
    fault: Fault, request: Request, response: Response, style: LinkStyle
) -> Response:
    response.body = response.body[: len(response.body) // 2]
    return response


def _foreign_link(fault: Fault, request: Request, response: Response, style: LinkStyle) -> Response:
    host = f"http://{request.headers.get('Host', '')}"
    links = {
        name: fault.location.rstrip("/") + value.removeprefix(host)
        for name, value in _content(response).items()
        if name in ("nextLink", "deltaLink")
    }
    return _with_links(response, links)


def _loop(fault: Fault, request: Request, response: Response, style: LinkStyle) -> Response:
    return _with_links(
        response, {"nextLink": make_link(request, request.path, request.parameters, style)}
    )


def _with_links(response: Response, links: dict[str, str]) -> Response:
    return json_response(response.status, {"value": _content(response).get("value", []), **links})


def _content(response: Response) -> dict[str, Any]:
    content = json.loads(response.body or b"{}")
    return content if isinstance(content, dict) else {}


_EARLY: dict[str, Callable[[Fault], Response]] = {
    "status": _status,
    "drop": _drop,
    "html": _html,
    "expired_token": _expired_token,
    "redirect": _redirect,
    "chain": _chain,
    "endless": _endless,
}
_LATE: dict[str, Callable[[Fault, Request, Response, LinkStyle], Response]] = {
    "cut": _cut,
    "truncated_json": _truncated_json,
    "foreign_link": _foreign_link,
    "loop": _loop,
}
