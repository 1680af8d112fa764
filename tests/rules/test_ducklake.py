"""What is DuckLake's own."""

from __future__ import annotations

from tests.engines import lakes
from tests.world import World


@lakes
def test_first_load_and_changes(world: World) -> None:
    world.run()
    world.check()
    world.tenant.churn(20)
    world.run()
    world.check()
    world.tenant.clock.advance(hours=73)
    world.tenant.churn(20)
    world.load()
    world.check()
    world.check_levels()
