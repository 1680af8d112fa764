"""How much of a response is read, and on how many connections."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tracemalloc
from datetime import date
from typing import Any

import msgspec
import pytest

from protime_source import ApiError, ProtocolError
from protime_source.api import http
from protime_source.api.http import ApiSession
from protime_source.api.pages import iter_pages
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Fault
from tests.conftest import WorldFactory
from tests.units.api.conftest import Connect
from tests.world import World

PATH = ASSIGNMENTS.path
TOKENS = "/connect/token"
START = ASSIGNMENTS.delta_start(date(date.today().year - 1, 1, 1))
MIB = 2**20
LIMIT = 32 * MIB
decode = msgspec.json.Decoder(dict[str, Any]).decode


def first(world: World) -> str:
    return f"{PATH}/{next(iter(world.tenant.records))}"


@pytest.fixture(autouse=True)
def _low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads an eighth of what a run reads: the bodies that are too large are made faster."""
    monkeypatch.setattr(http, "MAX_BODY_BYTES", LIMIT)


def bomb(size: int) -> bytes:
    """Blanks that unpack to this many bytes, a multiple of a MiB."""
    return gzip.compress(b" " * MIB) * (size // MIB)


def large(where: str = "") -> dict[str, Fault]:
    """Responses of 1 GiB, or that claim to be large."""

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
        "announced": good(Content_Length=str(2**30)),
        "announced beyond all numbers": good(Content_Length="9" * 400),
    }


@pytest.mark.parametrize("name", large())
@pytest.mark.parametrize("where", [PATH, TOKENS])
def test_a_response_that_is_too_large_is_refused_and_not_requested_again(
    world: World, session: ApiSession, name: str, where: str
) -> None:
    fault = large(where)[name]
    fault.times = 99
    world.tenant.faults.append(fault)
    with pytest.raises(ProtocolError, match=r"with more than 32 MiB; the rest was not read") as e:
        session.get(first(world), decode)
    assert len(str(e.value).splitlines()) == 1
    assert where in str(e.value)
    assert sum(where in request.path for request in world.tenant.requests) == 1


def test_after_a_response_that_was_too_large_the_next_one_is_read(
    world: World, session: ApiSession
) -> None:
    world.tenant.faults.append(large()["endless"])
    with pytest.raises(ProtocolError):
        session.get(first(world), decode)
    assert session.get(first(world), decode)["id"]


GREEDY = """
import resource, sys
from protime_source import ProtocolError, Settings
from protime_source.api import http
from protime_source.api.http import HttpClient

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

http.MAX_BODY_BYTES = int(sys.argv[4])
client = HttpClient(Settings.from_config())
session = client.session([sys.argv[1]])
session.get(sys.argv[2], len)
before = peak()
for _ in range(int(sys.argv[3])):
    try:
        session.get(sys.argv[2], len)
    except ProtocolError as error:
        assert "was not read" in str(error)
    else:
        raise AssertionError("it was read")
client.close()
print(peak() - before)
"""


def test_memory_is_bounded_by_the_largest_body(world: World) -> None:
    faults = list(large().values())
    for fault in faults:
        fault.after = 1
    world.tenant.faults += faults
    limit = 4 * LIMIT
    arguments = [ASSIGNMENTS.read_scope, first(world), str(len(faults)), str(limit)]
    ran = subprocess.run(
        [sys.executable, "-c", GREEDY, *arguments], capture_output=True, text=True, check=True
    )
    assert world.tenant.faults == []
    # Twice, since a buffer that grows may be copied; the bodies are larger than that together.
    assert int(ran.stdout) < 2 * limit


def test_a_body_below_the_limit_is_read_and_is_in_memory_once(
    world: World, session: ApiSession
) -> None:
    session.get(first(world), decode)
    size = LIMIT - 2 * MIB
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
def test_json_that_is_nested_too_deeply_is_an_error_of_ours(
    world: World, session: ApiSession, text: str, status: int, where: str
) -> None:
    world.tenant.faults.append(Fault("status", status=status, body=text, where=where, times=99))
    with pytest.raises(ApiError) as caught:
        session.get(first(world), decode)
    assert len(str(caught.value)) < 300
