from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from time import perf_counter

import pytest
import requests

from protime_source.demo import DemoServer, DemoTenant

from .client import Client, ids, listing
from .conftest import Serve


def test_environment_leads_here() -> None:
    with DemoServer(DemoTenant(rows=0)) as server:
        assert server.environment() == {
            "SOURCES__PROTIME__TENANT": "demo",
            "SOURCES__PROTIME__CLIENT_ID": server.tenant.client_id,
            "SOURCES__PROTIME__CLIENT_SECRET": server.tenant.client_secret,
            "SOURCES__PROTIME__API_URL": server.api_url,
            "SOURCES__PROTIME__TOKEN_URL": f"{server.api_url}/tenants/demo/connect/token",
        }


def test_requests_are_noted(serve: Serve, start: str) -> None:
    tenant, client = serve()
    client.ask_token()
    client.get(listing(start))
    assert [request.method for request in tenant.requests] == ["POST", "GET"]
    (request,) = tenant.api_requests
    assert (request.path, request.status) == ("/connector/protimeapi/api/v1/assignments", 200)
    assert request.query == f"filter=date%20ge%20%27{start}%27"
    assert request.headers["User-Agent"] == "Tests/1.0 (Acme Corp)"


def test_quiet_on_the_terminal(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    _, client = serve()
    client.call("GET", "/nowhere")
    client.call("PATCH", "/nowhere")
    assert capfd.readouterr() == ("", "")


def test_blank_in_the_request_line_is_refused(serve: Serve) -> None:
    port = int(serve()[1].server.api_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        raw.sendall(b"GET /a?filter=date ge HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 400 " in raw.recv(1000)


def test_ends_at_once_with_open_connections() -> None:
    server = DemoServer(DemoTenant(rows=0))
    with Client(server) as client:
        with server:
            client.log_in()
            began = perf_counter()
        assert perf_counter() - began < 1
        with pytest.raises(requests.ConnectionError):
            client.ask_token()


def test_connection_is_kept(serve: Serve, start: str) -> None:
    _, client = serve()
    began = perf_counter()
    for _ in range(20):
        client.get(listing(start))
    assert perf_counter() - began < 0.4  # a delayed acknowledgement costs 40 ms


def test_latency(serve: Serve, start: str) -> None:
    _, client = serve(latency=0.05)
    began = perf_counter()
    client.get(listing(start))
    assert perf_counter() - began >= 0.05


def test_many_clients_at_once(serve: Serve, start: str) -> None:
    tenant, first = serve(rows=300)

    def read_list(number: int) -> list[int]:
        with Client(first.server) as client:
            client.log_in()
            tenant.update(min(tenant.records) + number, {"person": {"id": 1}, "from": start})
            return ids(client.pages(listing(start)))

    with ThreadPoolExecutor(8) as pool:
        assert all(found == sorted(tenant.records) for found in pool.map(read_list, range(8)))


def test_in_a_terminal() -> None:
    command = [
        sys.executable,
        "-m",
        "protime_source",
        "demo",
        "serve",
        "--rows",
        "10",
        "--port",
        "0",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        lines = list(takewhile(lambda line: line.startswith("export "), process.stdout))
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=10)
    assert lines[0] == "export SOURCES__PROTIME__TENANT=demo\n"
    assert lines[-1].startswith("export SOURCES__PROTIME__ACTIVITY_STRUCTURES=")
    assert rest == ("", "")
