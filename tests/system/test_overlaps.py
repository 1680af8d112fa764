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
def test_what_was_merged_of_anothers_rows_is_taken_back(make_world: WorldFactory) -> None:
    """The other one asked Protime earlier, and so has not all that this one's link stands for."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    other = replace(world, folder=world.folder / "elsewhere")
    world.load()
    other.load()
    earlier, later = ExitStack(), ExitStack()
    world.tenant.churn(5, seed=1)
    assert earlier.enter_context(stopped_at("extract commit", "after", other))
    world.query(_END_LOCKS)
    world.tenant.churn(5, seed=2)
    assert later.enter_context(stopped_at("merge statement", "before", world))
    earlier.close()
    later.close()
    said = world.query(f"SELECT error FROM {world.dataset}.sync_runs WHERE outcome = 'failed'")
    assert any("Another run used the staging tables" in error for (error,) in said)
    world.load()
    world.check()


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
    stopped = []
    for host in dice.choice(((world,), (world, other), (other, world))):
        stopped.append(ExitStack())
        point = dice.choice(list(KILL_POINTS))
        stopped[-1].enter_context(stopped_at(point, dice.choice(MOMENTS), host))
        churn()
        if dice.random() < 0.8:
            world.query(_END_LOCKS)
    _try(dice.choice((world, other)))
    for each in dice.sample(stopped, len(stopped)):
        each.close()
    for host in (world, other, world, other):
        _try(host)
        churn()
    for host in (world, other):
        load(host.pipeline())
    world.check()
