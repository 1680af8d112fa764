"""What a run costs follows what changed, not what is there."""

from __future__ import annotations

import time

import pytest

from tests.conftest import WorldFactory
from tests.world import World

ROWS = 300_000
MANY = f"""
    INSERT INTO protime.assignments (id, change_version, is_deleted, synced_at, from_date)
    SELECT 1000000 + n, 'held', false, now(), current_date FROM generate_series(1, {ROWS}) n
"""


def _rows_scanned(world: World) -> int:
    """Rows of the table that Postgres read without an index, ever."""
    [(scanned,)] = world.query(
        "SELECT seq_tup_read FROM pg_stat_user_tables"
        " WHERE schemaname = 'protime' AND relname = 'assignments'"
    )
    return int(scanned)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
@pytest.mark.parametrize("is_analyzed", [False, True])
def test_changes_do_not_scan_the_table(make_world: WorldFactory, *, is_analyzed: bool) -> None:
    """Rows are found by the index on `id`, whether or not Postgres knows how many there are."""
    world = make_world(rows=500)
    world.run()
    world.query(MANY)
    if is_analyzed:
        world.query("ANALYZE protime.assignments")
    world.tenant.churn(100)
    before = _rows_scanned(world)
    world.run()
    assert _rows_scanned(world) - before < ROWS
    world.query("SELECT count(*) FROM protime.assignments")
    until = time.monotonic() + 30  # Postgres writes its statistics a moment later
    while (scanned := _rows_scanned(world) - before) < ROWS and time.monotonic() < until:
        time.sleep(0.1)
    assert scanned >= ROWS, "the statistics do not count"
