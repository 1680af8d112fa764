"""The table says what Protime says, run after run."""

from __future__ import annotations

from tests.conftest import WorldFactory
from tests.world import World


def test_the_first_run_loads_everything_and_one_without_changes_makes_one_request(
    world: World,
) -> None:
    world.run()
    world.check()
    assert world.requests == 6
    before = world.rows()
    world.tenant.clear_requests()
    world.run()
    assert world.requests == 1
    assert world.rows() == before


def test_churn_between_runs(make_world: WorldFactory) -> None:
    world = make_world(rows=2000, page_size=300)
    world.run()
    for seed in range(2):
        world.tenant.churn(150, seed=seed)
        world.tenant.clear_requests()
        world.run()
        assert world.requests == 1
        world.check()
