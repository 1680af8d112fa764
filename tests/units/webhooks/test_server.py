"""The HTTP server of the doorbell: what rings, what is refused, health and metrics."""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import Queue
from typing import Any

import pytest
import requests

from protime_source.errors import ProtimeError
from protime_source.webhooks import server as module
from protime_source.webhooks.memory import KnownWebhook
from protime_source.webhooks.metrics import Metrics
from protime_source.webhooks.server import MAX_BODY_BYTES, Server, doorbell
from protime_source.webhooks.signature import Signatures

TABLES = ("people", "absence_groups")
SECRET = "a-secret-path"
BODY = b'{"changeType":"Delete","data":{"changeVersion":"1","id":1}}'


@dataclass
class Bell:
    """A doorbell that is served, and what it rang."""

    port: int
    metrics: Metrics
    rang: Queue[tuple[str, ...]]
    now: list[float]
    http: requests.Session = field(default_factory=requests.Session)

    def post(self, path: str, body: Any = BODY, **headers: str) -> int:
        url = f"http://127.0.0.1:{self.port}{path}"
        with self.http.post(url, body, headers=headers, timeout=20) as response:
            return response.status_code

    def get(self, path: str) -> requests.Response:
        return self.http.get(f"http://127.0.0.1:{self.port}{path}", timeout=20)

    def number(self, name: str) -> float:
        [line] = [each for each in self.get("/metrics").text.splitlines() if name in each]
        return float(line.rpartition(" ")[2])


@pytest.fixture
def bell() -> Iterator[Bell]:
    rang: Queue[tuple[str, ...]] = Queue()
    now = [0.0]
    metrics = Metrics(TABLES, max_age=100, clock=lambda: now[0])
    known = {"a": KnownWebhook("people", "", "key", datetime.now(UTC))}

    def ring(tables: Iterable[str]) -> None:
        rang.put(tuple(tables))

    application = doorbell(SECRET, TABLES, ring, Signatures(lambda: known), metrics)
    with Server(application, "127.0.0.1", 0) as server, requests.Session() as http:
        http.trust_env = False
        yield Bell(server.port, metrics, rang, now, http)


@pytest.mark.parametrize("prefix", ["", "/protime", "/a/b"])
def test_an_event_rings_for_the_collection_of_its_path(bell: Bell, prefix: str) -> None:
    assert bell.post(f"{prefix}/{SECRET}/absence-groups") == 200
    assert bell.rang.get(timeout=20) == ("absence_groups",)
    assert bell.number('events_total{table="absence_groups"}') == 1


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b"not JSON", b"[" * 100_000])
def test_what_an_event_says_means_nothing(bell: Bell, body: bytes) -> None:
    assert bell.post(f"/{SECRET}/people", body) == 200
    assert bell.rang.get(timeout=20) == ("people",)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/people",
        "/wrong/people",
        f"/{SECRET}",
        f"/{SECRET}/jobs",
        f"/{SECRET}/people/x/y",
        "/%ff/people",
    ],
)
def test_who_does_not_know_the_path_rings_nothing(bell: Bell, path: str) -> None:
    assert bell.post(path) == 404
    assert bell.rang.empty()
    assert bell.number('refused_total{reason="path"}') == 1


def test_only_a_post_rings(bell: Bell) -> None:
    assert bell.get(f"/{SECRET}/people").status_code == 405
    assert bell.rang.empty()


def test_a_body_without_end_is_not_read(bell: Bell) -> None:
    assert bell.post(f"/{SECRET}/people", b"x" * MAX_BODY_BYTES) == 200
    assert bell.post(f"/{SECRET}/people", b"x" * (MAX_BODY_BYTES + 1)) == 413
    assert bell.number('refused_total{reason="size"}') == 1
    assert bell.rang.qsize() == 1


def test_a_body_that_does_not_come_is_not_waited_for(
    bell: Bell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.01)
    with socket.create_connection(("127.0.0.1", bell.port), 20) as connection:
        head = f"POST /{SECRET}/people HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(1000)
    assert bell.number('refused_total{reason="slow"}') == 1
    assert bell.rang.empty()


