"""Answers that go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from protime_source.demo.behaviour import Behaviour, Fault
from protime_source.demo.links import link
from protime_source.demo.messages import API_ROOT, Answer, ApiError, Call, json_answer

_PAGE = b"<!doctype html><html><body><h1>Service unavailable</h1></body></html>"


def due(faults: list[Fault], call: Call) -> Fault | None:
    """The first fault that hits the call; those that are spent leave the list."""
    hit = next((fault for fault in faults if fault.hits(call)), None)
    faults[:] = [fault for fault in faults if not fault.spent]
    return hit


def spoil(fault: Fault, call: Call, serve: Callable[[], Answer], how: Behaviour) -> Answer:
    """The faulty answer; `serve` does the work for those that need it done."""
    early = _EARLY.get(fault.kind)
    return early(fault) if early else _LATE[fault.kind](fault, call, serve(), how)


def _status(fault: Fault) -> Answer:
    answer = ApiError(fault.status, "Something went wrong.").answer()
    if fault.body is not None:
        body = fault.body.encode() if isinstance(fault.body, str) else fault.body
        answer = Answer(fault.status, body, {"Content-Type": fault.content_type})
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = str(fault.retry_after)
    answer.headers.update(fault.headers)
    return answer


def _drop(fault: Fault) -> Answer:
    return Answer(0)


def _html(fault: Fault) -> Answer:
    return Answer(200, _PAGE, {"Content-Type": "text/html; charset=utf-8"})


def _expired_token(fault: Fault) -> Answer:
    return ApiError(401, "The access token is expired.").answer()


def _redirect(fault: Fault) -> Answer:
    status = fault.status if 300 <= fault.status < 400 else 302
    return Answer(status, headers={"Location": fault.location})


def _chain(fault: Fault) -> Answer:
    return json_answer(200, {"value": [], "nextLink": f"{API_ROOT}/chain?page={fault.number}"})


def _endless(fault: Fault) -> Answer:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    return Answer(fault.status, headers=headers, blanks=fault.size)


def _cut(fault: Fault, call: Call, answer: Answer, how: Behaviour) -> Answer:
    answer.cut = True
    return answer


def _truncated_json(fault: Fault, call: Call, answer: Answer, how: Behaviour) -> Answer:
    answer.body = answer.body[: len(answer.body) // 2]
    return answer


def _foreign_link(fault: Fault, call: Call, answer: Answer, how: Behaviour) -> Answer:
    host = f"http://{call.headers.get('Host', '')}"
    links = {
        name: fault.location.rstrip("/") + value.removeprefix(host)
        for name, value in _content(answer).items()
        if name in ("nextLink", "deltaLink")
    }
    return _with_links(answer, links)


def _loop(fault: Fault, call: Call, answer: Answer, how: Behaviour) -> Answer:
    return _with_links(answer, {"nextLink": link(call, call.path, call.parameters, how)})


def _with_links(answer: Answer, links: dict[str, str]) -> Answer:
    return json_answer(answer.status, {"value": _content(answer).get("value", []), **links})


def _content(answer: Answer) -> dict[str, Any]:
    content = json.loads(answer.body or b"{}")
    return content if isinstance(content, dict) else {}


_EARLY: dict[str, Callable[[Fault], Answer]] = {
    "status": _status,
    "drop": _drop,
    "html": _html,
    "expired_token": _expired_token,
    "redirect": _redirect,
    "chain": _chain,
    "endless": _endless,
}
_LATE: dict[str, Callable[[Fault, Call, Answer, Behaviour], Answer]] = {
    "cut": _cut,
    "truncated_json": _truncated_json,
    "foreign_link": _foreign_link,
    "loop": _loop,
}
