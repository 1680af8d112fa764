"""What a hostile or broken answer, or somebody in between, can bring about: a clear error."""

from __future__ import annotations

import gzip
import json
import ssl
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
import trustme

from protime_source import (
    ApiError,
    AuthenticationError,
    NotFoundError,
    ProtocolError,
    Settings,
    SettingsError,
    UnavailableError,
)
from protime_source.api import pages as pages_module
from protime_source.api.http import MAX_BODY_BYTES, ApiSession, HttpClient
from protime_source.api.pages import MAX_EMPTY_PAGES, Page, iter_pages
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import DemoServer, DemoTenant, Fault
from tests.conftest import WorldFactory
from tests.servers.proxy import Proxy, forget_proxies
from tests.world import World

PATH = ASSIGNMENTS.path
TOKENS = "/connect/token"
START = ASSIGNMENTS.delta_start(date(date.today().year - 1, 1, 1))
MIB = 2**20
decode = msgspec.json.Decoder(dict[str, Any]).decode

Connect = Callable[..., ApiSession]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens sessions that may read and write, and closes their clients."""
    with ExitStack() as opened:

        def open_(server: DemoServer, **settings: Any) -> ApiSession:
            own = Settings.from_config(**{**server.settings(), **settings})
            http = opened.enter_context(HttpClient(own))
            return http.session([ASSIGNMENTS.read_scope, ASSIGNMENTS.write_scope])

        yield open_


@pytest.fixture
def session(world: World, connect: Connect) -> ApiSession:
    """A session to the tenant."""
    return connect(world.server)


@pytest.fixture
def elsewhere() -> Iterator[DemoServer]:
    """Another host, which must never hear of us."""
    with DemoServer(DemoTenant(rows=1)) as server:
        yield server


def first(world: World) -> str:
    return f"{PATH}/{next(iter(world.tenant.records))}"


# How much is read


def bomb(size: int) -> bytes:
    """Blanks that unpack to this many bytes, a multiple of a MiB."""
    return gzip.compress(b" " * MIB) * (size // MIB)


def large(where: str = "") -> dict[str, Fault]:
    """Answers of 1 GiB, or that claim to be large."""

    def good(body: bytes = b"", **headers: str) -> Fault:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Fault("status", status=200, body=body, where=where, headers=named)

    once = bomb(2**30)
    return {
        "endless": Fault("endless", status=200, where=where),
        "endless error": Fault("endless", status=500, where=where),
        "endless refusal": Fault("endless", status=400, where=where),
        "gzip bomb": good(once, Content_Encoding="gzip"),
        "gzip of a gzip bomb": good(gzip.compress(once), Content_Encoding="gzip, gzip"),
        "announced": good(Content_Length=str(MAX_BODY_BYTES + 1)),
        "announced beyond all numbers": good(Content_Length="9" * 400),
    }


@pytest.mark.parametrize("name", large())
@pytest.mark.parametrize("where", [PATH, TOKENS])
def test_an_answer_that_is_too_large_is_refused_and_not_asked_for_again(
    world: World, session: ApiSession, name: str, where: str
) -> None:
    fault = large(where)[name]
    fault.times = 99
    world.tenant.faults.append(fault)
    with pytest.raises(ProtocolError, match=r"with more than 256 MiB; the rest was not read") as e:
        session.get(first(world), decode)
    assert len(str(e.value).splitlines()) == 1
    assert where in str(e.value)
    assert sum(where in request.path for request in world.tenant.requests) == 1


def test_after_an_answer_that_was_too_large_the_next_one_is_read(
    world: World, session: ApiSession
) -> None:
    world.tenant.faults.append(large()["endless"])
    with pytest.raises(ProtocolError):
        session.get(first(world), decode)
    assert session.get(first(world), decode)["id"]


GREEDY = """
import resource, sys
from protime_source import ProtocolError, Settings
from protime_source.api.http import HttpClient

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

http = HttpClient(Settings.from_config())
session = http.session([sys.argv[1]])
session.get(sys.argv[2], len)
before = peak()
for _ in range(int(sys.argv[3])):
    try:
        session.get(sys.argv[2], len)
    except ProtocolError as error:
        assert "256 MiB" in str(error)
    else:
        raise AssertionError("it was read")
