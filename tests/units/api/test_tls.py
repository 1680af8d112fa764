"""Who may answer over HTTPS: nothing is sent to a host whose certificate is not trusted."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme

from protime_source import ProtocolError, SettingsError, UnavailableError
from protime_source.api.http import ApiSession
from protime_source.api.pages import iter_pages
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import DemoServer, DemoTenant, Fault
from tests.servers.proxy import Proxy, forget_proxies
from tests.units.api.conftest import Connect
from tests.world import World

PATH = ASSIGNMENTS.path
START = ASSIGNMENTS.delta_start(date(date.today().year - 1, 1, 1))
decode = msgspec.json.Decoder(dict[str, Any]).decode


@pytest.fixture
def authority() -> trustme.CA:
    """An authority that no machine knows."""
    return trustme.CA()


Https = Callable[[str], DemoServer]


@pytest.fixture
def https(authority: trustme.CA) -> Iterator[Https]:
    """Starts tenants over HTTPS, with a certificate of that authority for a host."""
    with ExitStack() as servers:

        def start(host: str) -> DemoServer:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(host).configure_cert(tls)
            return servers.enter_context(DemoServer(DemoTenant(rows=20, page_size=5), tls=tls))

        yield start


@pytest.fixture
def trust(
    authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[], None]:
    """Makes the authority known as one makes it known to requests."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)

    def known() -> None:
        authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))

    return known


def check_untrusted(session: ApiSession) -> None:
    with pytest.raises(UnavailableError, match="certificate that is not trusted") as caught:
        session.get(f"{PATH}/1?deltaToken=a-token", decode)
    assert len(str(caught.value).splitlines()) == 1
    assert "REQUESTS_CA_BUNDLE" in str(caught.value)
    assert "a-token" not in str(caught.value)


def test_an_unknown_authority_is_refused_before_the_secret_is_sent(
    https: Https, connect: Connect, trust: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "urllib3.connectionpool")
    server = https("127.0.0.1")
    check_untrusted(connect(server))
    assert server.tenant.requests == []
    assert caplog.text.count("Starting new HTTPS connection") == 1


def test_an_unknown_authority_is_refused_before_the_token_is_sent(
    world: World, https: Https, connect: Connect, trust: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "urllib3.connectionpool")
    server = https("127.0.0.1")
    check_untrusted(connect(server, token_url=world.server.token_url))
    assert [request.path for request in world.tenant.requests] == [world.tenant.token_path]
    assert server.tenant.requests == []
    assert caplog.text.count("Starting new HTTPS connection") == 1


def test_a_certificate_for_another_host_is_refused(
    https: Https, connect: Connect, trust: Callable[[], None]
) -> None:
    trust()
    server = https("acme.myprotime.eu")
    check_untrusted(connect(server))
    assert server.tenant.requests == []


def test_an_authority_that_was_made_known_is_trusted(
    https: Https, connect: Connect, trust: Callable[[], None]
) -> None:
    trust()
    session = connect(https("127.0.0.1"))
    *_, last = iter_pages(session, ASSIGNMENTS, START)
    assert last.delta_link


def test_a_proxy_sees_no_more_than_where_https_goes(
    https: Https,
    connect: Connect,
    trust: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget_proxies(monkeypatch)
    trust()
    server = https("127.0.0.1")
    with Proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        *_, last = iter_pages(connect(server), ASSIGNMENTS, START)
    assert last.delta_link
    assert set(proxy.asked) == {("CONNECT", server.api_url.removeprefix("https://"))}


def test_an_authority_whose_file_is_missing_is_a_wrong_setting(
    https: Https, connect: Connect, trust: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/authority.pem")
    server = https("127.0.0.1")
    with pytest.raises(SettingsError, match=r"/nowhere/authority\.pem.*check REQUESTS_CA_BUNDLE"):
        connect(server).get(f"{PATH}/1", decode)
    assert server.tenant.requests == []


@pytest.mark.parametrize("kind", ["redirect", "foreign_link"])
def test_nothing_leads_from_https_to_http(
    https: Https, connect: Connect, trust: Callable[[], None], elsewhere: DemoServer, kind: Any
) -> None:
    trust()
    server = https("127.0.0.1")
    server.tenant.faults.append(Fault(kind, location=elsewhere.api_url, times=99))
    with pytest.raises(ProtocolError):
        list(iter_pages(connect(server), ASSIGNMENTS, START))
    assert elsewhere.tenant.requests == []
