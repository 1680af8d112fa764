"""The simulator's histories on real engines, and kills at every point where something is written.

Thousands of histories, every combination of kills, and every write:

    PROTIME_HISTORIES=2000 uv run pytest tests/system/test_histories.py --numprocesses=2

`PROTIME_FIRST_HISTORY` is the seed that they begin with; a failure tells its steps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from protime_source.pipeline.load import load
from tests.command import SCRIPT, environment, run_here
from tests.conftest import WorldFactory
from tests.engines import ALSO_LAKES, ENGINES, Engine, sql_engines
from tests.histories import counted, new_life, summary
from tests.kill_points import KILL_POINTS, MOMENTS, Moment, run_until
from tests.world import World, timeless

MANY = int(os.environ.get("PROTIME_HISTORIES", "0"))
FIRST = int(os.environ.get("PROTIME_FIRST_HISTORY", "0"))
HISTORIES = {"duckdb": 5, "postgres": 4, "bigquery": 1, **dict.fromkeys(ALSO_LAKES, 10)}
"""Those of a normal run."""

SLOWER = {"duckdb": 1, "postgres": 1, "bigquery": 20, **dict.fromkeys(ALSO_LAKES, 10)}
SITUATIONS = ("first load", "delta", "resync")
FOLDERS = ("kept", "lost")
BIGQUERY_PLACES: tuple[tuple[str, Moment], ...] = (
    ("merge statement", "after"),
    ("staging load's marker", "after"),
    ("load record", "before"),
)
"""Where its jobs differ; each takes seconds there."""


@pytest.fixture(scope="module")
def _told() -> Iterator[None]:
    """Says at the end what the histories were made of, if they are many."""
    counted.clear()
    yield
    if MANY:
        print(f"\n{summary()}", file=sys.stderr, flush=True)


def _seeds() -> Iterator[Any]:
    for name in ENGINES + ALSO_LAKES:
        count = MANY // SLOWER[name] if MANY else HISTORIES[name]
        yield from (
            pytest.param(name, seed, id=f"{name}-{seed}")
            for seed in range(FIRST, FIRST + (count or 1))
        )


@pytest.mark.usefixtures("_told")
@pytest.mark.parametrize(("engine_name", "seed"), list(_seeds()))
def test_after_any_history_the_table_says_what_protime_says(
    engine_name: str, seed: int, tmp_path: Path, make_engine: Callable[[str], Engine]
) -> None:
    with new_life(seed, tmp_path, make_engine(engine_name)) as life:
        life.live()


def _places() -> Iterator[Any]:
    """Every point on either side; SQL engine, situation and folder take turns."""
    for (p, point), (m, moment) in product(enumerate(KILL_POINTS), enumerate(MOMENTS)):
        if MANY:
            for engine, situation, folder in product(ENGINES[:2], SITUATIONS, FOLDERS):
                yield _place(engine, point, moment, situation, folder)
        else:
            situation, folder = SITUATIONS[(2 * p + m) % 3], FOLDERS[(p // 2 + m) % 2]
            yield _place(ENGINES[(p + m) % 2], point, moment, situation, folder)
            for lake in ALSO_LAKES[(p + m) % 2 :: 2]:
                yield _place(lake, point, moment, situation, folder)
    for point, moment in BIGQUERY_PLACES if MANY else BIGQUERY_PLACES[:1]:
        yield _place("bigquery", point, moment, "resync", "lost")


def _place(engine: str, point: str, moment: Moment, situation: str, folder: str) -> Any:
    return pytest.param(engine, point, moment, situation, folder)


@pytest.mark.parametrize(
    ("engine", "point", "moment", "situation", "folder"), list(_places()), indirect=["engine"]
)
def test_killed_at_a_point(
    make_world: WorldFactory, point: str, moment: Moment, situation: str, folder: str
) -> None:
    world = make_world(rows=40, page_size=15)
    if situation != "first load":
        load(world.pipeline())
        world.tenant.churn(20, seed=1)
    if situation == "resync":
        world.tenant.clock.advance(hours=73)
    before = timeless(world.seen())
    assert run_until(point, moment, world), f"never came by: {point}"
    left = timeless(world.seen())
    if folder == "lost":
        world.lose_working_folder()
    load(world.pipeline())
    world.check()
    assert left in (before, timeless(world.rows())), "the kill left a table that is half changed"


def test_killed_in_a_first_run_of_an_empty_tenant(make_world: WorldFactory) -> None:
    """The destination has the table then, but a fresh working folder does not know it."""
    world = make_world(rows=0)
    assert run_until("staging load's marker", "after", world)
    world.lose_working_folder()
    load(world.pipeline())
    world.check()


@sql_engines
def test_killed_when_a_first_run_has_created_the_table(make_world: WorldFactory) -> None:
    """No state counts, so a fresh working folder does not know the table that is there."""
    world = make_world(rows=20)
    assert run_until("schema update", "before", world, history=True)
    world.lose_working_folder()
    load(world.pipeline(), history=True)
    world.check()
    recorded = world.query(f"SELECT DISTINCT id FROM {world.dataset}.assignments__history")
    assert {id_ for (id_,) in recorded} == world.rows().keys()


CALLS: dict[str, tuple[int, ...]] = {
    "rename": (2, 7),
    "fsync": (1,),
    "pwrite64": (2,),
    "unlink": (3,),
    "mkdir": (10,),
}
"""System calls that write, and at which of a process's (or a thread's) it is killed."""

if MANY:
    CALLS |= {"link": (), "unlinkat": (), "ftruncate": ()}

CIRCUMSTANCES = ("first loads", "deltas") if MANY else ("deltas",)


@pytest.fixture
def _strace() -> None:
    if shutil.which("strace") is None:
        if "CI" in os.environ:
            pytest.fail("strace is not installed")
        pytest.skip("strace is not installed")


@pytest.mark.usefixtures("_strace")
@pytest.mark.parametrize("circumstances", CIRCUMSTANCES)
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_a_system_call(world: World, call: str, circumstances: str) -> None:
    """From outside, by the kernel: in a first load, and then in deltas or in more first loads."""
    numbers = iter(range(1, 10_000)) if MANY else iter(CALLS[call])
    killed = 0
    while (number := next(numbers, None)) and _is_killed(world, call, number):
        killed += 1
        _again(world)
        if circumstances == "first loads":
            _forget(world)
        else:
            world.tenant.churn(20, seed=number)
    assert killed >= (1 if MANY else len(CALLS[call])), f"{call} is never called"


def _forget(world: World) -> None:
    """Neither a working folder nor a database was ever there."""
    shutil.rmtree(os.environ["DLT_DATA_DIR"])
    world.database.unlink()


def _is_killed(world: World, call: str, number: int) -> bool:
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", inject]
    ended = subprocess.run(
        [*strace, sys.executable, str(SCRIPT)],
        env=environment(world),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode in (0, -SIGKILL), ended.stderr
    return ended.returncode == -SIGKILL


def _again(world: World) -> None:
    finished = run_here(world)
    assert finished.returncode == 0, finished.stderr
    world.check()
