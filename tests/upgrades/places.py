"""Where the tenant and the warehouses are: at addresses that are the same on each machine.

A bookmark is valid for one address of the API and one warehouse. So what one machine has left goes
on elsewhere only if these have the same names there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

from protime_source.demo import DemoServer, DemoTenant
from protime_source.demo.behaviour import Behaviour
from tests.engines import DuckDBEngine, Engine, PostgresEngine
from tests.servers.proxy import Proxy
from tests.world import World

_PAGE_SIZE = 10
DATABASE = Path("/proc/self/cwd/warehouse.duckdb")
"""In the folder that the process is in, by a name that does not name that folder."""

_API = "http://protime.example"
_POSTGRES = "warehouse.example:5432/warehouse"


def new_tenant() -> DemoTenant:
    """A tenant without assignments, whose links to pages work at any later time."""
    behaviour = Behaviour(continuation_lifetime_hours=None)
    return DemoTenant(rows=0, page_size=_PAGE_SIZE, behaviour=behaviour)


@contextmanager
def world_of(tenant: DemoTenant, folder: Path, engine: Engine) -> Iterator[World]:
    """The tenant at its address, which a proxy leads to."""
    with DemoServer(tenant) as server, Proxy(server.api_url) as proxy:
        variables = {
            **server.environment(),
            "SOURCES__PROTIME__API_URL": _API,
            "SOURCES__PROTIME__TOKEN_URL": f"{_API}{tenant.token_path}",
            "HTTP_PROXY": proxy.url(),
        }
        with mock.patch.dict(os.environ, variables):
            for name in ("http_proxy", "NO_PROXY", "no_proxy"):
                os.environ.pop(name, None)
            try:
                yield World(tenant, server, folder, engine)
            finally:
                engine.close()  # the next one has the same name


def in_place(engine: Engine) -> Engine:
    """The same warehouse by the name that it has on each machine."""
    match engine:
        case DuckDBEngine():
            return DuckDBEngine(DATABASE)
        case PostgresEngine(url=url):
            user, _, there = url.partition("@")
            address, _, database = there.partition("/")
            host, _, port = address.partition(":")
            # libpq goes by these, which dlt does not look at.
            where = f"hostaddr={host}&port={port}&dbname={database}"
            return replace(engine, url=f"{user}@{_POSTGRES}?{where}")
    raise TypeError(engine)
