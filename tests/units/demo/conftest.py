from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from protime_source.demo import Behaviour, DemoServer, DemoTenant

from .client import YEAR, Client

Serve = Callable[..., tuple[DemoTenant, Client]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A tenant of 50 rows in pages of 20 with these switches, and a client that has a token."""
    with ExitStack() as stack:

        def start(*, rows: int = 50, **switches: Any) -> tuple[DemoTenant, Client]:
            tenant = DemoTenant(rows=rows, page_size=20, behaviour=Behaviour(**switches))
            client = stack.enter_context(Client(stack.enter_context(DemoServer(tenant))))
            client.log_in()
            tenant.clear_requests()
            return tenant, client

        yield start


@pytest.fixture
def start() -> str:
    """The earliest date of a delta."""
    return f"{YEAR - 1}-01-01"
