"""Everything anew, on request: dlt's `refresh`."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from protime_source import protime
from tests.engines import ENGINES
from tests.world import World

MODES = ("drop_data", "drop_resources", "drop_sources")
"""The last two drop the same tables with the same SQL."""


def refresh(world: World, mode: Any = "drop_resources") -> None:
    world.pipeline().run(protime(), refresh=mode)


@pytest.mark.parametrize(
    ("engine", "mode"),
    [*product(ENGINES[:2], MODES), *product(ENGINES[2:], MODES[:2])],
    indirect=["engine"],
)
def test_refresh_loads_everything_anew(world: World, mode: str) -> None:
    """Also rows whose stored version is newer, and Postgres with a view above the table."""
    world.run()
    world.tenant.churn(30)
    world.run()
    world.tenant.churn(30)
    refresh(world, mode)
    assert world.rows().keys() == world.tenant.records.keys()
    world.check()
    world.check_levels()
    world.tenant.churn(30)
    world.run()
    world.check()
