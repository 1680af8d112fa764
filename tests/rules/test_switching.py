"""One working folder, several destinations, one after the other and back."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import WorldFactory
from tests.engines import ENGINES, Engine
from tests.world import World

LEVELS = {"duckdb": "JSON", "postgres": "json", "bigquery": "STRING"}


def _type_of_levels(world: World) -> str:
    place = f"{world.dataset}." if world.engine.name == "bigquery" else ""
    [(kind,)] = world.query(
        f"SELECT data_type FROM {place}INFORMATION_SCHEMA.COLUMNS"
        f" WHERE table_schema = '{world.dataset}' AND table_name = 'assignments'"
        " AND column_name = 'activity_levels'"
    )
    return str(kind)


def test_from_each_to_each(make_world: WorldFactory, make_engine: Callable[[str], Engine]) -> None:
    """The bookmark of one says nothing about another, nor do its column types."""
    duckdb, postgres, bigquery = (make_engine(name) for name in ENGINES)
    world = make_world(rows=60)
    for engine in (bigquery, duckdb, postgres, duckdb, bigquery):
        world.engine = engine
        world.tenant.churn(20)
        world.tenant.delete(min(world.tenant.records))
        world.run()
        world.check()
        assert _type_of_levels(world) == LEVELS[engine.name]
