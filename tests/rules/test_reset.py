"""A collection is forgotten on request, and the next run loads it anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from protime_source import (
    AlreadyRunningError,
    Reset,
    SettingsError,
    WarehouseError,
    load,
    protime,
    reset,
    status,
)
from protime_source.demo import Fault
from protime_source.pipeline.failures import explain
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.states import read_bookmark
from tests.command import fits, reason, run_here
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.world import World

VIEW = "assignments__activity_levels"


def forget(world: World, *collections: str, pipeline: str = "protime", **options: Any) -> Reset:
    """A reset, printed in 100 columns; Protime was asked for nothing."""
    world.tenant.requests.clear()
    found = reset(world.pipeline(pipeline), *collections, **options)
    assert world.tenant.requests == []
    assert fits(str(found))
    return found


@every_engine
def test_a_collection_is_forgotten_and_loaded_anew(world: World) -> None:
    world.load(collections=("assignments", "people"))
    people = world.rows("people")
    bookmark = read_bookmark(world.pipeline(), "people")
    found = forget(world, "assignments")
    assert (found.tables, found.views) == (("assignments",), (VIEW,))
    assert (found.bookmarks, found.histories) == (("assignments",), ())
    assert "The next run loads assignments anew." in " ".join(str(found).split())
    for name in ("assignments", VIEW):
        assert not world.engine.holds(name)
    assert read_bookmark(world.pipeline(), "assignments") is None
    assert [each.table_name for each in status(world.pipeline()).collections] == ["people"]
    assert found.ledger_rows == 1
    assert (world.rows("people"), read_bookmark(world.pipeline(), "people")) == (people, bookmark)
    world.tenant.churn(20)
    world.load(collections=("assignments", "people"))
    world.check()
    world.check_levels()
    world.check_tables("people")


def test_the_command_asks_and_names_the_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run()
    monkeypatch.setattr("sys.stdin", StringIO("no\nyes\n"))
    kept = run_here(world, "assignments", command="reset")
    assert kept.returncode == 2
    assert "Nothing was changed." in reason(kept)
    for words in (str(world.database), "dataset protime_data", "rows in the ledger"):
        assert words in kept.stdout
    assert len(world.rows()) == 300
    assert "ledger rows: " in run_here(world, "assignments", command="reset").stdout
    assert not world.engine.holds("assignments")


def test_it_needs_no_working_folder(world: World) -> None:
    world.run()
    elsewhere = replace(world, folder=world.folder / "elsewhere")
    assert forget(elsewhere, "assignments").bookmarks == ("assignments",)
    assert not world.engine.holds("assignments")
    world.run()
    world.check()


def test_what_another_pipeline_loaded_from_another_tenant_is_cleared(
    world: World, make_world: WorldFactory
) -> None:
    load(world.pipeline("theirs"), collections=("assignments", "departments"))
    other = make_world(seed=2)
    with pytest.raises(Exception, match="protime reset all") as caught:
        other.run()
    assert explain(caught.value).exit_code == WarehouseError.exit_code
    found = forget(other, "all")
    assert {*found.tables} == {"assignments", "departments"}
    assert found.bookmarks == ("assignments",)
    other.run()
    other.check()


def test_a_dataset_with_one_collection_of_another_tenant_is_still_refused(
    world: World, make_world: WorldFactory
) -> None:
    world.load(collections=("assignments", "departments"))
    other = make_world(seed=2)
    forget(other, "assignments")
    with pytest.raises(Exception, match="departments was loaded from"):
        other.run()


def test_a_history_is_dropped_only_on_request(world: World) -> None:
    names = ("assignments__history", "assignments__versions")
    world.run(history=True)
    for history, versions in ((False, 600), (True, 300)):
        found = forget(world, "assignments", history=history)
        assert [world.engine.holds(name) for name in names] == [not history] * 2
        assert found.histories == (() if history else names[:1])
        assert (names[0] in found.tables, names[1] in found.views) == (history, history)
        world.run(history=True)
        world.check()
        counted = world.query(f"SELECT COUNT(*) FROM {world.dataset}.{names[0]}")
        assert counted == [(versions,)]


def test_what_an_earlier_run_left_is_thrown_away(world: World) -> None:
    world.run()
    world.tenant.churn(9)
    world.pipeline().extract(protime())
    forget(world, "assignments")
    assert not world.pipeline().has_pending_data
    assert not world.engine.holds("assignments")
    world.run()
    world.check()


def test_the_changes_that_were_pending_for_others_are_asked_for_again(world: World) -> None:
    world.load(collections=("assignments", "people"))
    world.tenant.churn(9)
    world.pipeline().extract(protime("assignments", "people"))
    forget(world, "people")
    world.load(collections=("assignments", "people"))
    world.check()
    world.check_tables("people")


def test_a_full_load_in_parts_is_forgotten(
    make_world: WorldFactory, every_page_is_a_package: None
) -> None:
    world = make_world(rows=30, page_size=10)
    world.tenant.faults.append(Fault("status", status=418, after=2, times=99))
    with pytest.raises(Exception, match="load"):
        world.load()
    assert len(world.rows()) == 20
    world.tenant.faults.clear()
    forget(world, "assignments")
    world.load()
    world.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_view_of_somebody_else_keeps_all_as_it_is(world: World) -> None:
    world.run()
    before = world.rows()
    for read in (VIEW, "assignments"):  # what reads the table may cost our view, until a run
        world.query("DROP VIEW IF EXISTS theirs")
        world.query(f"CREATE VIEW theirs AS SELECT * FROM {world.dataset}.{read}")
        with pytest.raises(Exception, match="depend") as caught:
            forget(world, "assignments")
        failure = explain(caught.value)
        assert failure.exit_code == WarehouseError.exit_code
        assert failure.message.endswith("It is view theirs."), read
        assert world.rows() == before
    world.tenant.churn(9)
    world.tenant.clear_requests()
    world.load()
    assert world.requests == 1, "the bookmark is kept"
    world.check()
    assert world.query(f"SELECT * FROM {world.dataset}.{VIEW} LIMIT 1")


def test_without_a_warehouse_nothing_is_created(world: World) -> None:
    found = forget(world, "all")
    assert (found.tables, found.views, found.bookmarks) == ((), (), ())
    assert "nothing to forget" in str(found)
    assert not [*world.folder.glob("*.duckdb*")]


def test_a_run_that_is_at_work_is_not_disturbed(world: World) -> None:
    world.run()
    pipeline = world.pipeline()
    with one_run(pipeline.working_dir), ThreadPoolExecutor(1) as thread:
        other = thread.submit(reset, pipeline, "assignments")
        assert isinstance(other.exception(), AlreadyRunningError)
    assert world.engine.holds("assignments")


def test_what_to_forget_is_named(world: World) -> None:
    world.run()
    for names in ((), ("asignments",), ("all", "people")):
        with pytest.raises(SettingsError, match="Nothing was changed"):
            reset(world.pipeline(), *names)
        assert world.engine.holds("assignments")
