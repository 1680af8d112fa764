"""Sessions to a tenant, and a host that must never hear of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from protime_source import Settings
from protime_source.api.http import ApiSession, HttpClient
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import DemoServer, DemoTenant
from tests.world import World

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
    """Another host."""
    with DemoServer(DemoTenant(rows=1)) as server:
        yield server