def test_a_forged_signature_rings_nothing(bell: Bell) -> None:
    signature = hmac.digest(b"key", BODY, "sha256").hex()
    assert bell.post(f"/{SECRET}/people", **{"X-Signature": signature}) == 200
    assert bell.post(f"/{SECRET}/people", **{"X-Signature": "0" * 64}) == 401
    assert bell.post(f"/{SECRET}/people") == 401
    assert bell.number('refused_total{reason="signature"}') == 2
    assert bell.rang.qsize() == 1


def test_connections_are_limited_and_a_flood_leaves_no_log(
    bell: Bell, capfd: pytest.CaptureFixture[str]
) -> None:
    sockets = [
        socket.create_connection(("127.0.0.1", bell.port), 20)
        for _ in range(module.MAX_CONNECTIONS)
    ]
    for each in sockets:
        each.sendall(b"POST / HTTP/1.1\r\n")
    answers = [bell.post("/wrong/people") for _ in range(5)]
    with socket.create_connection(("127.0.0.1", bell.port), 20) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        assert b" 400 " in connection.recv(1000)
    for each in sockets:
        each.close()
    assert 503 in answers
    assert bell.rang.empty()
    assert capfd.readouterr().err == ""


def test_health_is_that_of_each_table(bell: Bell) -> None:
    def health() -> tuple[int, Any]:
        response = bell.get("/healthz")
        return response.status_code, response.json()

    good = {"healthy": True, "failing": [], "outdated": []}
    assert health() == (200, good)
    both = {"people": (1, 10), "absence_groups": (0, 5)}
    bell.metrics.ended("start", "succeeded", 1.0, loaded=both, failed=())
    bell.now[0] = 100
    assert health() == (200, good)
    bell.metrics.ended("webhook", "failed", 1.0, loaded={}, failed=["people"])
    assert health() == (503, {"healthy": False, "failing": ["people"], "outdated": []})
    bell.metrics.ended("retry", "succeeded", 1.0, loaded={"people": (0, 10)}, failed=())
    assert health() == (200, good)
    bell.now[0] = 101
    assert health() == (503, {"healthy": False, "failing": [], "outdated": ["absence_groups"]})


def test_a_first_run_that_never_succeeds_is_unhealthy(bell: Bell) -> None:
    bell.now[0] = 101
    assert bell.get("/healthz").json()["outdated"] == list(TABLES)


def test_metrics_are_prometheus_text(bell: Bell) -> None:
    bell.metrics.begun("webhook")
    loaded = {"people": (3, 10)}
    bell.metrics.ended("webhook", "succeeded", 1.25, loaded=loaded, failed=["absence_groups"])
    bell.metrics.listening = ("people",)
    bell.now[0] = 7
    response = bell.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    samples = [line for line in response.text.splitlines() if not line.startswith("#")]
    assert {
        'protime_runs_started_total{cause="webhook"} 1',
        'protime_runs_total{cause="webhook",outcome="succeeded"} 1',
        "protime_last_run_seconds 1.25",
        'protime_rows_written_total{table="people"} 3',
        'protime_live_rows{table="people"} 10',
        'protime_failing{table="absence_groups"} 1',
        'protime_listening{table="people"} 1',
        'protime_listening{table="absence_groups"} 0',
        'protime_seconds_since_success{table="people"} 7.0',
    } <= set(samples)
    names = {line.partition("{")[0].partition(" ")[0] for line in samples}
    for word in ("HELP", "TYPE"):
        described = [line.split()[2] for line in response.text.splitlines() if f"# {word}" in line]
        assert len(described) == len(set(described))
        assert names <= set(described)
    assert SECRET not in response.text


def test_a_port_that_is_taken_is_named(bell: Bell) -> None:
    with pytest.raises(
        ProtimeError, match=rf"port {bell.port} \(Address already in use\).* --port"
    ) as caught:
        Server(doorbell("", (), print, Signatures(dict), bell.metrics), "127.0.0.1", bell.port)
    assert caught.value.exit_code == 1


def test_nothing_is_left_when_it_ends() -> None:
    before = threading.active_count()
    metrics = Metrics(TABLES, max_age=1)
    with Server(doorbell(SECRET, TABLES, print, Signatures(dict), metrics), "127.0.0.1", 0) as it:
        requests.get(f"http://127.0.0.1:{it.port}/healthz", timeout=20).close()
    assert threading.active_count() == before
