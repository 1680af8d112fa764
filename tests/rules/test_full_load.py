"""An expired delta is normal life: one run loads everything, and marks what is gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from random import Random

import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import UnavailableError, VanishedRowsError
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.failures import explain
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.world import World

MIDDLE = f"{date.today().year}-02-01"
BEFORE, INSIDE = f"{date.today().year}-01-15", f"{date.today().year}-03-15"
SYNC_COLUMNS = ("is_deleted", "deleted_at", "delete_reason", "synced_at")


def _expire(world: World) -> None:
    world.tenant.clock.advance(hours=73)


def _values(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in SYNC_COLUMNS}


def _first(world: World, count: int) -> list[int]:
    return sorted(world.tenant.records)[:count]


def test_vanished_rows_keep_their_last_known_values(world: World) -> None:
    world.run()
    before = world.rows()
    gone = _first(world, 20)
    for id_ in gone:
        world.tenant.delete(id_)
    _expire(world)
    begun = pendulum.now("UTC")
    world.run()
    after = world.rows()
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


def test_a_row_on_the_first_day_of_the_window_can_vanish(world: World) -> None:
    first, second = (
        world.tenant.create(person={"id": 7}, **{"from": day}) for day in (MIDDLE, BEFORE)
    )
    world.run(start_date=MIDDLE)
    world.tenant.delete(first)
    world.tenant.delete(second)
    _expire(world)
    world.run(start_date=MIDDLE)
    assert world.rows()[first]["delete_reason"] == "vanished"
    assert second not in world.rows()


def test_rows_of_a_clock_that_was_ahead_can_vanish(world: World) -> None:
    """Beside others: the newest row counts, not the oldest."""
    world.run()
    ahead, other = _first(world, 2)
    world.query(f"""
        UPDATE {world.dataset}.assignments SET synced_at = synced_at + INTERVAL '1' DAY
        WHERE id = {ahead}
    """)
    world.tenant.delete(ahead)
    world.tenant.delete(other)
    _expire(world)
    world.run()
    assert {world.rows()[id_]["delete_reason"] for id_ in (ahead, other)} == {"vanished"}
    world.check()


@sql_engines
def test_rows_before_the_window_are_left_alone(make_world: WorldFactory) -> None:
    """A row that moved before the window stays, and no full load of the window can show it."""
    world = make_world(behaviour=Behaviour(leaving_window="update"))
    moved, gone = (
        world.tenant.create(person={"id": 7}, **{"from": INSIDE}, comments=text) for text in "ab"
    )
    world.run(start_date=MIDDLE)
    world.tenant.update(moved, {"person": {"id": 7}, "from": BEFORE})
    world.tenant.delete(gone)
    world.run(start_date=MIDDLE)
    stored = world.rows()[moved]
    assert stored["from_date"] == date.fromisoformat(BEFORE)
    world.tenant.delete(moved)
    _expire(world)
    world.run(start_date=MIDDLE)
    assert world.rows()[moved] == stored
    assert world.rows()[gone]["delete_reason"] == "announced"


def test_a_row_that_comes_back_is_live_again(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(leaving_window="silent"))
    wanderer = world.tenant.create(person={"id": 7}, **{"from": INSIDE})
    world.run(start_date=MIDDLE)
    world.tenant.update(wanderer, {"person": {"id": 7}, "from": BEFORE})
    _expire(world)
    world.run(start_date=MIDDLE)
    assert world.rows()[wanderer]["delete_reason"] == "vanished"
    world.tenant.update(wanderer, {"person": {"id": 7}, "from": INSIDE, "comments": "back"})
    world.run(start_date=MIDDLE)
    row = world.rows()[wanderer]
    assert (row["is_deleted"], row["deleted_at"], row["delete_reason"]) == (False, None, None)
    assert row["comments"] == "back"


def test_a_row_that_a_later_full_load_shows_again_is_live_again(make_world: WorldFactory) -> None:
    """The version has not moved: the client could not see the person for a while, say."""
    world = make_world()
    world.run()
    before = world.rows()
    hidden = {id_: world.tenant.records.pop(id_) for id_ in _first(world, 9)}
    _expire(world)
    world.run()
    assert all(world.rows()[id_]["is_deleted"] for id_ in hidden)
    world.tenant.records.update(hidden)
    _expire(world)
    world.run()
    after = world.rows()
    assert {id_: {**row, "synced_at": None} for id_, row in after.items()} == {
        id_: {**row, "synced_at": None} for id_, row in before.items()
    }


def test_a_vanished_row_keeps_when_we_learnt_of_it(world: World) -> None:
    world.run()
    (gone,) = _first(world, 1)
    world.tenant.delete(gone)
    _expire(world)
    world.run()
    learnt = world.rows()[gone]
    _expire(world)
    world.run()
    assert world.rows()[gone] == learnt


def test_an_expired_delta_is_resynced_in_the_same_run_and_the_next_is_one_request(
    world: World,
) -> None:
    world.run()
    world.tenant.churn(60)
    _expire(world)
    world.run()
    world.check()
    world.tenant.churn(30, seed=2)
    world.tenant.clear_requests()
    world.run()
    assert world.requests == 1
    world.check()


def _vanish(world: World, share: float) -> None:
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
def test_an_allowed_share_is_soft_deleted(world: World, allowed: float, share: float) -> None:
    world.run()
    _vanish(world, share)
    world.run(max_vanished_share=allowed)
    world.check()
    assert len(world.rows()) == 300


@pytest.mark.parametrize("is_in_progress", [False, True])
@pytest.mark.parametrize("status", [400, 404])
def test_a_stored_link_that_is_refused_in_another_way_leads_to_a_full_load_too(
    world: World, status: int, is_in_progress: bool
) -> None:
    world.run(max_pages=2 if is_in_progress else None)
    world.tenant.churn(30)
    world.tenant.faults.append(Fault("status", status=status))
    world.run()
    world.check()


@pytest.mark.usefixtures("every_page_is_a_package")
@pytest.mark.parametrize(("share", "allowed"), [(0.52, 0.5), (0.6, 1.0)])
def test_rows_not_shown_by_a_stopped_full_load_are_not_deleted_later(
    make_world: WorldFactory, share: float, allowed: float
) -> None:
    """The last part alone, with all rows back, would let the guard open: it loads all again."""
    world = make_world(rows=150)
    world.load()
    kept = dict(world.tenant.records)
    for id_ in Random(1).sample(sorted(kept), int(share * len(kept))):
        world.tenant.delete(id_)
    for is_first in (True, False):
        with pytest.raises(VanishedRowsError):
            world.load(full_resync=is_first)
    world.tenant.records.update(kept)
    world.lose_working_folder()
    world.load(max_vanished_share=allowed)
    assert len(world.live()) == 150
    world.check()


def test_the_guard_may_be_set_to_nothing_at_all(world: World) -> None:
    world.run()
    _vanish(world, 1 / 300)
    with pytest.raises(PipelineStepFailed):
        world.run(max_vanished_share=0.0)
    assert len(world.live()) == 300


def test_the_guard_looks_at_the_window_only(make_world: WorldFactory) -> None:
    """Rows before the window are no reason to believe that few of its rows vanished."""
    world = make_world(behaviour=Behaviour(leaving_window="update"))
    world.run(start_date=MIDDLE)
    inside = sorted(world.live())
    for id_ in inside[: int(len(inside) * 0.8)]:
        world.tenant.update(id_, {"person": {"id": 7}, "from": BEFORE})
    world.run(start_date=MIDDLE)
    for id_ in inside[int(len(inside) * 0.9) :]:
        world.tenant.delete(id_)
    world.tenant.delete(inside[int(len(inside) * 0.85)])
    _expire(world)
    with pytest.raises(PipelineStepFailed) as caught:
        world.run(start_date=MIDDLE)
    assert explain(caught.value).exit_code == VanishedRowsError.exit_code


def test_another_consumer_is_named_as_the_probable_cause(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tables = ("assignments", "people", "contracts")
    world.load(collections=tables)
    world.tenant.steal_delta()
    gone = [Fault("status", status=410, where=f"/{name}") for name in tables[1:]]
    world.tenant.faults += gone
    world.tenant.churn(20)
    caplog.clear()
    caplog.set_level("INFO", "protime_source")
    world.load(collections=tables)
    said = caplog.text
    assert said.count("another consumer has probably started a delta") == 1, "for all of them"
    assert said.count("the delta has expired or was replaced") == len(tables)
    for table in tables:
        assert f"{table}: the delta has expired or was replaced" in said
    world.check()


def test_no_other_consumer_is_suspected_when_a_delta_expired(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    now = pendulum.now
    monkeypatch.setattr(pendulum, "now", lambda zone=None: now(zone).add(hours=73))
    _expire(world)
    world.run()
    assert "73 hours after its last use; a full load follows." in caplog.text
    assert "another consumer" not in caplog.text


def _unavailable() -> Fault:
    return Fault("status", status=503, times=99, after=3, where="/assignments?")


def _other_host() -> Fault:
    return Fault("foreign_link", after=3, where="/assignments?")


@pytest.mark.parametrize("fault", [_unavailable, _other_host])
def test_a_full_load_that_fails_changes_nothing(world: World, fault: Callable[[], Fault]) -> None:
    world.run()
    before, bookmark = world.rows(), world.bookmark()
    world.tenant.churn(80)
    _expire(world)
    world.tenant.faults.append(fault())
    with pytest.raises(PipelineStepFailed):
        world.run()
    assert world.rows() == before
    assert world.bookmark() == bookmark
    world.tenant.faults.clear()
    world.run()
    world.check()


def test_a_full_resync_on_request(world: World) -> None:
    """It finds what a delta would never tell."""
    world.run()
    lost = _first(world, 5)
    for id_ in lost:
        del world.tenant.records[id_]
    world.tenant.clear_requests()
    world.run(full_resync=True)
    assert world.requests == 6
    assert {world.rows()[id_]["delete_reason"] for id_ in lost} == {"vanished"}
    world.check()
    world.tenant.clear_requests()
    world.run()
    assert world.requests == 1


def test_a_full_resync_that_fails_leaves_the_table_right(world: World) -> None:
    world.run()
    before = world.rows()
    world.tenant.faults.append(_unavailable())
    with pytest.raises(PipelineStepFailed) as caught:
        world.run(full_resync=True)
    assert explain(caught.value).exit_code == UnavailableError.exit_code
    assert world.rows() == before
    world.tenant.faults.clear()
    world.tenant.churn(10)
    world.run()
    world.check()


def test_more_changes_than_are_read_of_one_answer_lead_to_a_full_load(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The delta would be as large in each run to come, and each would keep it alive."""
    world.run()
    world.tenant.churn(250, seed=1)
    monkeypatch.setattr("protime_source.api.http.MAX_BODY_BYTES", 30_000)
    world.run()
    world.check()
    assert "the changes since the last run are more than is read of one answer" in caplog.text


@pytest.mark.usefixtures("every_page_is_a_package")
def test_full_loads_that_restart_again_and_again_fail(make_world: WorldFactory) -> None:
    """A consumer takes the delta each time before the full load in parts is complete."""
    world = make_world(rows=20, page_size=10)
    world.tenant.faults.append(Fault("status", status=410, times=999, where="/delta/"))
    with pytest.raises(UnavailableError, match="6 full loads were started in this run"):
        world.load()
    assert world.requests < 60
    world.check()
