"""`synced_at` moves when a row is written, and never else: mirrors may rely on it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from protime_source.demo import Behaviour
from tests.conftest import WorldFactory
from tests.engines import every_engine, sql_engines
from tests.kill_points import run_until
from tests.world import Row, World


class Mirror:
    """A copy that is fed only by the rows synced since it was last fed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: dict[int, Row] = {}

    def follow(self) -> int:
        """Copies what is new, compares everything, and returns how many rows were new."""
        last = max((row["synced_at"] for row in self.rows.values()), default=None)
        table = self._world.rows()
        new = {i: row for i, row in table.items() if last is None or row["synced_at"] > last}
        self.rows |= new
        assert self.rows == table
        return len(new)


def expire(world: World) -> None:
    world.tenant.clock.advance(hours=73)


def commit(world: World, **changes: str) -> None:
    """Changes the bookmark, here and in the destination."""
    pipeline = world.pipeline()
    with pipeline.managed_state(extract_state=True) as state:
        state["sources"]["protime"]["resources"]["assignments"]["bookmark"].update(changes)
    pipeline.run()


def test_a_mirror_that_follows_synced_at_equals_the_table(make_world: WorldFactory) -> None:
    """Also through what no version tells of: rows that no full load shows, and show again."""
    world = make_world(rows=60, page_size=10)
    mirror = Mirror(world)
    for kind in ("first load", "churn", "hide", "show", "expire", "parts", "resync"):
        if kind in ("hide", "show", "expire", "parts"):
            expire(world)
        match kind:
            case "churn" | "expire":
                world.tenant.churn(9)
            case "hide":
                hidden = min(world.tenant.records)
                record = world.tenant.records.pop(hidden)
            case "show":
                world.tenant.records[hidden] = record
            case "parts":
                world.run(max_pages=2)
                mirror.follow()
        world.run(full_resync=kind == "resync")
        mirror.follow()
    assert mirror.follow() == 0
    world.check()


@every_engine
def test_a_full_load_writes_only_what_differs(world: World) -> None:
    world.run()
    before = world.rows()
    gone, changed = sorted(world.tenant.records)[:2]
    world.tenant.delete(gone)
    fields = {k: v for k, v in world.tenant.records[changed].items() if k != "id"}
    world.tenant.update(changed, {**fields, "comments": "other"})
    expire(world)
    world.run()
    assert sorted(world.staged()) == [gone, changed]
    moved = {i for i, row in world.rows().items() if row["synced_at"] != before[i]["synced_at"]}
    assert moved == {gone, changed}
    assert world.rows()[gone]["delete_reason"] == "vanished"
    world.check()


@sql_engines
def test_a_resync_mends_values_that_were_changed_by_hand(world: World) -> None:
    world.run()
    id_, other = sorted(world.tenant.records)[:2]
    table = f"{world.dataset}.assignments"
    world.query(f"UPDATE {table} SET comments = 'by hand', activity_levels = NULL WHERE id = {id_}")
    world.query(f"UPDATE {table} SET person_id = NULL WHERE id = {other}")
    before = world.rows()
    world.run(full_resync=True)
    world.check()
    moved = {i for i, row in world.rows().items() if row["synced_at"] != before[i]["synced_at"]}
    assert moved == {id_, other}


def test_a_run_that_died_moves_no_row_that_it_did_not_change(world: World) -> None:
    """Also when the next run asks for more again than it lacks."""
    world.run()
    before = world.rows()
    world.tenant.churn(5)
    assert run_until("staging load", "after", world)
    world.lose_working_folder()
    world.load()
    rows = world.rows()
    # A soft-deleted row keeps its version.
    told = ("change_version", "is_deleted")
    same = {id_ for id_ in before if all(before[id_][each] == rows[id_][each] for each in told)}
    assert len(same) > len(before) / 2
    assert {id_: rows[id_] for id_ in same} == {id_: before[id_] for id_ in same}
    world.check()


def test_an_event_that_says_what_is_stored_moves_nothing(world: World) -> None:
    world.run()
    link = world.bookmark().link
    world.tenant.churn(10)
    world.run()
    before = world.rows()
    commit(world, link=link)
    world.run()
    assert world.rows() == before
    world.check()


def test_synced_at_grows_when_the_machines_clock_was_ahead(world: World) -> None:
    world.run()
    commit(world, last_synced_at="2099-01-01T00:00:00+00:00")
    world.tenant.churn(10)
    before = world.rows()
    world.run()
    moved = [row for id_, row in world.rows().items() if row != before.get(id_)]
    assert moved
    assert all(row["synced_at"].year == 2099 for row in moved)


EMPTY: dict[str, Callable[[str], str]] = {
    "emptied": lambda table: f"DELETE FROM {table}",
    "without a column": lambda table: f"ALTER TABLE {table} DROP COLUMN comments",
}


def test_a_table_that_was_edited_by_hand_is_loaded_fully(
    world: World, subtests: pytest.Subtests, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    for name, edit in EMPTY.items():
        with subtests.test(name):
            caplog.clear()
            world.query(edit(f"{world.dataset}.assignments"))
            world.tenant.churn(5)
            world.run()
            world.check()
            assert "a full load brings what is missing" in caplog.text


def test_a_table_with_restored_rows_alone_is_loaded_fully_once_it_is_emptied(
    make_world: WorldFactory,
) -> None:
    world = make_world(rows=1)
    [(id_, record)] = world.tenant.records.items()
    fields = {name: record[name] for name in ("person", "from")}
    world.run()
    world.tenant.delete(id_)
    world.run()
    world.run(full_resync=True)
    world.tenant.restore(id_, fields)
    world.run()
    world.query(f"DELETE FROM {world.dataset}.assignments")
    world.run()
    world.check()


def test_an_undocumented_change_type_leads_to_a_full_load(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    world.tenant.churn(10)
    monkeypatch.setattr("protime_source.sync.events.UPDATE", "something else")
    world.run()
    world.check()
    assert "undocumented change type 'InsertOrUpdate'" in caplog.text


@pytest.mark.parametrize("shows_another", [True, False])
def test_an_undated_row_vanishes_only_if_the_full_load_shows_undated_rows(
    make_world: WorldFactory, shows_another: bool
) -> None:
    world = make_world(behaviour=Behaviour(window="overlap"))
    undated, other = sorted(world.tenant.records)[:2]
    world.run()
    table = f"{world.dataset}.assignments"
    world.query(f"UPDATE {table} SET from_date = NULL WHERE id = {undated}")
    if shows_another:
        # Year 0 is unreadable, so the date is empty here.
        day = {"from": "0000-01-15", "until": str(date.today())}
        fields = {k: v for k, v in world.tenant.records[other].items() if k != "changeVersion"}
        world.tenant.write("assignments", other, {**fields, **day})
    world.tenant.records.pop(undated)
    expire(world)
    world.run()
    assert world.rows()[undated]["is_deleted"] is shows_another
