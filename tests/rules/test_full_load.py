"""An expired delta is normal life: one run loads everything, and marks what is gone."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import UnavailableError, VanishedRowsError
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.failures import explain
from protime_source.sync.engine import MAX_FULL_LOADS
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.memory_world import MemoryWorld
from tests.rules.conftest import MemoryFactory
from tests.world import World

MIDDLE = f"{date.today().year}-02-01"
BEFORE, INSIDE = f"{date.today().year}-01-15", f"{date.today().year}-03-15"
SYNC_COLUMNS = ("is_deleted", "deleted_at", "delete_reason", "synced_at")


def _expire(world: World | MemoryWorld) -> None:
    world.tenant.clock.advance(hours=73)


def _values(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in SYNC_COLUMNS}


def _first(world: World | MemoryWorld, count: int) -> list[int]:
    return sorted(world.tenant.records)[:count]


def test_vanished_rows_keep_their_last_known_values(memory: MemoryWorld) -> None:
    memory.run()
    before = memory.rows()
    gone = _first(memory, 20)
    for id_ in gone:
        memory.tenant.delete(id_)
    _expire(memory)
    begun = pendulum.now("UTC")
    memory.run()
    after = memory.rows()
    assert after.keys() == before.keys()
    for id_ in gone:
        row = after[id_]
        assert _values(row) == _values(before[id_])
        assert (row["is_deleted"], row["delete_reason"]) == (True, "vanished")
        assert begun <= row["deleted_at"] <= pendulum.now("UTC")
        assert row["synced_at"] == row["deleted_at"]
    stay = after.keys() - set(gone)
    marks = {
        (after[i]["is_deleted"], after[i]["deleted_at"], after[i]["delete_reason"]) for i in stay
    }
    assert marks == {(False, None, None)}


def test_rows_of_a_clock_that_was_ahead_can_vanish(memory: MemoryWorld) -> None:
    """Beside others: the newest row counts, not the oldest."""
    memory.run()
    ahead, other = _first(memory, 2)
    memory.table.rows_by_id[ahead]["synced_at"] += timedelta(days=1)
    newest = memory.rows()[ahead]["synced_at"]
    memory.tenant.delete(ahead)
    memory.tenant.delete(other)
    _expire(memory)
    memory.run()
    rows = memory.rows()
    assert {rows[id_]["delete_reason"] for id_ in (ahead, other)} == {"vanished"}
    assert min(rows[id_]["synced_at"] for id_ in (ahead, other)) > newest
    memory.check()


@sql_engines
def test_rows_before_the_window_are_left_alone(make_world: WorldFactory) -> None:
    """A row that moved before the window stays, and no full load of the window can show it.

    One on the first day of the window can vanish.
    """
    world = make_world(behaviour=Behaviour(leaving_window="update"))
    moved, gone, first, never = (
        world.tenant.create(person={"id": 7}, **{"from": day})
        for day in (INSIDE, INSIDE, MIDDLE, BEFORE)
    )
    world.run(start_date=MIDDLE)
    world.tenant.update(moved, {"person": {"id": 7}, "from": BEFORE})
    world.tenant.delete(gone)
    world.run(start_date=MIDDLE)
    stored = world.rows()[moved]
    assert stored["from_date"] == date.fromisoformat(BEFORE)
    for id_ in (moved, first, never):
        world.tenant.delete(id_)
    _expire(world)
    world.run(start_date=MIDDLE)
    rows = world.rows()
    assert rows[moved] == stored
    assert rows[gone]["delete_reason"] == "announced"
    assert rows[first]["delete_reason"] == "vanished"
    assert never not in rows


def test_a_row_that_comes_back_is_live_again(make_memory: MemoryFactory) -> None:
    memory = make_memory(behaviour=Behaviour(leaving_window="silent"))
    wanderer = memory.tenant.create(person={"id": 7}, **{"from": INSIDE})
    memory.run(start_date=MIDDLE)
    memory.tenant.update(wanderer, {"person": {"id": 7}, "from": BEFORE})
    _expire(memory)
    memory.run(start_date=MIDDLE)
    assert memory.rows()[wanderer]["delete_reason"] == "vanished"
    memory.tenant.update(wanderer, {"person": {"id": 7}, "from": INSIDE, "comments": "back"})
    memory.run(start_date=MIDDLE)
    row = memory.rows()[wanderer]
    assert (row["is_deleted"], row["deleted_at"], row["delete_reason"]) == (False, None, None)
    assert row["comments"] == "back"


def test_a_row_that_a_later_full_load_shows_again_is_live_again(memory: MemoryWorld) -> None:
    """The version has not moved: the client could not see the person for a while, say."""
    memory.run()
    before = memory.rows()
    hidden = {id_: memory.tenant.records.pop(id_) for id_ in _first(memory, 9)}
    _expire(memory)
    memory.run()
    assert all(memory.rows()[id_]["is_deleted"] for id_ in hidden)
    memory.tenant.records.update(hidden)
    _expire(memory)
    memory.run()
    after = memory.rows()
    assert {id_: {**row, "synced_at": None} for id_, row in after.items()} == {
        id_: {**row, "synced_at": None} for id_, row in before.items()
    }


def test_a_vanished_row_keeps_when_we_learnt_of_it(memory: MemoryWorld) -> None:
    memory.run()
    (gone,) = _first(memory, 1)
    memory.tenant.delete(gone)
    _expire(memory)
    memory.run()
    learnt = memory.rows()[gone]
    _expire(memory)
    memory.run()
    assert memory.rows()[gone] == learnt


def test_an_expired_delta_is_resynced_in_the_same_run_and_the_next_is_one_request(
    memory: MemoryWorld,
) -> None:
    memory.run()
    memory.tenant.churn(60)
    _expire(memory)
    memory.run()
    memory.check()
    memory.tenant.churn(30, seed=2)
    memory.tenant.clear_requests()
    memory.run()
    assert memory.requests == 1
    memory.check()


def _vanish(world: World | MemoryWorld, share: float) -> None:
    for id_ in _first(world, int(len(world.tenant.records) * share)):
        world.tenant.delete(id_)
    _expire(world)


def test_too_many_vanished_rows_change_nothing_until_they_are_allowed(world: World) -> None:
    world.run()
    before, bookmark = world.rows(), world.bookmark()
    world.tenant.update(max(world.tenant.records), {"person": {"id": 7}, "from": INSIDE})
    _vanish(world, 0.6)
    for _ in range(2):
        with pytest.raises(PipelineStepFailed) as caught:
            world.run()
        failure = explain(caught.value)
        assert failure.exit_code == VanishedRowsError.exit_code
        assert "180 of 300 live rows (60%)" in failure.message
        assert "max_vanished_share allows (50%)" in failure.message
        assert "SOURCES__PROTIME__MAX_VANISHED_SHARE=1.0" in failure.message
        assert world.rows() == before
        assert world.bookmark() == bookmark
    world.run(max_vanished_share=1.0)
    world.check()
    assert len(world.rows()) == 300


@pytest.mark.parametrize(("allowed", "share"), [(1.0, 1.0), (0.5, 0.5), (0.6, 0.6)])
def test_an_allowed_share_is_soft_deleted(
    memory: MemoryWorld, allowed: float, share: float
) -> None:
    memory.run()
    _vanish(memory, share)
    memory.run(max_vanished_share=allowed)
    memory.check()
    assert len(memory.rows()) == 300


@pytest.mark.parametrize("is_in_progress", [False, True])
@pytest.mark.parametrize("status", [400, 404])
def test_a_stored_link_that_is_refused_in_another_way_leads_to_a_full_load_too(
    memory: MemoryWorld, status: int, is_in_progress: bool
) -> None:
    memory.run(max_pages=2 if is_in_progress else None)
    memory.tenant.churn(30)
    memory.tenant.faults.append(Fault("status", status=status))
    memory.run()
    memory.check()


@pytest.mark.usefixtures("every_page_is_a_package")
def test_rows_not_shown_by_a_stopped_full_load_are_not_deleted_later(
    make_world: WorldFactory,
) -> None:
    """The last part alone, with all rows back, would let the guard open: it loads all again."""
    world = make_world(rows=30, page_size=10)
    world.load()
    kept = dict(world.tenant.records)
    for id_ in Random(1).sample(sorted(kept), int(0.6 * len(kept))):
        world.tenant.delete(id_)
    for is_first in (True, False):
        with pytest.raises(VanishedRowsError):
            world.load(full_resync=is_first)
    world.tenant.records.update(kept)
    world.lose_working_folder()
    world.load(max_vanished_share=1.0)
    assert world.query(f"SELECT * FROM {world.dataset}.sync_seen_ids") == [], "no longer needed"
    assert len(world.live()) == 30
    world.check()


def test_the_guard_may_be_set_to_nothing_at_all(memory: MemoryWorld) -> None:
    memory.run()
    _vanish(memory, 1 / 300)
    with pytest.raises(VanishedRowsError):
        memory.run(max_vanished_share=0.0)
    assert len(memory.live()) == 300


def test_the_guard_looks_at_the_live_rows_of_the_window_only(make_world: WorldFactory) -> None:
    """Rows before the window, and soft-deleted ones, are no reason to believe that few vanished."""
    world = make_world(behaviour=Behaviour(leaving_window="update"))
    world.run(start_date=MIDDLE)
    inside = sorted(world.live())
    moved, deleted, live = (
        inside[int(len(inside) * begin) : int(len(inside) * end)]
        for begin, end in ((0, 0.4), (0.4, 0.8), (0.8, 1))
    )
    for id_ in moved:
        world.tenant.update(id_, {"person": {"id": 7}, "from": BEFORE})
    for id_ in deleted:
        world.tenant.delete(id_)
    world.run(start_date=MIDDLE)
    assert len(live) >= 20
    for id_ in live[: len(live) // 2 + 1]:
        world.tenant.delete(id_)
    _expire(world)
    with pytest.raises(VanishedRowsError):
        world.load(start_date=MIDDLE)


def test_another_consumer_is_named_as_the_probable_cause(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tables = ("assignments", "people")
    world.load(collections=tables)
    world.tenant.steal_delta()
    world.tenant.faults.append(Fault("status", status=410, where="/people"))
    world.tenant.churn(20)
    caplog.clear()
    caplog.set_level("INFO", "protime_source")
    world.load(collections=tables)
    said = caplog.text
    assert said.count("another consumer has probably started a delta") == 1, "for both of them"
    assert said.count("the delta has expired or was replaced") == len(tables)
    for table in tables:
        assert f"{table}: the delta has expired or was replaced" in said
    world.check()


def test_no_other_consumer_is_suspected_when_a_delta_expired(
    memory: MemoryWorld, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.run()
    now = pendulum.now
    monkeypatch.setattr(pendulum, "now", lambda zone=None: now(zone).add(hours=73))
    _expire(memory)
    memory.run()
    assert "73 hours after its last use; a full load follows." in caplog.text
    assert "another consumer" not in caplog.text


def test_a_full_load_that_fails_changes_nothing(world: World) -> None:
    """Nor does one that was asked for: the next run follows the delta."""
    world.run()
    before, bookmark = world.rows(), world.bookmark()
    world.tenant.churn(80)
    unavailable = Fault("status", status=503, times=99, after=3, where="/assignments?")
    world.tenant.faults.append(unavailable)
    with pytest.raises(PipelineStepFailed) as caught:
        world.run(full_resync=True)
    assert explain(caught.value).exit_code == UnavailableError.exit_code
    assert (world.rows(), world.bookmark()) == (before, bookmark)
    _expire(world)
    world.tenant.faults[:] = [Fault("foreign_link", after=3, where="/assignments?")]
    with pytest.raises(PipelineStepFailed):
        world.run()
    assert (world.rows(), world.bookmark()) == (before, bookmark)
    world.tenant.faults.clear()
    world.run()
    world.check()


def test_a_full_resync_on_request(memory: MemoryWorld) -> None:
    """It finds what a delta would never tell."""
    memory.run()
    lost = _first(memory, 5)
    for id_ in lost:
        del memory.tenant.records[id_]
    memory.tenant.clear_requests()
    memory.run(full_resync=True)
    assert memory.requests == 6
    assert {memory.rows()[id_]["delete_reason"] for id_ in lost} == {"vanished"}
    memory.check()
    memory.tenant.clear_requests()
    memory.run()
    assert memory.requests == 1


def test_more_changes_than_are_read_of_one_answer_lead_to_a_full_load(
    memory: MemoryWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The delta would be as large in each run to come, and each would keep it alive."""
    memory.run()
    memory.tenant.churn(250, seed=1)
    monkeypatch.setattr("protime_source.api.http.MAX_BODY_BYTES", 30_000)
    memory.run()
    memory.check()
    assert "the changes since the last run are more than is read of one answer" in caplog.text


@pytest.mark.usefixtures("every_page_is_a_package")
def test_full_loads_that_restart_again_and_again_fail(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer takes the delta each time before the full load in parts is complete."""
    assert MAX_FULL_LOADS == 5
    monkeypatch.setattr("protime_source.pipeline.load.MAX_FULL_LOADS", 1)
    world = make_world(rows=20, page_size=10)
    world.tenant.faults.append(Fault("status", status=410, times=999, where="/delta/"))
    with pytest.raises(UnavailableError, match="2 full loads were started in this run"):
        world.load()
    assert world.requests < 20
    world.check()
