"""Each version runs on with what the released ones have left, as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from protime_source.settings import __version__
from protime_source.writeback import push as push_module
from tests.engines import ENGINES, DuckDBEngine, Engine
from tests.pushes import check, push, sent
from tests.upgrades.__main__ import PUSHED, PUSHED_LATER, SETTINGS
from tests.upgrades.archive import Left, unpack, versions
from tests.upgrades.places import in_place, new_tenant, world_of
from tests.upgrades.story import Story
from tests.world import Row, World

KINDS = {
    "complete": ("changes", None),
    "pending": ("changes", None),
    "in_parts": ("full load", "resumed"),
}
"""Mode and reason of the run that goes on."""

released_engines = pytest.mark.parametrize("engine", ENGINES[:2], indirect=True)
"""Those that a released version was told to leave something in."""

CHANGES = ("inserted", "updated", "soft_deleted")
"""Columns of the ledger."""


@dataclass(frozen=True)
class Contents:
    """All that must stay: rows by id, their versions, the ledger's rows."""

    rows: dict[int, Row]
    history: list[Row]
    ledger: list[Row]

    @classmethod
    def of(cls, world: World) -> Contents:
        """What somebody finds there who leaves no trace."""
        with world.engine.aside() as engine:
            aside = replace(world, engine=engine)
            history = _all(aside, "assignments__history", "recorded_at, id")
            return cls(aside.rows(), history, _all(aside, "sync_runs", "started_at, table_name"))


@dataclass
class Stored:
    """What the versions have left, unpacked once.

    Attributes:
        folders: The folder of each version that is unpacked.
        make_folder: Makes one.
    """

    folders: dict[str, Path]
    make_folder: Callable[[str], Path]

    def find(self, version: str, circumstance: str, engine: Engine) -> Left:
        """What a version has left in a circumstance, of such an engine."""
        if version not in self.folders:
            self.folders[version] = self.make_folder("left")
            unpack(version, self.folders[version])
        return Left(self.folders[version] / f"{circumstance}-{engine.name}")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return Stored({}, tmp_path_factory.mktemp)


@released_engines
@pytest.mark.parametrize("circumstance", KINDS)
@pytest.mark.parametrize("version", versions())
def test_a_run_goes_on_where_an_older_version_stopped(
    engine: Engine, version: str, circumstance: str, stored: Stored, tmp_path: Path
) -> None:
    """Nothing is asked for twice, and no pending package is thrown away."""
    left = stored.find(version, circumstance, engine)
    with _world(left, left, in_place(engine), tmp_path) as (world, before):
        _load(world, KINDS[circumstance], pending=int(circumstance == "pending"))
        requests = [each for each in world.tenant.api_requests if each.path.endswith("assignments")]
        assert {each.status for each in requests} == {200}
        _check(world, before)


@released_engines
@pytest.mark.parametrize("version", versions())
def test_a_warehouse_that_was_moved_is_loaded_fully(
    engine: Engine, version: str, stored: Stored, tmp_path: Path
) -> None:
    """That changes no row but those that have changed; what is pending is loaded before."""
    left = stored.find(version, "pending", engine)
    if isinstance(engine, DuckDBEngine):
        (tmp_path / "moved").mkdir()
        engine = DuckDBEngine(tmp_path / "moved" / "other.duckdb")
    with _world(left, left, engine, tmp_path) as (world, before):
        _load(world, ("full load", "the last run was for another destination"), pending=1)
        _check(world, before)


@released_engines
@pytest.mark.parametrize("version", versions())
def test_a_package_of_an_older_version_is_not_loaded_into_another_warehouse(
    engine: Engine, version: str, stored: Stored, tmp_path: Path
) -> None:
    """Its rows are asked for again, from the bookmark that is in this warehouse."""
    left, other = (stored.find(version, name, engine) for name in ("pending", "complete"))
    with _world(left, other, in_place(engine), tmp_path) as (world, before):
        _load(world, ("changes", None), pending=0)
        _check(world, before)


