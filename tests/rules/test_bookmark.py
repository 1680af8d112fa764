"""The bookmark is all that is remembered, and is only worth something where it was made."""

from __future__ import annotations

import json
import logging
from datetime import date

import pendulum
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.demo import Fault
from tests.conftest import WorldFactory
from tests.engines import DuckDBEngine
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


def test_the_state_is_small_at_any_number_of_rows_and_has_no_id(make_world: WorldFactory) -> None:
    world = make_world(rows=3000, page_size=500)
    world.run(max_pages=2)
    sizes = [_remembered(world)]
    world.run()
    sizes.append(_remembered(world))
    world.tenant.churn(300)
    world.run()
    sizes.append(_remembered(world))
    assert max(sizes) < 1200
    assert sizes[2] == pytest.approx(sizes[1], abs=40)
    state = _state(world)
    assert not [id_ for id_ in sorted(world.rows())[::10] if str(id_) in state]


def test_another_dataset_or_database_gets_a_full_load_of_its_own(world: World) -> None:
    world.run()
    first = world.engine
    world.tenant.churn(40)
    world.engine = DuckDBEngine(world.database)
    world.engine.dataset = "other"
    assert _run_counting(world) >= PAGES
    world.check()
    world.check_levels()
    world.engine = DuckDBEngine(world.folder / "second.duckdb")
    assert _run_counting(world) >= PAGES
    world.check()
    world.engine = first
    world.tenant.churn(40)
    assert _run_counting(world) >= PAGES
    world.check()


def test_another_start_date_gets_a_full_load_of_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves what is before it as it is."""
    caplog.set_level(logging.INFO, "protime_source.progress")
    world.run()
    before = sorted(world.tenant.records)[:5]
    for id_ in before:
        world.tenant.delete(id_)
    later = f"{YEAR}-01-01"
    assert _run_counting(world, start_date=later) > 1
    assert before == [id_ for id_ in before if not world.rows()[id_]["is_deleted"]]
    assert _run_counting(world, start_date=later) == 1
    assert _run_counting(world) >= PAGES - 1
    assert caplog.text.count(" on: the last run was for another start_date") == 2
    world.check()


def test_the_window_does_not_slide_at_new_year(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The older window holds all of the newer, and a delta goes on whose start is now too early."""
    start = f"{YEAR - 1}-01-01"
    world.run(start_date=start)
    world.tenant.churn(20)
    now = pendulum.now
    monkeypatch.setattr(pendulum, "now", lambda zone=None: now(zone).add(years=1))
    assert _run_counting(world) == 1
    world.check()
    assert _run_counting(world, start_date=start) == 1


def _drop_table(world: World) -> None:
    world.query("DROP TABLE protime_data.assignments")


def _drop_dataset(world: World) -> None:
    world.query("DROP SCHEMA protime_data CASCADE")


def _delete_file(world: World) -> None:
    world.database.unlink()


def _empty_table(world: World) -> None:
    world.query("DELETE FROM protime_data.assignments")


def test_what_was_dropped_is_loaded_again(world: World, subtests: pytest.Subtests) -> None:
    """Also when the working folder is lost with it, and the bookmark is in the warehouse still."""
    world.run()
    for lose, loses_folder in (
        (_drop_table, False),
        (_drop_dataset, False),
        (_delete_file, False),
        (_empty_table, False),
        (_drop_table, True),
    ):
        with subtests.test(f"{lose.__name__}, {loses_folder}"):
            lose(world)
            if loses_folder:
                world.lose_working_folder()
            world.tenant.churn(20)
            assert _run_counting(world) >= PAGES
            world.check()
    assert _run_counting(world) == 1


def test_a_run_that_fails_leaves_state_and_rows_as_they_were(
    world: World, subtests: pytest.Subtests
) -> None:
    world.tenant.faults.append(Fault("status", status=403, after=3))
    with pytest.raises(PipelineStepFailed):
        world.run()
    assert world.pipeline().has_pending_data is False
    world.tenant.faults.clear()
    assert _run_counting(world) == PAGES
    world.check()
    rows, bookmark = world.rows(), world.bookmark()
    world.tenant.churn(30)
    for status in (400, 403, 500):
        with subtests.test(str(status)):
            world.tenant.faults[:] = [Fault("status", status=status, times=99)]
            with pytest.raises(PipelineStepFailed):
                world.run()
            assert (world.rows(), world.bookmark()) == (rows, bookmark)
    world.tenant.faults.clear()
    assert _run_counting(world) == 1
    world.check()


def test_a_link_that_cannot_be_followed_is_not_remembered(
    world: World, subtests: pytest.Subtests
) -> None:
    """Else each later run would refuse it."""
    world.run()
    bookmark, rows = world.bookmark(), world.rows()
    world.tenant.churn(20)
    for location in ("http://elsewhere.invalid", "http://[", "//[::1"):
        with subtests.test(location):
            world.tenant.faults[:] = [Fault("foreign_link", location=location)]
            with pytest.raises(PipelineStepFailed, match="Protime sent a link"):
                world.run()
            assert (world.bookmark(), world.rows()) == (bookmark, rows)
    world.run()
    world.check()


def test_a_full_load_in_parts_resumes_before_a_link_that_cannot_be_followed(
    make_world: WorldFactory, every_page_is_a_package: None
) -> None:
    world = make_world(rows=60, page_size=20)
    world.tenant.faults.append(Fault("foreign_link", after=1))
    with pytest.raises(PipelineStepFailed, match="Protime sent a link to another host"):
        world.load()
    assert len(world.rows()) == 20
    world.tenant.clear_requests()
    world.load()
    world.check()
    assert world.requests == 2 + 1