http.close()
print(peak() - before)
"""


def test_memory_is_bounded_by_the_largest_body(world: World) -> None:
    faults = list(large().values())
    for fault in faults:
        fault.after = 1
    world.tenant.faults += faults
    arguments = [ASSIGNMENTS.read_scope, first(world), str(len(faults))]
    ran = subprocess.run(
        [sys.executable, "-c", GREEDY, *arguments], capture_output=True, text=True, check=True
    )
    assert world.tenant.faults == []
    # Twice, since a buffer that grows may be copied; the bodies are larger than that together.
    assert int(ran.stdout) < 2 * MAX_BODY_BYTES


def test_a_body_below_the_limit_is_read_and_held_once(world: World, session: ApiSession) -> None:
    session.get(first(world), decode)
    size = 200 * MIB
    world.tenant.faults.append(Fault("endless", status=200, size=size))
    tracemalloc.start()
    try:
        assert session.get(first(world), len) == size
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.3 * size


def test_a_packed_body_is_unpacked(world: World, session: ApiSession) -> None:
    body = gzip.compress(json.dumps({"id": 7, "comments": "x" * MIB}).encode())
    headers = {"Content-Encoding": "gzip"}
    world.tenant.faults.append(Fault("status", status=200, body=body, headers=headers))
    assert len(session.get(first(world), decode)["comments"]) == MIB


def test_one_connection_serves_the_token_and_all_pages(
    make_world: WorldFactory, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(page_size=10)
    caplog.set_level("DEBUG", "urllib3.connectionpool")
    *_, last = iter_pages(connect(world.server), ASSIGNMENTS, START)
    assert last.delta_link
    assert world.requests > 20
    assert caplog.text.count("Starting new HTTP connection") == 1


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("where", ["", TOKENS])
def test_json_without_a_floor_is_an_error_of_ours(
    world: World, session: ApiSession, text: str, status: int, where: str
) -> None:
    world.tenant.faults.append(Fault("status", status=status, body=text, where=where, times=99))
    with pytest.raises(ApiError) as caught:
        session.get(first(world), decode)
    assert len(str(caught.value)) < 300


# Who answers


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


# Where token and secret go


REDIRECTS = [301, 302, 303, 307, 308]


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_no_redirect_takes_the_token_along(
    world: World, session: ApiSession, elsewhere: DemoServer, status: int, method: str
) -> None:
    location = elsewhere.api_url + PATH
    world.tenant.faults.append(Fault("redirect", status=status, location=location, times=99))
    with pytest.raises(ProtocolError, match=f"answered {status} .* redirect is not followed"):
        _ = (
            session.get(PATH, decode)
            if method == "GET"
            else session.send(method, PATH, {"person": {"id": 1}})
        )
    assert world.requests == 1
    assert elsewhere.tenant.requests == []


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("host", ["another", "the same"])
def test_no_redirect_takes_the_secret_along(
    world: World, session: ApiSession, elsewhere: DemoServer, status: int, host: str
) -> None:
    url = elsewhere.token_url if host == "another" else f"{world.server.token_url}/again"
    fault = Fault("redirect", status=status, location=url, where=TOKENS, times=99)
    world.tenant.faults.append(fault)
    with pytest.raises(UnavailableError, match=f"token endpoint answered {status} "):
        session.get(PATH, decode)
    assert elsewhere.tenant.requests == []
    assert {request.path for request in world.tenant.requests} == {world.tenant.token_path}


TRICKS = [
    "http://{there}",
    "http://{here}@{there}",
    "http://user:{here}@{there}",
    "http://{here}\\@{there}",
    "http://{there}\\@{here}",
    "http://{there}#@{here}",
    "http://{there}?@{here}",
    "http:\\\\{there}",
    "http:/\\{there}",
    "//{there}",
    "/\\{there}",
    "\\\\{there}",
    "/\t/{there}",
    "\n//{there}",
    "///{there}",
    "https://{here}",
    "https://{there}",
]


def load_and_follow(session: ApiSession) -> None:
    *_, last = iter_pages(session, ASSIGNMENTS, START)
    for _ in range(2):
        (last,) = iter_pages(session, ASSIGNMENTS, last.delta_link or "")


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("after", [0, 5, 6], ids=["nextLink", "deltaLink", "its deltaLink"])
def test_no_link_takes_the_token_along(
    world: World, session: ApiSession, elsewhere: DemoServer, trick: str, after: int
) -> None:
    hosts = {"here": world.server.api_url[7:], "there": elsewhere.api_url[7:]}
    world.tenant.faults.append(Fault("foreign_link", location=trick.format(**hosts), after=after))
    with pytest.raises((ProtocolError, NotFoundError)):
        load_and_follow(session)
    assert world.tenant.faults == []
    assert elsewhere.tenant.requests == []
    requests.get(elsewhere.api_url, timeout=5)  # it would have been seen there
    assert len(elsewhere.tenant.requests) == 1


@pytest.mark.parametrize("token", ["a\nb: c", "a b", "a\u20acb", "a\x00b"])
def test_a_token_that_fits_no_header_is_refused_and_not_shown(
    world: World, session: ApiSession, token: str
) -> None:
    body = json.dumps({"access_token": token})
    world.tenant.faults.append(Fault("status", status=200, body=body, where=TOKENS))
    with pytest.raises(AuthenticationError) as caught:
        session.get(PATH, decode)
    assert token not in str(caught.value)
    assert world.requests == 0


# Pages without end


def page(value: str = "[]", **links: str) -> Fault:
    body = json.dumps({"value": "VALUE", **links}).replace('"VALUE"', value)
    return Fault("status", status=200, body=body)


def linked(*names: str) -> list[Fault]:
    """Pages with a record each, of which each leads to the next name."""
    return [page('[{"id": 1}]', nextLink=f"{PATH}?page={name}") for name in names]


@pytest.mark.parametrize("names", ["aa", "aba", "abca", "abb", "abcb"])
def test_pages_that_lead_in_a_circle_are_an_error(
    world: World, session: ApiSession, names: str
) -> None:
    world.tenant.faults += linked(*names)
    with pytest.raises(ProtocolError, match="lead in a circle"):
        list(iter_pages(session, ASSIGNMENTS, START))
    assert world.requests == len(names)


def test_a_link_that_leads_to_itself_is_an_error(world: World, session: ApiSession) -> None:
    world.tenant.faults.append(Fault("loop", times=99))
    with pytest.raises(ProtocolError, match="lead in a circle"):
        list(iter_pages(session, ASSIGNMENTS, START))
    assert world.requests == 2  # we write `delta`, the tenant's links have `delta=`


def test_empty_pages_without_end_are_an_error(world: World, session: ApiSession) -> None:
    world.tenant.faults.append(Fault("chain", times=2 * MAX_EMPTY_PAGES))
    with pytest.raises(ProtocolError, match=f"{MAX_EMPTY_PAGES + 1} pages in a row were empty"):
        list(iter_pages(session, ASSIGNMENTS, START))
    assert world.requests == MAX_EMPTY_PAGES + 1


@pytest.mark.parametrize("empty", ["[]", "[ ]", "[\n\t]"])
def test_only_empty_pages_in_a_row_count(
    world: World, session: ApiSession, monkeypatch: pytest.MonkeyPatch, empty: str
) -> None:
    monkeypatch.setattr(pages_module, "MAX_EMPTY_PAGES", 2)
    values = [empty, empty, "[{}]", empty, empty]
    world.tenant.faults += [
        page(value, nextLink=f"{PATH}?page={number}") for number, value in enumerate(values)
    ]
    world.tenant.faults.append(page("[[]]", deltaLink=f"{PATH}?deltaToken=x"))
    pages = list(iter_pages(session, ASSIGNMENTS, START))
    assert [each.is_empty for each in pages] == [value == empty for value in values] + [False]
    world.tenant.faults += [page(empty, nextLink=f"{PATH}?page={number}") for number in range(3)]
    with pytest.raises(ProtocolError, match="3 pages in a row"):
        list(iter_pages(session, ASSIGNMENTS, START))


def test_what_is_empty_and_what_is_not() -> None:
    shown = {text: Page.read(b'{"value":%b}' % text).is_empty for text in (b"[]", b"[1]", b"null")}
    assert shown == {b"[]": True, b"[1]": False, b"null": True}


@pytest.mark.parametrize(
    ("links", "shown"),
    [
        ({"nextLink": "/a", "deltaLink": "/b"}, ("/a", None)),
        ({"nextLink": "", "deltaLink": "/b"}, (None, "/b")),
        ({"nextLink": "/a", "deltaLink": ""}, ("/a", None)),
        ({"nextLink": "", "deltaLink": None}, (None, None)),
    ],
)
def test_an_answer_that_goes_on_is_not_the_last(
    links: dict[str, str], shown: tuple[str | None, str | None]
) -> None:
    page = Page.read(msgspec.json.encode({"value": [], **links}))
    assert (page.next_link, page.delta_link) == shown
