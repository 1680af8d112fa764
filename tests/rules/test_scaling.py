"""What a run costs follows what changed, not what is there."""

from __future__ import annotations

import time

import pytest

from protime_source.pipeline.states import STATES_KEPT
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.ledger import outcomes
from tests.world import World

ROWS = 300_000
MANY = f"""
    INSERT INTO protime_data.assignments (id, change_version, is_deleted, synced_at, from_date)
    SELECT 1000000 + n, 'held', false, now(), current_date FROM generate_series(1, {ROWS}) n
"""


OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type <> 'autovacuum worker'
"""


SESSIONS = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"


def _wait_for_statistics(world: World) -> None:
    """A session publishes what it counted when it ends: a moment after its client is gone."""
    until = time.monotonic() + 30
    while world.query(OTHERS) != [(0,)]:
        assert time.monotonic() < until, "a session does not end"
        time.sleep(0.01)


def _rows_scanned(world: World, table_name: str = "assignments") -> int:
    """Rows of the table that Postgres read without an index, ever."""
    _wait_for_statistics(world)
    [(scanned,)] = world.query(
        "SELECT seq_tup_read FROM pg_stat_user_tables"
        f" WHERE schemaname = 'protime_data' AND relname = '{table_name}'"
    )
    return int(scanned)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_changes_do_not_scan_the_table(make_world: WorldFactory) -> None:
    """Rows are found by the index on `id`, whether or not Postgres knows how many there are."""
    world = make_world(rows=500)
    for _ in range(2):  # the first run of changes counts the live rows, once
        world.run()
    world.query(MANY)
    for is_analyzed in (False, True):
        if is_analyzed:
            world.query("ANALYZE protime_data.assignments")
        world.tenant.churn(100)
        before = _rows_scanned(world)
        world.run()
        assert _rows_scanned(world) - before < ROWS, f"{is_analyzed=}"
    before = _rows_scanned(world)
    world.query("SELECT count(*) FROM protime_data.assignments")
    assert ROWS <= _rows_scanned(world) - before < 2 * ROWS, "the statistics do not count"


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_run_opens_few_connections(world: World) -> None:
    """Each takes several round trips: a run's own statements share one."""

    def sessions_of_a_run(*collections: str) -> int:
        world.load(collections=collections)
        _wait_for_statistics(world)
        [(before,)] = world.query(SESSIONS)
        world.load(collections=collections)
        _wait_for_statistics(world)
        [(after,)] = world.query(SESSIONS)
        return int(after - before)

    one = sessions_of_a_run("assignments")
    assert 4 < one < 15
    assert sessions_of_a_run("assignments", "absences", "clockings", "people") < one + 4


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_no_run_reads_the_whole_ledger(world: World) -> None:
    world.run()
    world.query(
        "INSERT INTO protime_data.sync_runs (run_id, table_name, started_at, outcome)"
        " SELECT md5(n::text), 'assignments', now(), 'succeeded' FROM generate_series(1, 20000) n"
    )
    world.query("ANALYZE protime_data.sync_runs")
    before = _rows_scanned(world, "sync_runs")
    world.run()
    assert _rows_scanned(world, "sync_runs") == before


@every_engine
def test_states_that_were_replaced_long_ago_are_forgotten(world: World) -> None:
    """Else each run would add one, with the record of its load, and read all of them."""
    world.run()
    numbers = " UNION ALL ".join(
        f"SELECT {n} AS n, '{n}' AS text" for n in range(1, 3 * STATES_KEPT)
    )
    states, loads = f"{world.dataset}._dlt_pipeline_state", f"{world.dataset}._dlt_loads"
    world.query(
        f"INSERT INTO {loads} (load_id, schema_name, status, inserted_at, schema_version_hash)"
        " SELECT CONCAT(load_id, text), schema_name, status, inserted_at, schema_version_hash"
        f" FROM {loads} CROSS JOIN ({numbers}) AS numbers"
    )
    world.query(
        f"INSERT INTO {states} (version, engine_version, pipeline_name, state, created_at,"
        " version_hash, _dlt_load_id, _dlt_id) SELECT version - n, engine_version, pipeline_name,"
        " state, created_at, version_hash, CONCAT(_dlt_load_id, text), CONCAT(_dlt_id, text)"
        f" FROM {states} CROSS JOIN ({numbers}) AS numbers"
    )
    world.lose_working_folder()
    world.tenant.churn(5)
    world.run()
    versions = sorted(version for (version,) in world.query(f"SELECT version FROM {states}"))
    assert versions == [*range(versions[-1] - STATES_KEPT, versions[-1] + 1)]
    assert world.query(f"SELECT COUNT(*) FROM {loads}") == [(len(versions),)]
    assert outcomes(world)[-1][1:3] == ("changes", "succeeded")


def test_full_loads_and_snapshots_leave_no_new_schemas_in_the_warehouse(world: World) -> None:
    """Dlt keeps each one, with all tables of the source."""
    tables = ("assignments", "departments")
    versions = f"SELECT COUNT(*) FROM {world.dataset}._dlt_version"
    counts = []
    for number in range(4):
        world.load(collections=tables)
        counts.append(world.query(versions))
        world.tenant.change_other("departments", 2, seed=number)
        world.tenant.churn(5)
        world.tenant.clock.advance(hours=73)
    assert counts[1] == counts[2] == counts[3]
    assert [outcome[1] for outcome in outcomes(world)].count("full load") == 3
