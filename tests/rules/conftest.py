"""Worlds without dlt, for the rules that the engine decides alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from protime_source.demo import DemoServer, DemoTenant
from tests.memory_world import MemoryWorld

MemoryFactory = Callable[..., MemoryWorld]


@pytest.fixture
def make_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryFactory]:
    """Makes a tenant with the arguments of `DemoTenant`, and points the engine at it."""
    with ExitStack() as servers:

        def make(table: str = "assignments", **arguments: Any) -> MemoryWorld:
            tenant = DemoTenant(**{"rows": 300, "page_size": 50, **arguments})
            server = servers.enter_context(DemoServer(tenant))
            for name, value in server.environment().items():
                monkeypatch.setenv(name, value)
            return MemoryWorld(tenant, table)

        yield make


@pytest.fixture
def memory(make_memory: MemoryFactory) -> MemoryWorld:
    """A tenant of 300 assignments in pages of 50."""
    return make_memory()
