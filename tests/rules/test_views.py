"""`assignments__activity_levels` shows one row for each level in the table, at any time."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import protime
from protime_source.demo import Behaviour, Fault
from tests.conftest import WorldFactory
from tests.engines import PostgresEngine
from tests.world import Row, World

VIEW = "assignments__activity_levels"
TODAY = date.today().isoformat()
GUID = "550e8400-e29b-41d4-a716-446655440000"
Levels = Counter[tuple[Any, ...]]


def _visible(world: World, where: str = "NOT a.is_deleted") -> Levels:
    return Counter(
        world.query(
            f"SELECT v.assignment_id, v.level, v.activity_definition_id FROM protime_data.{VIEW} v"
            f" JOIN protime_data.assignments a ON a.id = v.assignment_id WHERE {where}"
        )
    )


def _levels(records: dict[int, Row]) -> Levels:
    return Counter(
        (id_, level["level"], level["activityDefinition"]["id"])
        for id_, record in records.items()
        for level in record.get("activityLevels", ())
    )


def _check(world: World) -> None:
    expected = _levels(world.tenant.records)
    assert expected
    assert _visible(world) == expected


def test_the_view_has_the_documented_columns_and_shows_each_level(
    world: World, subtests: pytest.Subtests
) -> None:
    """A repeated level as often as it occurs, and of malformed ones nothing; no query fails."""
    level = {"level": 1, "activityDefinition": {"id": GUID}}
    fields = {"person": {"id": 7}, "from": TODAY, "activityLevels": [level, level]}
    repeated = world.tenant.create(fields)
    world.run()
    found = world.query(f"DESCRIBE protime_data.{VIEW}")
    assert [column[:2] for column in found] == [
        ("assignment_id", "BIGINT"),
        ("level", "BIGINT"),
        ("activity_definition_id", "VARCHAR"),
    ]
    is_view = world.query(f"SELECT count(*) FROM duckdb_views() WHERE view_name = '{VIEW}'")
    assert is_view == [(1,)]
    _check(world)
    assert _visible(world, f"a.id = {repeated}") == {(repeated, 1, GUID): 2}
    id_ = min(world.tenant.records)
    for levels in ('"A1"', "{}", "[1, null]", "5"):
        with subtests.test(levels):
            world.query(
                f"UPDATE protime_data.assignments SET activity_levels = '{levels}' WHERE id = {id_}"
            )
            assert all(row[1:] == (None, None) for row in _visible(world, f"a.id = {id_}"))


def test_the_view_equals_the_tenants_levels_after_each_run(world: World) -> None:
    """Also when levels are removed, when rows are deleted, and when the table gets a column."""
    id_ = next(i for i, record in world.tenant.records.items() if record.get("activityLevels"))
    world.run()
    _check(world)
    assert _visible(world, f"a.id = {id_}")
    deleted = {i: world.tenant.records[i] for i in sorted(world.tenant.records)[::20] if i != id_}
    for each in deleted:
        world.tenant.delete(each)
    world.tenant.update(id_, {"person": {"id": 7}, "from": TODAY, "activityLevels": []})
    world.run()
    _check(world)
    assert not _visible(world, f"a.id = {id_}")
    assert _levels(deleted)
    assert _visible(world, "a.is_deleted") == _levels(deleted), "the last-known levels"
    world.tenant.behaviour = Behaviour(extra_fields={"cost": 1})
    world.tenant.churn(60)
    world.run()
    _check(world)
    world.tenant.churn(60)
    world.tenant.clock.advance(hours=73)
    world.run()
    _check(world)


def test_a_dropped_view_is_created_again(world: World) -> None:
    world.run()
    for changes in (0, 20):
        world.query(f"DROP VIEW protime_data.{VIEW}")
        world.tenant.churn(changes)
        world.run()
        _check(world)


def test_the_view_exists_after_each_part_of_a_first_full_load(world: World) -> None:
    world.run(max_pages=1)
    assert sum(_visible(world).values()) > 0
    world.run()
    _check(world)


def test_the_view_exists_without_rows(make_world: WorldFactory) -> None:
    world = make_world(rows=0)
    world.run()
    assert not _visible(world)
    world.tenant.churn(20)
    world.run()
    _check(world)


def test_each_dataset_has_its_own_view(world: World) -> None:
    world.run()
    world.pipeline("another", "other").run(protime())
    assert world.query(f"SELECT count(*) FROM other.{VIEW}") == [
        (sum(_levels(world.tenant.records).values()),)
    ]


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_failed_refresh_keeps_the_view(world: World) -> None:
    world.run()
    world.tenant.faults.append(Fault("status", status=400))
    with pytest.raises(PipelineStepFailed):
        world.pipeline().run(protime(), refresh="drop_resources")
    assert world.query(f"SELECT COUNT(*) FROM {world.dataset}.assignments__activity_levels")[0][0]


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_postgres_plans_the_view_as_a_query_of_the_table(world: World) -> None:
    """The view is over a function, which Postgres would otherwise run in full for each query."""
    world.run()
    plan = world.query(f"EXPLAIN SELECT * FROM {world.dataset}.{VIEW} WHERE assignment_id = 5")
    text = "\n".join(line for (line,) in plan)
    assert "on assignments t" in text
    assert VIEW not in text


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_reader_on_postgres_needs_the_right_to_read_the_table(world: World) -> None:
    world.run()
    assert isinstance(world.engine, PostgresEngine)
    reader = f"reader_{world.engine.url.rpartition('/')[2]}"
    world.query(f"CREATE ROLE {reader}")
    world.query(f"GRANT USAGE ON SCHEMA {world.dataset} TO {reader}")
    world.query(f"GRANT SELECT ON {world.dataset}.{VIEW} TO {reader}")
    count = f"SELECT COUNT(*) FROM {world.dataset}.{VIEW}"
    with pytest.raises(Exception, match="permission denied for table assignments"):
        world.query(f"SET ROLE {reader}; {count}")
    world.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA {world.dataset} TO {reader}")
    assert world.query(f"SET ROLE {reader}; {count}") == world.query(count)
