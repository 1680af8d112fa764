"""Writes what this version leaves: a warehouse and a working folder in each circumstance.

    uv run python -m tests.upgrades

Before each release. `tests/system/test_upgrades.py` has all later versions run on with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from dlt.common.configuration.container import Container
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

from protime_source.settings import __version__
from tests.engines import DuckDBEngine, PostgresEngine
from tests.kill_points import run_until
from tests.pushes import Pusher, creates, wanted
from tests.servers.postgres import PostgresServer
from tests.upgrades.archive import Left, archive_of, pack
from tests.upgrades.places import DATABASE, in_place, new_tenant, world_of
from tests.upgrades.story import Story
from tests.world import World

SETTINGS: dict[str, Any] = {
    "collections": "assignments,people,departments",
    "history": True,
    "models": True,
}
"""One that tells its changes and has a history, one whose link no new tenant knows, and one
without a delta."""

PUSHED = wanted(4, from_date=date(2090, 3, 2))
"""Of each of them Protime has one."""

PUSHED_LATER = [
    {**row, "key": f"late-{row['key']}", "from_date": date(2090, 3, 3)} for row in PUSHED
]
"""Of these Protime has the first."""

_DAYS = [f"2090-01-{day:02}" for day in range(1, 26)]
"""Within the window of a run in any year to come."""


def complete(world: World, story: Story) -> None:
    """All was loaded: some rows are soft-deleted, announced or found to be missing."""
    first, second, third, *_ = [
        story.create(**{"from": day, "until": day}, comments=f"Forklift “B”, {day}", **_TIMES)
        for day in _DAYS
    ]
    story.delta_was_started()
    world.load(**SETTINGS)
    story.update(first, comments="İkinci hâli")
    story.delete(second)
    world.load(**SETTINGS)
    story.delete(third)
    world.tenant.clock.advance(hours=73)
    story.delta_was_started()
    world.load(**SETTINGS)
    story.create(**{"from": _DAYS[-1]}, isRejected=True)
    world.load(**SETTINGS)


def pending(world: World, story: Story) -> None:
    """A run has died before it merged what it had received and copied to the staging tables."""
    complete(world, story)
    _change(story)
    assert run_until("merge statement", "before", world, **SETTINGS)


def in_parts(world: World, story: Story) -> None:
    """A full load has shown its first page; rows have gone since the last one, and since then."""
    complete(world, story)
    _change(story)
    world.tenant.clock.advance(hours=73)
    story.delta_was_started()
    world.run(**SETTINGS, max_pages=1)
    _change(story)


def pushed(world: World, story: Story) -> None:
    """Some assignments were pushed; a push of more was killed when Protime had created one."""
    complete(world, story)
    with ExitStack() as opened:
        pusher = Pusher(world, opened)
        pusher.push(PUSHED)
        with pusher.killed_at(1, only=creates) as killer:
            pusher.push([*PUSHED, *PUSHED_LATER])
        assert killer.is_dead
    story.catch_up()


CIRCUMSTANCES: dict[str, Callable[[World, Story], None]] = {
    "complete": complete,
    "pending": pending,
    "in_parts": in_parts,
    "pushed": pushed,
}

_LEVELS = [
    {"level": 1, "activityDefinition": {"id": "5d3c1a52-6a3e-4d7e-9f0b-0b6a6f5a2c11"}},
    {"level": 2, "activityDefinition": {"id": "f7a0c1de-13f1-4a37-8d8f-5f9f3b1f2e22"}},
]
_TIMES = {
    "startTimeInMinutes": -60,
    "endTimeInMinutes": 420,
    "breakDurationInMinutes": 30,
    "activityLevels": _LEVELS,
}


def _change(story: Story) -> None:
    """Among the rows of the first page, and of the last."""
    early, other, *_, late = story.live
    story.delete(early)
    story.update(other, comments="")
    story.update(late, comments="moved", **{"from": _DAYS[0]})
    story.create(**{"from": _DAYS[3]})


@contextmanager
def _folder_of_its_own() -> Iterator[Path]:
    """An empty one, without any of the machine's settings; dlt notes the name of its system."""
    with TemporaryDirectory(prefix="protime-") as name:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "PYTHONPATH")}
        own = {"DLT_DATA_DIR": f"{name}/dlt", "RUNTIME__DLTHUB_TELEMETRY": "false"}
        unnamed = mock.patch("platform.release", return_value="")
        with mock.patch.dict(os.environ, {**kept, **own}, clear=True), chdir(name), unnamed:
            Container()[PluggableRunContext].reload_providers()
            yield Path(name)


def main() -> None:
    with PostgresServer() as server, TemporaryDirectory(prefix="protime-") as all_left:
        for circumstance, act in CIRCUMSTANCES.items():
            for name, url in (("duckdb", ""), ("postgres", server.create_database())):
                engine = PostgresEngine(url) if url else DuckDBEngine(DATABASE)
                tenant = new_tenant()
                story = Story(tenant)
                with _folder_of_its_own() as working:
                    with world_of(tenant, working, in_place(engine)) as world:
                        act(world, story)
                    left = Left(Path(all_left, f"{circumstance}-{name}"))
                    left.keep(working, story.steps, server, url)
        pack(__version__, Path(all_left))
    written = archive_of(__version__)
    print(f"{written}: {written.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
