"""Two hosts at once on one dataset: no row is lost, also when the lock between them is lost.

Thousands of overlaps, not the same ones each time:

    PROTIME_OVERLAPS=2000 uv run pytest tests/system/test_overlaps.py
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from protime_source.demo import Behaviour
from protime_source.pipeline.load import load
from tests.conftest import WorldFactory
from tests.kill_points import SteppedRun, stopped_at
from tests.ledger import outcomes
from tests.world import World

OVERLAPS = int(os.environ.get("PROTIME_OVERLAPS", "0"))
PER_WORLD = 50 if OVERLAPS else 10
"""What a world costs is four overlaps."""

RUNS = 6
"""Runs that follow each other before the table is looked at: each costs half a second."""

STEPS = 34
"""As many points does a run with changes come by, before and after."""


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_what_was_merged_of_anothers_rows_is_taken_back(make_world: WorldFactory) -> None:
    """The other one asked Protime earlier, and so has not all that this one's link stands for."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    other = replace(world, folder=world.folder / "elsewhere")
    world.load()
    other.load()
    earlier, later = ExitStack(), ExitStack()
    world.tenant.churn(5, seed=1)
    assert earlier.enter_context(stopped_at("staging load", "before", other))
    world.engine.end_locks()
    world.tenant.churn(5, seed=2)
    assert later.enter_context(stopped_at("merge statement", "before", world))
    earlier.close()
    later.close()
    said = world.query(f"SELECT error FROM {world.dataset}.sync_runs WHERE outcome = 'failed'")
    assert any("Another run was at work while" in error for (error,) in said)
    world.load()
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_what_another_committed_before_a_late_merge_is_taken_back(
    make_world: WorldFactory,
) -> None:
    """It ignored the deletion of a row that it did not find, and that the late one brought then."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    hosts = [replace(world, folder=world.folder / name) for name in ("a", "b")]
    for host in hosts:
        host.load()
    late, new = _late_run(hosts[0])
    world.tenant.delete(new)
    hosts[1].load()
    late.finish()
    for host in hosts:
        host.load()
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_what_was_merged_late_by_a_run_that_died_then_is_found(make_world: WorldFactory) -> None:
    """The other one has closed its row in the ledger, as it stood still, and has staged nothing."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    hosts = [replace(world, folder=world.folder / name) for name in ("a", "b")]
    for host in hosts:
        host.load()
    late, new = _late_run(hosts[0])
    world.tenant.delete(new)
    hosts[1].load()
    late.go_on_until("before load record")
    late.kill()
    assert not world.rows()[new]["is_deleted"]
    hosts[1].load()
    world.check()
    hosts[1].load()
    assert [mode for _, mode, _, _ in outcomes(world)][-2:] == ["full load", "changes"]


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_copy_gets_what_was_merged_late(make_world: WorldFactory) -> None:
    """It has followed `synced_at` past the time at which the late one received its rows."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    hosts = [replace(world, folder=world.folder / name) for name in ("a", "b")]
    for host in hosts:
        host.load(history=True)
    late, late_id = _late_run(hosts[0], history=True)
    _create(world)
    hosts[1].load(history=True)
    mirror = world.rows()
    last = max(row["synced_at"] for row in mirror.values())
    late.finish()
    rows = world.rows()
    mirror |= {id_: row for id_, row in rows.items() if row["synced_at"] > last}
    assert mirror == rows
    history = f"{world.dataset}.assignments__history"
    recorded = world.query(f"SELECT MAX(recorded_at) FROM {history} WHERE id = {late_id}")
    assert recorded == [(rows[late_id]["synced_at"],)]


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_what_was_received_before_a_load_was_taken_back_is_not_loaded(
    make_world: WorldFactory,
) -> None:
    """The state that it rests on counts again, but the table has rows that it did not find."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    hosts = [replace(world, folder=world.folder / name) for name in ("a", "b", "c")]
    for host in hosts:
        host.load()
    late, new = _late_run(hosts[0])
    world.tenant.delete(new)
    other = SteppedRun(hosts[2])
    other.go_on_until("before schema update")
    world.engine.end_locks()
    pending = SteppedRun(hosts[1])
    pending.go_on_until("after state save")
    world.engine.end_locks()
    pending.kill()
    other.finish()
    late.finish()
    hosts[1].load()
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
@pytest.mark.parametrize("is_killed", [False, True])
def test_no_run_goes_on_from_what_was_merged_of_anothers_rows(
    make_world: WorldFactory, is_killed: bool
) -> None:
    """A run that stood still while another one used the staging tables has not looked yet."""
    world = make_world(rows=20, behaviour=Behaviour(older_delta_dies=False))
    hosts = [replace(world, folder=world.folder / name) for name in ("a", "b", "c")]
    for host in hosts:
        load(host.pipeline())
    world.tenant.churn(5, seed=1)
    earlier = SteppedRun(hosts[0])
    earlier.go_on_until("after extract commit")
    world.engine.end_locks()
    world.tenant.churn(5, seed=2)
    later = SteppedRun(hosts[1])
    later.go_on_until("before merge statement")
    world.engine.end_locks()
    earlier.finish()
    later.go_on_until("after package completed")
    world.engine.end_locks()
    if is_killed:
        later.kill()
    load(hosts[2].pipeline())
    later.finish()
    load(hosts[2].pipeline())
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
@pytest.mark.parametrize("number", range(OVERLAPS // PER_WORLD or 1))
def test_hosts_at_once_lose_no_row(make_world: WorldFactory, number: int) -> None:
    """Each stands still at every point, as a paused machine does; their lock may be lost."""
    dice = random.Random(None if OVERLAPS else number)
    # Links stay valid, so that no full load mends what is lost.
    world = make_world(rows=100, page_size=100, behaviour=Behaviour(older_delta_dies=False))
    hosts = [replace(world, folder=world.folder / name) for name in ("a", "b", "c")]
    for host in hosts:
        load(host.pipeline())
    counted = Counter[str]()
    while counted["overlap"] < PER_WORLD:
        trace: list[str] = []
        try:
            _work_at_once(hosts, dice, trace)
        except BaseException as error:
            error.add_note("\n".join(trace))
            raise
        counted.update(trace)
    if OVERLAPS:
        print(f"{number}: {dict(sorted(counted.items()))}", file=sys.stderr, flush=True)


def _create(world: World) -> int:
    """Creates an assignment in the window, and returns its id."""
    start = next(iter(world.tenant.records.values()))["from"]
    return world.tenant.create({"person": {"id": 7}, "from": start})


def _late_run(world: World, **settings: Any) -> tuple[SteppedRun, int]:
    """A run that has received a new assignment, and stands still before its load without its lock.

    Returns:
        The run, and the assignment's id.
    """
    new = _create(world)
    run = SteppedRun(world, **settings)
    run.go_on_until("before schema update")
    world.engine.end_locks()
    return run, new


def _work_at_once(hosts: list[World], dice: random.Random, trace: list[str]) -> None:
    """Runs begin while others are at work, and go on by turns, in any order."""
    at_work: dict[str, SteppedRun] = {}

    def go_on(name: str, steps: int) -> None:
        for _ in range(steps):
            at_work[name].go_on()
            trace.append(f"{at_work[name].at or '...'}")
            if (code := at_work[name].exit_code) is not None:
                del at_work[name]
                trace.append(f"exit code {code}")
                assert code in (0, 4, 6), "a run that was disturbed says what happened"
                return

    for _ in range(RUNS):
        host = dice.choice([each for each in hosts if each.folder.name not in at_work])
        host.tenant.churn(dice.randint(1, 3), seed=dice.randint(0, 10**6))
        if at_work:
            trace.append("overlap")
            if dice.random() < 0.9:
                host.engine.end_locks()
                trace.append("lock lost")
        at_work[host.folder.name] = SteppedRun(host)
        go_on(host.folder.name, dice.randint(1, STEPS - 1))
        while len(at_work) == len(hosts) or (len(at_work) > 1 and dice.random() < 0.7):
            name = dice.choice(list(at_work))
            if dice.random() < 0.05:
                at_work.pop(name).kill()
                trace.append("killed")
            else:
                go_on(name, dice.choice((1, 2, 5, STEPS)))
    while at_work:
        go_on(dice.choice(list(at_work)), dice.choice((1, 2, 5, STEPS)))
    host = dice.choice(hosts)
    load(host.pipeline())
    host.check()
