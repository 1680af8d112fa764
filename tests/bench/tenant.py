"""A tenant that costs little: its pages are made before the first request.

    python -m tests.bench.tenant --rows 1000000

`POST /bench` takes an order: `{"changes": 1000}` sets the number of events in the next delta
responses; `{"deleted": true}` deletes each hundredth record, which the next delta responses
announce and the full loads leave out; `{"expired": true}` does so too, but makes the next delta
link return 410; `{"latency": 0.1}` adds so many seconds to each request. What an order does not
name is off.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import msgspec

from protime_source.demo.data import assignments
from tests.bench.loads import DELTA

PAGE = 1_000
FIRST_ID = 100_001
VANISHES = 100
"""Of so many records, the last one."""

TOKEN = b'{"access_token": "benchmark", "expires_in": 86400, "token_type": "Bearer"}'


class Tenant:
    """Pages of a full load, and events made on demand.

    Args:
        rows: How many assignments there are.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.changes = 0
        self.latency = 0.0
        self.is_expired = False
        self.vanishes = False
        self._pages = [*self._made(vanishing=False)]
        self._fewer: list[bytes] = []

    def set(self, orders: dict[str, Any]) -> None:
        """Takes an order."""
        self.changes = orders.get("changes", 0)
        self.latency = orders.get("latency", 0.0)
        self.is_expired = orders.get("expired", False)
        self.vanishes = self.is_expired or orders.get("deleted", False)
        if self.vanishes:
            self._fewer = self._fewer or [*self._made(vanishing=True)]

    def delta(self, query: dict[str, list[str]]) -> bytes | None:
        """Returns the body of a response; None when the link has expired."""
        token = int(query.get("deltaToken", ["0"])[0])
        if "continuationToken" in query or not token:
            pages = self._fewer if self.vanishes else self._pages
            return pages[int(query.get("continuationToken", ["0"])[0])]
        if self.is_expired:
            self.is_expired = False
            return None
        return self._events(token)

    def _made(self, *, vanishing: bool) -> Iterator[bytes]:
        records = assignments(rows=self.rows, seed=1, today=date.today())
        last = (self.rows - 1) // PAGE
        for number in range(last + 1):
            page = [
                {"id": FIRST_ID + number * PAGE + n, "changeVersion": _version(0), **record}
                for n, record in enumerate(islice(records, PAGE))
                if not (vanishing and n % VANISHES == VANISHES - 1)
            ]
            yield _response(page, "nextLink" if number < last else "deltaLink", number + 1)

    def _events(self, token: int) -> bytes:
        """Changes spread over the table, nine updates, then a deletion; or what was deleted."""
        if self.vanishes:
            gone = range(FIRST_ID + VANISHES - 1, FIRST_ID + self.rows, VANISHES)
            deleted = ({"id": each, "changeVersion": _version(token)} for each in gone)
            return _response(
                [{"changeType": "Delete", "data": data} for data in deleted], "deltaLink", token + 1
            )
        step = max(1, self.rows // self.changes) if self.changes else 1
        events: list[dict[str, Any]] = []
        for n in range(self.changes):
            key = {"id": FIRST_ID + n * step % self.rows, "changeVersion": _version(token)}
            new = {"person": {"id": 7}, "from": date.today().isoformat(), "comments": f"{token}"}
            is_deleted = n % 10 == 9
            kind = "Delete" if is_deleted else "InsertOrUpdate"
            events.append({"changeType": kind, "data": key if is_deleted else {**key, **new}})
        return _response(events, "deltaLink", token + 1)


def first_version() -> str:
    """Returns the version that all records have at first."""
    return _version(0)


def _version(number: int) -> str:
    return f"{0x0902 << 48 | number:020X}"


def _response(value: list[dict[str, Any]], link: str, token: int) -> bytes:
    name = "continuationToken" if link == "nextLink" else "deltaToken"
    more = "&deltaToken=1" if link == "nextLink" else ""
    return msgspec.json.encode({"value": value, link: f"{DELTA}?{name}={token}{more}"})


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with persistent connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    tenant: ClassVar[Tenant]

    def do_GET(self) -> None:
        """Sends a page."""
        time.sleep(self.tenant.latency)
        body = self.tenant.delta(parse_qs(urlsplit(self.path).query))
        self._send(200 if body else 410, body or b"{}")

    def do_POST(self) -> None:
        """Sends a token, or takes an order."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/bench":
            self.tenant.set(msgspec.json.decode(body))
        self._send(200, TOKEN)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def main() -> None:
    """Serve, and print the address."""
    parser = argparse.ArgumentParser("python -m tests.bench.tenant", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    Handler.tenant = Tenant(options.rows)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
