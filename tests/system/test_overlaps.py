"""Two hosts at once on one dataset: no row is lost, also when the lock between them is lost."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.demo import Behaviour
from protime_source.errors import AlreadyRunningError, WarehouseError
from protime_source.pipeline.load import load
from tests.conftest import WorldFactory
from tests.kill_points import KILL_POINTS, MOMENTS, stopped_at
from tests.world import World

OVERLAPS = int(os.environ.get("PROTIME_OVERLAPS", "6"))

_END_LOCKS = """
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database
        WHERE datname = current_database())
"""


def _try(world: World) -> None:
    """A run as a schedule starts it: the next one comes, whatever becomes of it."""
    with suppress(PipelineStepFailed, AlreadyRunningError, WarehouseError):
        load(world.pipeline())


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
@pytest.mark.parametrize("seed", range(OVERLAPS))
def test_two_hosts_at_once_lose_no_row(make_world: WorldFactory, seed: int) -> None:
    """One stands still somewhere in its load, as a paused machine does; its lock may be lost."""
    dice = random.Random(seed)
    # Links stay valid, so that no full load mends what is lost.
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    other = replace(world, folder=world.folder / "elsewhere")
    world.load()
    other.load()

    def churn() -> None:
        world.tenant.churn(dice.randint(1, 6), seed=dice.randint(0, 10**6))

    churn()
    with ExitStack() as stopped:
        for host in dice.choice(((world,), (world, other), (other, world))):
            stopped.enter_context(
                stopped_at(dice.choice(list(KILL_POINTS)), dice.choice(MOMENTS), host)
            )
            churn()
            if dice.random() < 0.8:
                world.query(_END_LOCKS)
        _try(dice.choice((world, other)))
    for host in (world, other, world, other):
        _try(host)
        churn()
    for host in (world, other):
        load(host.pipeline())
    world.check()
