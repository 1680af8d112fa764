"""The token: one for all, renewed in time, renewed once when refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from protime_source import (
    AuthenticationError,
    Settings,
    UnauthorizedError,
    UnavailableError,
)
from protime_source.api import auth as auth_module
from protime_source.api.http import ApiSession, HttpClient
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour, DemoTenant, Fault
from protime_source.demo.messages import Request
from tests.conftest import WorldFactory
from tests.world import World, claims

READ, WRITE = ASSIGNMENTS.read_scope, ASSIGNMENTS.write_scope
TOKENS = "/connect/token"
decode = msgspec.json.Decoder(dict[str, Any]).decode

Connect = Callable[..., ApiSession]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens transports to a world, and closes them."""
    opened: list[HttpClient] = []

    def open_(world: World, *scopes: str, **settings: Any) -> ApiSession:
        own = Settings.from_config(**{**world.server.settings(), **settings})
        opened.append(HttpClient(own))
        return opened[-1].session(scopes or (READ,))

    yield open_
    for http in opened:
        http.close()


def ask(world: World, session: ApiSession) -> dict[str, Any]:
    id_ = next(iter(world.tenant.records))
    return session.get(f"{ASSIGNMENTS.path}/{id_}", decode)


def fetched(world: World) -> list[int]:
    """The statuses of the answers of the token endpoint."""
    return [each.status for each in world.tenant.requests if each.path == world.tenant.token_path]


def answered(world: World) -> list[int]:
    return [request.status for request in world.tenant.api_requests]


def headers(world: World) -> list[str]:
    return [request.headers["Authorization"] for request in world.tenant.api_requests]


@pytest.mark.parametrize("scopes", [(READ,), (READ, WRITE)])
def test_it_asks_for_just_the_scopes_it_is_given(
    world: World, connect: Connect, scopes: tuple[str, ...]
) -> None:
    ask(world, connect(world, *scopes))
    assert claims(headers(world)[0])["scope"] == list(scopes)


def test_one_token_serves_many_requests(world: World, connect: Connect) -> None:
    session = connect(world)
    for _ in range(5):
        ask(world, session)
    assert fetched(world) == [200]
    assert len(set(headers(world))) == 1


@dataclass
class Time:
    """Our clock and the tenant's, moved together."""

    tenant: DemoTenant
    seconds: float = 5000.0

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds
        self.tenant.clock.advance(seconds=seconds)

    def stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = SimpleNamespace(monotonic=lambda: self.seconds)
        monkeypatch.setattr(auth_module, "time", clock)


@pytest.mark.parametrize(
    ("lifetime", "fresh_until"), [(1800, 1740), (3600, 3540), (120, 60), (100, 50), (10, 5)]
)
def test_a_token_is_renewed_before_it_ends(
    make_world: WorldFactory,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    lifetime: int,
    fresh_until: int,
) -> None:
    world = make_world(behaviour=Behaviour(token_lifetime=lifetime))
    time = Time(world.tenant)
    time.stop(monkeypatch)
    session = connect(world)
    ask(world, session)
    time.pass_(fresh_until - 1)
    ask(world, session)
    assert fetched(world) == [200]
    time.pass_(1)
    ask(world, session)
    assert fetched(world) == [200, 200]
    assert answered(world) == [200, 200, 200]


def test_a_401_renews_the_token_and_sends_once_more(world: World, connect: Connect) -> None:
    session = connect(world)
    ask(world, session)
    world.tenant.revoke_tokens()
    assert ask(world, session)["id"]
    assert fetched(world) == [200, 200]
    assert answered(world) == [200, 401, 200]
    assert session.request_count == 3


def test_a_write_is_sent_once_more_after_a_401(world: World, connect: Connect) -> None:
    before = len(world.tenant.records)
    world.tenant.faults.append(Fault("expired_token"))
    session = connect(world, READ, WRITE)
    session.send("POST", ASSIGNMENTS.path, {"person": {"id": 1}, "from": "2026-01-05"})
    assert answered(world) == [401, 201]
    assert len(world.tenant.records) == before + 1


@pytest.mark.parametrize("times", [2, 99])
def test_a_second_401_is_the_end(world: World, connect: Connect, times: int) -> None:
    world.tenant.faults.append(Fault("expired_token", times=times))
    with pytest.raises(UnauthorizedError) as caught:
        ask(world, connect(world))
    assert answered(world) == [401, 401]
    assert fetched(world) == [200, 200]
    assert caught.value.status == 401
    assert "The access token is expired" in str(caught.value)


def in_threads(world: World, session: ApiSession, requests: int = 3) -> None:
    barrier = Barrier(8)

    def work(_: int) -> None:
        barrier.wait()
        for _ in range(requests):
            ask(world, session)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))


def test_eight_threads_fetch_one_token(world: World, connect: Connect) -> None:
    in_threads(world, connect(world))
    assert fetched(world) == [200]
    assert set(answered(world)) == {200}


@pytest.mark.parametrize("round_", range(3))
def test_eight_threads_renew_a_revoked_token_once(
    world: World, connect: Connect, round_: int
) -> None:
    session = connect(world)
    ask(world, session)
    world.tenant.revoke_tokens()
    in_threads(world, session)
    assert fetched(world) == [200, 200]


class Meanwhile(Fault):
    """A fault during which something else happens."""

    def meanwhile(self, action: Callable[[], object]) -> Meanwhile:
        self._action = action
        return self

    def hits(self, request: Request) -> bool:
        if hit := super().hits(request):
            self._action()
        return hit


