"""Where the token and the client secret go: to the tenant alone, whatever a response says."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest
import requests

from protime_source import AuthenticationError, NotFoundError, ProtocolError, UnavailableError
from protime_source.api.http import ApiSession
from protime_source.api.pages import iter_pages
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import DemoServer, Fault
from tests.world import World

PATH = ASSIGNMENTS.path
TOKENS = "/connect/token"
START = ASSIGNMENTS.delta_start(date(date.today().year - 1, 1, 1))
decode = msgspec.json.Decoder(dict[str, Any]).decode


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
