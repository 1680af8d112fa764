"""Which requests are repeated and which are not, and the error when all attempts failed."""

from __future__ import annotations

import email.utils
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from protime_source import (
    ApiError,
    BadRequestError,
    ExpiredError,
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    ResponseError,
    Settings,
    UnavailableError,
)
from protime_source.api.http import ApiSession, HttpClient, RateLimiter
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Fault
from tests.world import World

PATH = ASSIGNMENTS.path
decode = msgspec.json.Decoder(dict[str, Any]).decode
NEW = {"person": {"id": 7}, "from": "2026-01-05"}
PAST = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Records the seconds to wait, and does not wait."""
    waited: list[float] = []
    monkeypatch.setattr(RateLimiter, "wait", lambda _: None)
    clock = SimpleNamespace(sleep=waited.append, monotonic=time.monotonic)
    monkeypatch.setattr("protime_source.api.retry.time", clock)
    return waited


def first(world: World) -> str:
    return f"{PATH}/{next(iter(world.tenant.records))}"


def count_sent(world: World, method: str = "GET") -> int:
    return sum(request.method == method for request in world.tenant.api_requests)


TEMPORARY: dict[str, dict[str, Any]] = {
    "429": {"kind": "status", "status": 429},
    "429 with seconds": {"kind": "status", "status": 429, "retry_after": 0},
    "429 with a date": {"kind": "status", "status": 429, "retry_after": PAST},
    "500": {"kind": "status", "status": 500},
    "502 as a page": {
        "kind": "status",
        "status": 502,
        "body": "<html>",
        "content_type": "text/html",
    },
    "503": {"kind": "status", "status": 503, "retry_after": 0},
    "504": {"kind": "status", "status": 504, "body": ""},
    "drop": {"kind": "drop"},
    "cut": {"kind": "cut"},
    "truncated": {"kind": "truncated_json"},
    "html": {"kind": "html"},
    "empty": {"kind": "status", "status": 200, "body": ""},
    "not UTF-8": {"kind": "status", "status": 200, "body": b'{"id": 1, "comments": "\xff"}'},
}
PERMANENT: dict[int, type[ApiError]] = {
    302: ProtocolError,
    304: ProtocolError,
    400: BadRequestError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ExpiredError,
    410: ExpiredError,
    414: ResponseError,
    418: ResponseError,
    422: ResponseError,
}


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_temporary_failure_is_retried(world: World, session: ApiSession, name: str) -> None:
    world.tenant.faults.append(Fault(**TEMPORARY[name], times=2))
    assert session.get(first(world), decode)["id"]
    assert count_sent(world) == session.request_count == 3


@pytest.mark.parametrize("name", TEMPORARY)
def test_retries_end_after_five_attempts(world: World, session: ApiSession, name: str) -> None:
    world.tenant.faults.append(Fault(**TEMPORARY[name], times=99))
    with pytest.raises(UnavailableError):
        session.get(first(world), decode)
    assert count_sent(world) == 5


def test_the_number_of_attempts_is_a_setting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "2")
    world.tenant.faults.append(Fault("drop", times=99))
    with HttpClient(Settings.from_config()) as http, pytest.raises(UnavailableError):
        http.session([ASSIGNMENTS.read_scope]).get(first(world), decode)
    assert count_sent(world) == 2


@pytest.mark.parametrize("status", PERMANENT)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_a_permanent_failure_is_not_retried(
    world: World, session: ApiSession, status: int, method: str
) -> None:
    world.tenant.faults.append(Fault("status", status=status, times=99))
    with pytest.raises(PERMANENT[status]) as caught:
        _ = (
            session.get(first(world), decode)
            if method == "GET"
            else session.send(method, PATH, NEW)
        )
    assert type(caught.value) is PERMANENT[status]
    assert count_sent(world, method) == 1
    assert str(status) in str(caught.value)


def test_text_that_is_not_utf_8_is_retried_also_where_it_is_left_undecoded(
    world: World, session: ApiSession
) -> None:
    world.tenant.faults.append(Fault(**TEMPORARY["not UTF-8"]))
    undecoded = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    assert "id" in session.get(first(world), undecoded)
    assert count_sent(world) == 2


def test_a_redirect_is_not_followed(world: World, session: ApiSession) -> None:
    target = f"{world.server.api_url}{first(world)}?followed"
    world.tenant.faults.append(Fault("redirect", location=target))
    with pytest.raises(ProtocolError, match="redirect is not followed"):
        session.get(first(world), decode)
    assert count_sent(world) == 1


def test_json_of_another_shape_is_not_requested_again(world: World, session: ApiSession) -> None:
    world.tenant.faults.append(Fault("status", status=200, body='["no object"]', times=99))
    with pytest.raises(ProtocolError, match="not as documented"):
        session.get(first(world), decode)
    assert count_sent(world) == 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (7, 7, 7),
        ("0", 0, 0),
        (PAST, 0, 0),
        (86_400, 300, 300),
        ("soon", 0, 0.01),
        ("-5", 0, 0.01),
        ("1.5", 0, 0.01),
        (f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT", 0, 0.01),
        ("", 0, 0.01),
        (None, 0, 0.01),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_it_waits_as_long_as_protime_asks(
    world: World,
    session: ApiSession,
    waits: list[float],
    status: int,
    header: int | str | None,
    least: float,
    most: float,
) -> None:
    world.tenant.faults.append(Fault("status", status=status, retry_after=header))
    session.get(first(world), decode)
    assert len(waits) == 1
    assert least <= waits[0] <= most


def test_it_waits_until_a_date_in_the_future(
    world: World, session: ApiSession, waits: list[float]
) -> None:
    date = email.utils.formatdate(time.time() + 200, usegmt=True)
    world.tenant.faults.append(Fault("status", status=429, retry_after=date))
    session.get(first(world), decode)
    assert 0 < waits[0] <= 200


@pytest.mark.parametrize(("failures", "progress"), [(2, []), (3, ["for 6 seconds: retry 3 of 4"])])
def test_retries_are_logged_once_they_take_long(
    world: World,
    session: ApiSession,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    failures: int,
    progress: list[str],
) -> None:
    waited: list[float] = []
    clock = SimpleNamespace(sleep=waited.append, monotonic=lambda: sum(waited))
    monkeypatch.setattr("protime_source.api.retry.time", clock)
    caplog.set_level("INFO", "protime_source.progress")
    world.tenant.faults.append(Fault("status", status=503, retry_after=3, times=failures))
    session.get(first(world), decode)
    logged = [r.getMessage() for r in caplog.records if r.name == "protime_source.progress"]
    assert logged == [f"Protime has given no usable response {text}" for text in progress]


@pytest.mark.parametrize("name", ["500", "502 as a page", "503", "504", "drop", "cut", "html"])
def test_a_create_is_not_repeated(world: World, session: ApiSession, name: str) -> None:
    before = len(world.tenant.records)
    world.tenant.faults.append(Fault(**TEMPORARY[name], times=99))
    with pytest.raises(UnavailableError):
        session.send("POST", PATH, NEW)
    assert count_sent(world, "POST") == 1
    assert len(world.tenant.records) == before + (name == "cut")


@pytest.mark.parametrize("times", [1, 4, 5])
def test_a_create_that_was_rate_limited_is_repeated(
    world: World, session: ApiSession, times: int
) -> None:
    before = len(world.tenant.records)
    world.tenant.faults.append(Fault("status", status=429, retry_after=0, times=times))
    if times < 5:
        session.send("POST", PATH, NEW)
    else:
        with pytest.raises(UnavailableError):
            session.send("POST", PATH, NEW)
    assert count_sent(world, "POST") == min(times + 1, 5)
    assert len(world.tenant.records) == before + (times < 5)


@pytest.mark.parametrize("name", ["429", "500", "503", "drop", "cut", "html"])
def test_a_replacement_is_repeated(world: World, session: ApiSession, name: str) -> None:
    world.tenant.faults.append(Fault(**TEMPORARY[name]))
    session.send("PUT", first(world), {**NEW, "comments": "twice is once"})
    assert count_sent(world, "PUT") == 2
    assert next(iter(world.tenant.records.values()))["comments"] == "twice is once"


@pytest.mark.parametrize("times", [1, 4])
def test_a_delete_whose_response_was_lost_succeeds(
    world: World, session: ApiSession, times: int
) -> None:
    path = first(world)
    world.tenant.faults.append(Fault("cut", times=times))
    session.send("DELETE", path)
    statuses = [request.status for request in world.tenant.api_requests]
    assert statuses == [200] + [404] * times


def test_a_delete_that_failed_at_first_is_repeated(world: World, session: ApiSession) -> None:
    path, before = first(world), len(world.tenant.records)
    world.tenant.faults.append(Fault("status", status=503, retry_after=0))
    session.send("DELETE", path)
    assert len(world.tenant.records) == before - 1
    with pytest.raises(NotFoundError):
        session.send("DELETE", path)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_only_a_delete_succeeds_when_a_retry_finds_nothing(
    world: World, session: ApiSession, method: str
) -> None:
    world.tenant.faults.append(Fault("drop"))
    with pytest.raises(NotFoundError):
        _ = (
            session.get(f"{PATH}/1", decode)
            if method == "GET"
            else session.send(method, f"{PATH}/1", NEW)
        )
    assert count_sent(world, method) == 2


@pytest.mark.parametrize(
    ("body", "code", "reasons", "shown"),
    [
        (
            '{"error": {"code": "X", "message": "Bad.", "reasons": ["date is missing", "no or"]}}',
            "X",
            ("date is missing", "no or"),
            "Bad; date is missing; no or",
        ),
        ('{"error": {"code": "X", "message": "Bad."}}', "X", (), "Bad"),
        ('{"error": {"code": "X"}}', "X", (), "X"),
        (
            '{"validationErrors": [{"field": "from", "message": "is\\nrequired"}, "and more"]}',
            "",
            ('{"field":"from","message":"is\\nrequired"}', "and more"),
            '{"field":"from","message":"is\\nrequired"}; and more',
        ),
        (
            '{"validationErrors": {"from": ["is required"]}}',
            "",
            ('{"from":["is required"]}',),
            '{"from":["is required"]}',
        ),
        ('{"error": {"message": "Two\\n lines."}}', "", (), "Two lines"),
        ('{"error": {"code": null, "message": null}}', "", (), "no reason given"),
        ('{"error": {"code": 7, "message": 8, "reasons": "one"}}', "7", ("one",), "8; one"),
        ('{"error": "plain"}', "", (), "no reason given"),
        ('{"message": "elsewhere"}', "", (), "no reason given"),
        ("[1]", "", (), "no reason given"),
        ("<html>Bad request</html>", "", (), "no reason given"),
        ("", "", (), "no reason given"),
    ],
)
def test_an_error_shows_the_reasons_that_protime_gives(
    world: World,
    session: ApiSession,
    body: str,
    code: str,
    reasons: tuple[str, ...],
    shown: str,
) -> None:
    world.tenant.faults.append(Fault("status", status=400, body=body))
    with pytest.raises(BadRequestError) as caught:
        session.get(f"{PATH}?filter=nothing", decode)
    error = caught.value
    assert str(error) == f"{world.server.api_url}{PATH} answered 400 Bad Request: {shown}."
    assert (error.status, error.code, error.reasons) == (400, code, reasons)


def test_an_unknown_status_is_shown_as_it_is(world: World, session: ApiSession) -> None:
    world.tenant.faults.append(Fault("status", status=499))
    with pytest.raises(ResponseError, match=r"answered 499: Something went wrong\.$"):
        session.get(PATH, decode)


def test_a_403_names_the_features_that_protime_must_enable(
    world: World, session: ApiSession
) -> None:
    world.tenant.faults.append(Fault("status", status=403))
    with pytest.raises(ForbiddenError, match="Planning Flex or Shift"):
        session.get(PATH, decode)