def test_a_retry_carries_a_new_token_when_the_old_one_is_due(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time(world.tenant)
    time.stop(monkeypatch)
    fault = Meanwhile("status", status=429, retry_after=0)
    world.tenant.faults.append(fault.meanwhile(lambda: time.pass_(1800)))
    ask(world, connect(world))
    assert answered(world) == [429, 200]
    assert len(set(headers(world))) == 2


def test_a_retry_survives_that_the_token_was_revoked_meanwhile(
    world: World, connect: Connect
) -> None:
    fault = Meanwhile("status", status=429, retry_after=0)
    world.tenant.faults.append(fault.meanwhile(world.tenant.revoke_tokens))
    ask(world, connect(world))
    assert answered(world) == [429, 401, 200]
    assert fetched(world) == [200, 200]


def test_refused_credentials_are_an_error_that_says_where_to_look(
    world: World, connect: Connect
) -> None:
    with pytest.raises(AuthenticationError) as caught:
        ask(world, connect(world, client_secret="not-the-secret"))
    assert str(caught.value) == (
        "Protime refuses the credentials of tenant demo (invalid_client). Check client_id,"
        " client_secret, tenant and environment under [sources.protime]."
    )
    assert fetched(world) == [400]
    assert answered(world) == []


@pytest.mark.parametrize(
    ("unknown_scope", "scopes", "reason"),
    [("refuse", f"{READ} {WRITE}", "invalid_scope"), ("omit", WRITE, "not granted")],
)
def test_a_scope_that_is_not_given_is_named(
    make_world: WorldFactory, connect: Connect, unknown_scope: Any, scopes: str, reason: str
) -> None:
    world = make_world(behaviour=Behaviour(unknown_scope=unknown_scope, granted_scopes=(READ,)))
    with pytest.raises(AuthenticationError) as caught:
        ask(world, connect(world, READ, WRITE))
    assert str(caught.value) == (
        f"Protime does not give this client the scope {scopes} ({reason}). Ask Protime to add it"
        " to the client."
    )
    assert answered(world) == []


PASSING: list[dict[str, Any]] = [
    {"kind": "html"},
    {"kind": "drop"},
    {"kind": "truncated_json"},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503, "body": "<html>", "content_type": "text/html"},
    {"kind": "status", "status": 429, "retry_after": 0},
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_a_passing_trouble_of_the_token_endpoint_is_waited_out(
    world: World, connect: Connect, fault: dict[str, Any]
) -> None:
    world.tenant.faults.append(Fault(**fault, where=TOKENS, times=2))
    assert ask(world, connect(world))["id"]
    assert len(fetched(world)) == 3


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_lasting_trouble_of_the_token_endpoint_ends_after_five_attempts(
    world: World, connect: Connect, fault: dict[str, Any]
) -> None:
    world.tenant.faults.append(Fault(**fault, where=TOKENS, times=999))
    with pytest.raises(UnavailableError):
        ask(world, connect(world))
    assert len(fetched(world)) == 5
    assert answered(world) == []


def test_a_token_endpoint_that_nobody_serves_is_named(world: World, connect: Connect) -> None:
    session = connect(world, token_url="http://127.0.0.1:1/tenants/demo/connect/token")
    with pytest.raises(UnavailableError, match=r"http://127\.0\.0\.1:1/tenants/demo/connect/token"):
        ask(world, session)
    assert answered(world) == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, "{}"),
        (200, '{"access_token": null}'),
        (200, '{"access_token": ""}'),
        (200, '{"error": "invalid_client"}'),
        (200, '["a-token"]'),
        (401, "<html>no</html>"),
        (403, '{"error": {"code": "Forbidden", "message": "Not you."}}'),
    ],
)
def test_an_answer_without_a_token_is_a_refusal(
    world: World, connect: Connect, status: int, body: str
) -> None:
    world.tenant.faults.append(Fault("status", status=status, body=body, where=TOKENS, times=99))
    with pytest.raises(AuthenticationError, match=r"^Protime refuses the credentials of tenant"):
        ask(world, connect(world))
    assert len(fetched(world)) == 1
    assert answered(world) == []


def test_a_tenant_that_is_not_there_is_named(world: World, connect: Connect) -> None:
    world.tenant.faults.append(Fault("status", status=404, where=TOKENS, times=99))
    with pytest.raises(AuthenticationError, match=r"404 Not Found.*tenant demo.*token_url"):
        ask(world, connect(world))


ODD_FIELDS = [
    *(
        f'"expires_in": {value}'
        for value in ("null", '"half an hour"', '"1800"', "1800.0", "-5", "0")
    ),
    *(f'"scope": {value}' for value in ("null", '""', "5", "[]")),
]


@pytest.mark.parametrize("field", ODD_FIELDS)
def test_an_odd_lifetime_or_scope_is_no_reason_to_fail(
    world: World, connect: Connect, field: str
) -> None:
    body = f'{{"access_token": "strange", {field}}}'
    world.tenant.faults.append(Fault("status", status=200, body=body, where=TOKENS))
    assert ask(world, connect(world))["id"]
    assert headers(world)[0] == "Bearer strange"


def test_what_the_token_endpoint_says_becomes_one_line(world: World, connect: Connect) -> None:
    body = json.dumps({"error": "x", "error_description": "Not\n now;\tclient_secret=abc-def"})
    world.tenant.faults.append(Fault("status", status=400, body=body, where=TOKENS))
    with pytest.raises(AuthenticationError) as caught:
        ask(world, connect(world))
    assert "(Not now; client_secret=***)" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
