"""A forward proxy on loopback: plain requests by their full URL, HTTPS through a tunnel."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

import pytest

_HOP_BY_HOP = ("connection", "keep-alive", "proxy-authorization", "transfer-encoding")


class Proxy:
    """Runs until its context ends.

    Args:
        origin: Where all plain requests go to, whatever host they name; else to that.

    Attributes:
        asked: What it was asked for: method, and URL or host and port.
        credentials: The `Proxy-Authorization` of each request; empty without.
    """

    def __init__(self, origin: str = "") -> None:
        self.asked: list[tuple[str, str]] = []
        self.credentials: list[str] = []
        proxy = self

        class Handler(_Handler):
            onward_to = urlsplit(origin).netloc

            def note(self) -> None:
                proxy.asked.append((self.command, self.path))
                proxy.credentials.append(self.headers.get("Proxy-Authorization", ""))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, credentials: str = "") -> str:
        """Its address, with `user:password@` if wanted."""
        return f"http://{credentials}127.0.0.1:{self._server.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    onward_to = ""

    def note(self) -> None:
        raise NotImplementedError

    def log_message(self, *_: object) -> None:
        """Silence."""

    def do_GET(self) -> None:
        """Forwards one request."""
        self.note()
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        kept = {name: value for name, value in self.headers.items() if not _is_hop(name)}
        onward = http.client.HTTPConnection(self.onward_to or parts.netloc)
        onward.request(self.command, f"{parts.path}?{parts.query}".rstrip("?"), body, kept)
        answer = onward.getresponse()
        content = answer.read()
        onward.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if not _is_hop(name) and name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815  # as http.server wants it

    def do_CONNECT(self) -> None:
        """Passes bytes both ways until one side has no more."""
        self.note()
        host, _, port = self.path.partition(":")
        with socket.create_connection((host, int(port))) as onward:
            self.send_response(200)
            self.end_headers()
            ways = {self.connection: onward, onward: self.connection}
            while True:
                for ready in select.select([*ways], [], [])[0]:
                    if not (piece := ready.recv(2**16)):
                        self.close_connection = True
                        return
                    ways[ready].sendall(piece)


def forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes away what the machine says of proxies."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _is_hop(name: str) -> bool:
    return name.lower() in _HOP_BY_HOP
