"""The bookmark is all that is remembered, and is only worth something where it was made."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import date

import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import protime
from protime_source.demo import Fault
from tests.conftest import WorldFactory
from tests.world import World

PAGES = 6
YEAR = date.today().year


def _run_counting(world: World, **arguments: object) -> int:
    world.tenant.clear_requests()
    world.run(**arguments)
    return world.requests


def _remembered(world: World) -> int:
    """Characters of what the source remembers; the rest of the state is dlt's, and holds paths."""
    return len(json.dumps(json.loads(_state(world))["sources"]))


def _state(world: World) -> str:
    return json.dumps(world.pipeline().state, default=str)


def test_the_state_is_small_at_any_number_of_rows(make_world: WorldFactory) -> None:
    world = make_world(rows=20_000, page_size=1000)
    world.run(max_pages=5)
    sizes = [_remembered(world)]
    world.run()
    sizes.append(_remembered(world))
    world.tenant.churn(2000)
    world.run()
    sizes.append(_remembered(world))
    assert max(sizes) < 1200
    assert sizes[2] == pytest.approx(sizes[1], abs=40)


def test_no_id_of_a_row_is_in_the_state(world: World) -> None:
    world.run()
    world.tenant.churn(40)
    world.run()
    state = _state(world)
    assert not [id_ for id_ in world.rows() if str(id_) in state]


def test_a_lost_working_folder_costs_nothing(world: World) -> None:
    world.run()
    for _ in range(2):
        world.tenant.churn(40)
        world.lose_working_folder()
        assert _run_counting(world) == 1
        world.check()


def test_another_dataset_gets_a_full_load_of_its_own(world: World) -> None:
    world.run()
    world.tenant.clear_requests()
    world.pipeline(dataset="other").run(protime())
    assert world.requests == PAGES
    count = "SELECT count(*) FROM {}.assignments WHERE NOT is_deleted"
    assert world.query(count.format("other")) == [(300,)]
    world.tenant.churn(40)
    world.run()
    world.check()


def test_another_database_gets_a_full_load_of_its_own(world: World) -> None:
    world.run()
    first, world.database = world.database, world.folder / "second.duckdb"
    world.tenant.churn(40)
    assert _run_counting(world) >= PAGES
    world.check()
    world.database = first
    world.tenant.churn(40)
    assert _run_counting(world) >= PAGES
    world.check()


def test_two_pipelines_in_one_database_do_not_share_a_bookmark(world: World) -> None:
    world.run()
    world.tenant.churn(20)
    world.pipeline("another", "other").run(protime())
    assert world.query("SELECT count(*) FROM other.assignments WHERE NOT is_deleted") == [
        (len(world.tenant.records),)
    ]


def test_another_start_date_gets_a_full_load_of_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "protime_source.progress")
    world.run()
    later = f"{YEAR - 1}-02-01"
    assert _run_counting(world, start_date=later) >= PAGES - 1
    assert _run_counting(world, start_date=later) == 1
    assert _run_counting(world, start_date=f"{YEAR - 1}-01-15") >= PAGES - 1
    assert caplog.text.count(" on: the last run was for another start_date") == 2
    world.check()


def test_a_later_start_date_leaves_what_is_before_it(world: World) -> None:
    world.run()
    for id_ in sorted(world.tenant.records)[:5]:
        world.tenant.delete(id_)
    before = world.rows()
    world.run(start_date=f"{YEAR}-01-01")
    assert not [i for i in sorted(before)[:5] if world.rows()[i]["is_deleted"]]


def test_the_window_does_not_slide_at_new_year(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older window holds all of the newer: the delta goes on."""
    world.run()
    world.tenant.churn(20)
    now = pendulum.now
    monkeypatch.setattr(pendulum, "now", lambda zone=None: now(zone).add(years=1))
    assert _run_counting(world) == 1
    world.check()


def test_a_start_date_that_new_year_made_too_early_still_follows_its_delta(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = f"{YEAR - 1}-01-01"
    world.run(start_date=start)
    now = pendulum.now
    monkeypatch.setattr(pendulum, "now", lambda zone=None: now(zone).add(years=1))
    assert _run_counting(world, start_date=start) == 1


def _drop_table(world: World) -> None:
    world.query("DROP TABLE protime_data.assignments")


def _drop_dataset(world: World) -> None:
    world.query("DROP SCHEMA protime_data CASCADE")


def _delete_file(world: World) -> None:
    world.database.unlink()


@pytest.mark.parametrize("loses_folder", [False, True])
@pytest.mark.parametrize("lose", [_drop_table, _drop_dataset, _delete_file])
def test_what_was_dropped_is_loaded_again(
    world: World, lose: Callable[[World], None], loses_folder: bool
) -> None:
    world.run()
    lose(world)
    if loses_folder:
        world.lose_working_folder()
    world.tenant.churn(20)
    assert _run_counting(world) >= PAGES
    world.check()
    assert _run_counting(world) == 1


def test_an_emptied_table_is_filled_by_a_full_resync(world: World) -> None:
    world.run()
    world.query("DELETE FROM protime_data.assignments")
    world.run(full_resync=True)
    world.check()


def test_a_run_that_fails_leaves_state_and_rows_as_they_were(
    world: World, subtests: pytest.Subtests
) -> None:
    world.run()
    rows, bookmark = world.rows(), world.bookmark()
    world.tenant.churn(30)
    for status in (400, 401, 403, 404, 500):
        with subtests.test(str(status)):
            world.tenant.faults[:] = [Fault("status", status=status, times=99)]
            with pytest.raises(PipelineStepFailed):
                world.run()
            assert (world.rows(), world.bookmark()) == (rows, bookmark)
    world.tenant.faults.clear()
    assert _run_counting(world) == 1
    world.check()


def test_a_first_run_that_fails_leaves_nothing_behind(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=403, after=3))
    with pytest.raises(PipelineStepFailed):
        world.run()
    assert world.pipeline().has_pending_data is False
    assert _run_counting(world) == PAGES
    world.check()


def test_a_delta_expires_72_hours_after_it_was_asked_for(world: World) -> None:
    world.run()
    bookmark = world.bookmark()
    assert (bookmark.expires - bookmark.link_requested).total_seconds() == 72 * 3600


@pytest.mark.parametrize("location", ["http://elsewhere.invalid", "http://[", "//[::1"])
def test_a_link_that_cannot_be_followed_is_not_remembered(world: World, location: str) -> None:
    """Else each later run would refuse it."""
    world.run()
    bookmark, rows = world.bookmark(), world.rows()
    world.tenant.churn(20)
    world.tenant.faults.append(Fault("foreign_link", location=location))
    with pytest.raises(PipelineStepFailed, match="Protime sent a link"):
        world.run()
    assert (world.bookmark(), world.rows()) == (bookmark, rows)
    world.run()
    world.check()


def test_a_full_load_in_parts_resumes_before_a_link_that_cannot_be_followed(
    world: World, every_page_is_a_package: None
) -> None:
    world.tenant.faults.append(Fault("foreign_link", after=2))
    with pytest.raises(PipelineStepFailed, match="Protime sent a link to another host"):
        world.load()
    assert len(world.rows()) == 100
    world.tenant.clear_requests()
    world.load()
    world.check()
    assert world.requests == PAGES - 2 + 1
