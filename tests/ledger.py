"""The ledger, as the tests of schedules read it."""

from __future__ import annotations

from tests.world import World

Outcome = tuple[str, str, str, int]


def outcomes(world: World) -> list[Outcome]:
    """Table, mode, outcome and received records of each row, in the order of the runs."""
    found = world.query(
        f"SELECT table_name, mode, outcome, received FROM {world.dataset}.sync_runs"
        " ORDER BY started_at, table_name"
    )
    return [(table, mode, outcome, received) for table, mode, outcome, received in found]