@released_engines
@pytest.mark.parametrize("version", versions())
def test_a_push_goes_on_where_an_older_version_died(
    engine: Engine, version: str, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that one has sent is neither sent again nor changed."""
    monkeypatch.setattr(push_module, "SETTLE_SECONDS", 0)  # the tenant answers at once
    left = stored.find(version, "pushed", engine)
    rows = [*PUSHED, *PUSHED_LATER]
    with _world(left, left, in_place(engine), tmp_path) as (world, _):
        report = push(world, rows)
        assert report.exit_code == 0, str(report)
        assert sent(world) == [("POST", 201)] * (len(PUSHED_LATER) - 1)
        check(world, rows)
        world.tenant.clear_requests()
        assert push(world, rows).counts == {"unchanged": len(rows)}
        assert sent(world) == []
        world.load(**SETTINGS)
        world.check()


@released_engines
@pytest.mark.parametrize("version", versions())
def test_a_machine_without_a_working_folder_goes_on_too(
    engine: Engine, version: str, stored: Stored, tmp_path: Path
) -> None:
    """From the state that the older version has committed in the warehouse."""
    left = stored.find(version, "in_parts", engine)
    with _world(left, left, in_place(engine), tmp_path) as (world, before):
        world.lose_working_folder()
        _load(world, KINDS["in_parts"], pending=0)
        _check(world, before)


def test_what_this_version_leaves_is_stored() -> None:
    assert __version__ in versions(), "python -m tests.upgrades"


@contextmanager
def _world(
    left: Left, warehouse: Left, engine: Engine, folder: Path
) -> Iterator[tuple[World, Contents]]:
    """A tenant and a working folder, and a warehouse; more has happened in the tenant since."""
    tenant = new_tenant()
    story = Story(tenant)
    story.tell(left.steps)
    with world_of(tenant, folder, engine) as world:
        left.put_working_folder(folder)
        warehouse.put_warehouse(engine)
        before = Contents.of(world)
        _change(story, before)
        yield world, before


def _load(world: World, kind: tuple[str, str | None], *, pending: int) -> None:
    """Loads, and looks how.

    Args:
        world: What the run touches.
        kind: Mode and reason of the load of the assignments, as the ledger has them.
        pending: How many packages of an earlier run it loads before.
    """
    assert world.load(**SETTINGS).pending == pending
    newest = world.query(
        f"SELECT mode, reason FROM {world.dataset}.sync_runs WHERE table_name = 'assignments'"
        " ORDER BY started_at DESC LIMIT 1"
    )
    assert newest == [kind]


def _check(world: World, before: Contents) -> None:
    """The table says what the tenant says, what was there before stays, and all is loaded."""
    world.check()
    world.check_tables("people", "departments")
    after = Contents.of(world)
    for id_, row in before.rows.items():
        if row["is_deleted"] and id_ not in world.tenant.records:
            assert _like([after.rows[id_]], [row]) == [row]
    assert before.rows.keys() | world.tenant.records.keys() == after.rows.keys()
    _check_history(before, after)
    for row, now in zip(before.ledger, _like(after.ledger, before.ledger), strict=False):
        assert row["outcome"] == "running" or now == row
    outcomes = [row["outcome"] for row in after.ledger]
    assert "running" not in outcomes
    assert {*outcomes[len(before.ledger) :]} == {"succeeded"}
    assert _read_views(world) >= {
        "assignments__activity_levels",
        "assignments__versions",
        "coverage",
    }

    assert world.load(**SETTINGS).pending == 0

    last = Contents.of(world)
    assert (last.rows, last.history) == (after.rows, after.history)
    assert last.ledger[: len(after.ledger)] == after.ledger
    newest = last.ledger[len(after.ledger) :]
    assert [sum(row[name] for name in CHANGES) for row in newest] == [0, 0, 0]


def _check_history(before: Contents, after: Contents) -> None:
    """It begins with what it was before, has each version once, and ends with the table."""
    assert _like(after.history[: len(before.history)], before.history) == before.history
    keys = {(row["id"], row["recorded_at"]) for row in after.history}
    assert len(keys) == len(after.history), "a version is there twice"
    own = ("recorded_at", "change_type")
    newest = {
        row["id"]: {name: value for name, value in row.items() if name not in own}
        for row in after.history
    }
    assert newest == after.rows


def _change(story: Story, before: Contents) -> None:
    """What has happened since: all that can, and a row comes back."""
    early, other, *_ = story.live
    gone = min(id_ for id_, row in before.rows.items() if row["is_deleted"])
    story.update(early, comments="since the upgrade")
    story.delete(other)
    story.restore(gone, **{"from": "2090-02-01"})
    story.create(**{"from": "2090-02-02"})


def _read_views(world: World) -> set[str]:
    """The views that are there, each of which can be read."""
    query = "SELECT table_name FROM information_schema.views WHERE table_schema = "
    names = {str(name) for (name,) in world.query(f"{query}'{world.dataset}'")}
    counts = [f"SELECT count(*) FROM (SELECT * FROM {world.dataset}.{name}) AS v" for name in names]
    world.query(" UNION ALL ".join(counts))
    return names


def _like(found: list[Row], earlier: list[Row]) -> list[Row]:
    """Rows without the columns that there were not yet."""
    return [{name: row[name] for name in earlier[0]} for row in found]


def _all(world: World, table: str, order: str) -> list[Row]:
    names, rows = world.engine.ask(f"SELECT * FROM {world.dataset}.{table} ORDER BY {order}")
    return [dict(zip(names, values, strict=True)) for values in rows]
