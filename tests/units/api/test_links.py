"""Links are followed as Protime means them, and never to anybody else."""

from __future__ import annotations

from datetime import date
from urllib.parse import quote, unquote

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url

from protime_source import ProtocolError, Settings
from protime_source.api.http import HttpClient
from protime_source.api.links import resolve_link
from protime_source.api.pages import iter_pages
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour
from tests.conftest import WorldFactory

ORIGIN = "https://acme.myprotime.eu"
START = date(date.today().year - 1, 1, 1)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("/api/x", "/api/x"),
        ("/api/x?filter=date ge '2026-01-01'", "/api/x?filter=date%20ge%20%272026-01-01%27"),
        ("/api/x?filter=date%20ge%20'2026-01-01'", "/api/x?filter=date%20ge%20%272026-01-01%27"),
        ("/api/x?filter=date+ge+%272026-01-01%27", "/api/x?filter=date+ge+%272026-01-01%27"),
        ("/api/x?filter=a&delta", "/api/x?filter=a&delta"),
        ("/api/x?deltaToken=aB+/c==", "/api/x?deltaToken=aB%2B%2Fc%3D%3D"),
        ("/api/x?deltaToken=aB%2B%2Fc%3D%3D", "/api/x?deltaToken=aB%2B%2Fc%3D%3D"),
        ("/api/x?deltaToken=aB%2b%2fc=", "/api/x?deltaToken=aB%2B%2Fc%3D"),
        ("/api/x?continuationToken=+/=&delta", "/api/x?continuationToken=%2B%2F%3D&delta"),
        ("/api/x?filter=100% of&deltaToken=a+b", "/api/x?filter=100%25%20of&deltaToken=a%2Bb"),
        ("/api/x?deltaToken=a%zz+", "/api/x?deltaToken=a%25zz%2B"),
        ("/api/100%/x?deltaToken=a+b", "/api/100%25/x?deltaToken=a%2Bb"),
        ("/api/x?a b%=c&deltaToken=a+b", "/api/x?a%20b%25=c&deltaToken=a%2Bb"),
        ("/api/x?filter=a#b&delta", "/api/x?filter=a%23b&delta"),
        ("/api/é?comments=é", "/api/%C3%A9?comments=%C3%A9"),
        (f"{ORIGIN}/api/x?deltaToken=a+b", "/api/x?deltaToken=a%2Bb"),
        ("HTTPS://ACME.MyProtime.EU/api/x", "/api/x"),
        (f"{ORIGIN}:443/api/x", "/api/x"),
        ("https:///api/x", "/api/x"),
        ("/api/x?a=http://evil.example/", "/api/x?a=http://evil.example/"),
        ("\\\\evil.example/x", "/%5C%5Cevil.example/x"),
        ("/\\evil.example/x", "/%5Cevil.example/x"),
        ("////evil.example/x", "//evil.example/x"),
        ("/api\r\nX-Evil: 1?deltaToken=a\r\nb", "/apiX-Evil:%201?deltaToken=ab"),
        ("", "/"),
    ],
)
def test_a_link_becomes_a_url_of_ours(link: str, url: str) -> None:
    made = resolve_link(link, ORIGIN)
    assert made == ORIGIN + url
    assert requests.Request("GET", made).prepare().url == made


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/x",
        "http://acme.myprotime.eu/api/x",
        "http://acme.myprotime.eu:443/api/x",
        "https://acme.myprotime.eu:8443/api/x",
        "https://acme.myprotime.eu.evil.example/api/x",
        "https://evilacme.myprotime.eu/api/x",
        "//evil.example/api/x",
        "//evil.example",
        "/\t/evil.example/api/x",
        "\r\n//evil.example/api/x",
        " https://evil.example/api/x",
        "https://acme.myprotime.eu@evil.example/api/x",
        "https://acme.myprotime.eu:443@evil.example/api/x",
        "https://acme.myprotime.eu\\@evil.example/api/x",
        "https://evil.example\\@acme.myprotime.eu/api/x",
        "https://evil.example#@acme.myprotime.eu/api/x",
        "https://evil.example?@acme.myprotime.eu/api/x",
        "https://someone@acme.myprotime.eu/api/x",
        "https://some:one@acme.myprotime.eu/api/x",
        "https://@acme.myprotime.eu/api/x",
        "https://acme.myprotime.eu:99999/api/x",
        "https://acme.myprotime.eu:port/api/x",
        "https://[acme.myprotime.eu/api/x",
        "https://acme.myprotime.eu℀/api/x",
        "ftp://acme.myprotime.eu/api/x",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ],
)
def test_a_link_elsewhere_is_refused_in_one_line(link: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        resolve_link(f"{link}?deltaToken=a-token", ORIGIN)
    assert len(str(caught.value).splitlines()) == 1
    assert "a-token" not in str(caught.value)


PIECES = [*"/\\:@?#%&=.[]; \r\n\t\x00é℀", "//", "%2f", "%40", "https:", "http:", "evil.example"]
PIECES += ["acme.myprotime.eu", ":443", ":8443", "deltaToken=", "/api", ".."]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9).map("".join))
@example("https://evil.example\\@acme.myprotime.eu")
def test_no_link_leads_to_another_origin(link: str) -> None:
    try:
        url = resolve_link(link, ORIGIN)
    except ProtocolError:
        return
    asked = parse_url(requests.Request("GET", url).prepare().url or "")
    assert (asked.scheme, asked.netloc) == ("https", "acme.myprotime.eu")


@settings(deadline=None)
@given(st.from_regex(r"[A-Za-z0-9+/]{1,40}={0,2}", fullmatch=True), st.booleans())
def test_a_token_arrives_unchanged_however_it_is_written(token: str, encoded: bool) -> None:
    written = quote(token, safe="") if encoded else token
    url = resolve_link(f"/api/x?filter=a b&deltaToken={written}", ORIGIN)
    arrived = requests.Request("GET", url).prepare().path_url.partition("deltaToken=")[2]
    assert "+" not in arrived
    assert unquote(arrived) == token


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8123", "http://[::1]:8123"])
@pytest.mark.parametrize("style", ["/api/x?delta", "{}/api/x?delta"])
def test_an_origin_may_be_an_address_with_a_port(origin: str, style: str) -> None:
    assert resolve_link(style.format(origin), origin) == f"{origin}/api/x?delta"


@pytest.mark.parametrize("style", ["plain", "encoded", "absolute"])
def test_a_full_load_and_its_delta_can_be_followed_in_each_style(
    make_world: WorldFactory, style: str
) -> None:
    world = make_world(behaviour=Behaviour(link_style=style))  # type: ignore[arg-type]
    with HttpClient(Settings.from_config()) as http:
        session = http.session([ASSIGNMENTS.read_scope])
        *_, last = iter_pages(session, ASSIGNMENTS, ASSIGNMENTS.delta_start(START))
        world.tenant.delete(next(iter(world.tenant.records)))
        (changes,) = iter_pages(session, ASSIGNMENTS, last.delta_link or "")
    assert b'"Delete"' in bytes(changes.records)
