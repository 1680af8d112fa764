"""Proxies, by the environment as everywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from protime_source import UnavailableError
from protime_source.api.http import HttpClient
from protime_source.catalogue import ASSIGNMENTS
from protime_source.settings import Settings
from tests.servers.proxy import Proxy, forget_proxies
from tests.world import World

DEAD = "http://somebody:password@127.0.0.1:9"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that the environment names, with a password."""
    forget_proxies(monkeypatch)
    with Proxy() as server:
        monkeypatch.setenv("HTTP_PROXY", server.url("somebody:password@"))
        yield server


def test_all_of_a_run_goes_through_a_proxy(world: World, proxy: Proxy) -> None:
    world.run()
    world.check()
    asked = [(each.method, each.path) for each in world.tenant.requests]
    origin = world.server.api_url
    assert [(method, url.partition("?")[0]) for method, url in proxy.asked] == [
        (method, origin + path) for method, path in asked
    ]
    expected = "Basic " + base64.b64encode(b"somebody:password").decode()
    assert set(proxy.credentials) == {expected}


def test_hosts_that_need_no_proxy_are_asked_themselves(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    world.run()
    world.check()
    assert proxy.asked == []


def test_a_closed_client_opens_new_connections(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "urllib3.connectionpool")
    settings = Settings.from_config(**world.server.settings())
    http = HttpClient(settings)
    session = http.session([ASSIGNMENTS.read_scope])
    record = f"{ASSIGNMENTS.path}/{next(iter(world.tenant.records))}"
    for times in (1, 2):
        session.get(record, bytes)
        http.close()
        assert caplog.text.count("Starting new HTTP connection") == times


@pytest.mark.parametrize(
    ("address", "reason"), [(DEAD, "Connection refused"), ("http://", "check proxy URL")]
)
def test_a_missing_proxy_is_named_without_its_password(
    world: World, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, address: str, reason: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")
    settings = Settings.from_config(**world.server.settings())
    with (
        HttpClient(settings) as http,
        pytest.raises(UnavailableError, match=f"cannot be reached.*{reason}") as caught,
    ):
        http.session([ASSIGNMENTS.read_scope]).get(ASSIGNMENTS.path, bytes)
    assert "password" not in str(caught.value)
    assert world.tenant.requests == []
