"""The HTTP server of the demo tenant."""

from __future__ import annotations

import ssl
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from threading import Lock, Thread
from typing import Any, Self

from protime_source.demo.messages import Request, Response, reason_phrase
from protime_source.demo.tenant import DemoTenant

_HOST = "127.0.0.1"
_POLL_SECONDS = 0.01
_JOIN_TIMEOUT_SECONDS = 5.0
_SPACES = b" " * 2**20


class DemoServer:
    """Serves a tenant on loopback from daemon threads; a context manager.

    Args:
        tenant: The tenant; its data and behaviour may change while it is served.
        port: TCP port; 0 takes a free one.
        tls: The certificate for HTTPS; None for HTTP.
    """

    def __init__(
        self, tenant: DemoTenant, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.tenant = tenant
        self._scheme = "https" if tls else "http"
        self._server = _Server(tenant, port, tls)
        self._thread = Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="demo", daemon=True
        )

    def __enter__(self) -> Self:
        """Start the server."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at once and close all open connections."""
        self.tenant.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.close_connections()

    @property
    def api_url(self) -> str:
        """Scheme, host and port of the API."""
        return f"{self._scheme}://{_HOST}:{self._server.server_port}"

    @property
    def token_url(self) -> str:
        """URL of the token endpoint."""
        return self.api_url + self.tenant.token_path

    def settings(self) -> dict[str, Any]:
        """The settings that point the source to this server."""
        return {
            "tenant": self.tenant.name,
            "client_id": self.tenant.client_id,
            "client_secret": self.tenant.client_secret,
            "api_url": self.api_url,
            "token_url": self.token_url,
        }

    def environment(self) -> dict[str, str]:
        """The same settings as environment variables for dlt."""
        return {f"SOURCES__PROTIME__{k.upper()}": v for k, v in self.settings().items()}


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, tenant: DemoTenant, port: int, tls: ssl.SSLContext | None) -> None:
        self.tenant = tenant
        self._connections: dict[socket, Thread] = {}
        self._connecting = Lock()
        super().__init__((_HOST, port), _Handler)
        if tls:
            # Defer the handshake to the connection's own thread.
            self.socket = tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, and register both."""
        arguments = (request, client_address)
        thread = Thread(target=self.process_request_thread, args=arguments, daemon=True)
        with self._connecting:
            self._connections[request] = thread
        thread.start()

    def close_request(self, request: Any) -> None:
        """Close a connection."""
        with self._connecting:
            self._connections.pop(request, None)
            super().close_request(request)

    def close_connections(self) -> None:
        """Close all open connections and wait for their threads."""
        with self._connecting:
            connections = dict(self._connections)
            for connection in connections:
                with suppress(OSError):  # the client may have closed it already
                    connection.shutdown(SHUT_RDWR)
        for thread in connections.values():
            thread.join(_JOIN_TIMEOUT_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect or do not trust the certificate."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Serve a list, a delta or a record."""
        self._serve()

    def do_POST(self) -> None:
        """Create a record or issue a token."""
        self._serve()

    def do_PUT(self) -> None:
        """Replace a record."""
        self._serve()

    def do_DELETE(self) -> None:
        """Delete a record."""
        self._serve()

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _serve(self) -> None:
        tenant = self.server.tenant
        request = self._read_request()
        time.sleep(tenant.behaviour.latency)
        self._send(tenant.respond(request))

    def _read_request(self) -> Request:
        path, _, query = self.path.partition("?")
        headers = {name.title(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("Content-Length", 0)))
        return Request(self.command, path, query, headers, body)

    def _send(self, response: Response) -> None:
        if response.status == 0:
            self.close_connection = True
            return
        head = [f"HTTP/1.1 {response.status} {reason_phrase(response.status)}"]
        head += [f"{name}: {value}" for name, value in response.headers.items()]
        if response.blank_bytes or "Content-Length" in response.headers:
            self.close_connection = True  # only the end of the connection marks the end of the body
        else:
            head.append(f"Content-Length: {len(response.body)}")
        head += [
            f"Date: {self.date_time_string(self.server.tenant.clock.now().timestamp())}",
            "",
            "",
        ]
        start, body = "\r\n".join(head).encode(), response.body
        if response.cut:
            self.close_connection = True
            start, body = start if body else b"", body[: len(body) // 2]
        # One write, because two small ones wait for a delayed acknowledgement of the client.
        self.wfile.write(start + body)
        self._send_spaces(response.blank_bytes)

    def _send_spaces(self, number: int) -> None:
        for sent in range(0, number, len(_SPACES)):
            self.wfile.write(_SPACES[: number - sent])
