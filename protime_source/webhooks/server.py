"""The HTTP server: events of webhooks, health and metrics."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from protime_source.errors import ProtimeError
from protime_source.webhooks.metrics import Metrics
from protime_source.webhooks.signature import Signatures

MAX_BODY_BYTES = 2**20
"""The most that is read of an event: room for many records, although one is documented."""

MAX_CONNECTIONS = 100
"""Connections at once; more are answered with 503, so that a flood takes no memory."""

BODY_SECONDS = 10.0
"""How long an event may take to arrive."""


def doorbell(
    secret: str,
    tables: Iterable[str],
    ring: Callable[[Iterable[str]], None],
    signatures: Signatures,
    metrics: Metrics,
) -> Starlette:
    """Returns the application.

    An event is a POST to `/<secret>/<collection>`, below whatever a proxy puts before it. Nothing
    in it is believed: it can only lead to a run of the delta, which asks Protime itself.

    Args:
        secret: The segment of the path that nobody can guess.
        tables: All tables that are kept up to date.
        ring: Called with the tables that may have changes.
        signatures: Checks an event's signature.
        metrics: Counts.
    """
    known = frozenset(tables)

    async def event(request: Request) -> Response:
        *_, given, name = ["", "", *request.url.path.rstrip("/").split("/")]
        table = name.replace("-", "_")
        is_ours = secrets.compare_digest(given.encode(), secret.encode())
        if not is_ours or table not in known:
            metrics.refused("path")
            return Response(status_code=404)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for piece in request.stream():
                    body += piece
                    if len(body) > MAX_BODY_BYTES:
                        metrics.refused("size")
                        return Response(status_code=413, headers={"Connection": "close"})
        except (TimeoutError, ClientDisconnect):
            metrics.refused("slow")
            return Response(status_code=408, headers={"Connection": "close"})
        if not signatures.accepts(name, request.headers.items(), bytes(body)):
            metrics.refused("signature")
            return Response(status_code=401)
        metrics.event(table)
        ring((table,))
        return Response(status_code=200)

    async def healthz(_: Request) -> Response:
        health = metrics.health()
        content = {
            "healthy": health.is_healthy,
            "failing": health.failing,
            "outdated": health.outdated,
        }
        return JSONResponse(content, 200 if health.is_healthy else 503)

    async def show_metrics(_: Request) -> Response:
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/metrics", show_metrics),
            Route("/{path:path}", event, methods=["POST"]),
        ]
    )


class Server:
    """Serves an application from a thread of its own, so that the main thread can load.

    Args:
        application: The application.
        host: The address to bind.
        port: The TCP port; 0 takes a free one.

    Raises:
        ProtimeError: When the port cannot be used.
    """

    def __init__(self, application: Starlette, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=1024)
        except OSError as error:
            number = error.errno or 0  # a name that cannot be resolved has a negative one
            reason = os.strerror(number) if number > 0 else error.strerror
            raise ProtimeError(
                f"Nothing can listen on {host}, port {port} ({reason}). Nothing was changed. Take"
                " another with --host and --port."
            ) from error
        config = uvicorn.Config(
            application,
            access_log=False,  # it would show the secret path
            log_config=None,
            log_level="error",  # what a flood is warned of would fill the log
            lifespan="off",
            loop="asyncio",
            http="h11",
            ws="none",
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="protime-webhooks", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._socket.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
