"""The rules that make the table trustworthy, each on the engines where it can differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import date

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import protime
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.recovery import load_pending
from tests.conftest import WorldFactory
from tests.engines import every_engine, sql_engines
from tests.world import Moment, Row, World, timeless

TODAY = date.today().isoformat()
PERSON = {"person": {"id": 7}, "from": TODAY}


def _first(world: World, count: int) -> list[int]:
    return sorted(world.tenant.records)[:count]


@every_engine
def test_a_first_load_then_changes_then_nothing(world: World) -> None:
    """With a working folder that is lost in between: the destination knows where it stands."""
    world.run()
    world.check()
    world.check_levels()
    world.tenant.churn(60)
    world.lose_working_folder()
    world.tenant.clear_requests()
    world.run()
    assert world.requests == 1
    world.check()
    before = world.rows()
    world.run()
    assert world.requests == 2
    assert world.rows() == before


def test_old_events_and_repeated_ones_change_nothing(world: World) -> None:
    """Replayed from the link of an earlier run, as after a lost working folder."""
    world.run()
    old = world.bookmark()
    world.tenant.churn(60)
    world.run()
    before = timeless(world.rows())
    with world.pipeline().managed_state() as state:
        resource = state["sources"]["protime"]["resources"]["assignments"]
        resource["bookmark"]["link"] = old.link
    world.run()
    assert timeless(world.rows()) == before


def _edit_between_pages(world: World, ids: list[int]) -> None:
    """Of the rows that the second page repeats, some get a newer version before it is asked for."""

    def edit() -> None:
        for id_ in ids:
            world.tenant.update(id_, {**PERSON, "comments": "newer"})

    world.tenant.faults.append(Moment(after=1, where="/assignments?", action=edit))


@every_engine
@pytest.mark.usefixtures("every_page_is_a_table")
def test_a_full_load_that_repeats_rows_in_other_versions(make_world: WorldFactory) -> None:
    """Each id is staged several times then: the first load inserts it once, a later one updates."""
    world = make_world(rows=120, behaviour=Behaviour(page_overlap=20))
    edited = sorted(world.tenant.records)[35:45]
    for _ in range(2):
        _edit_between_pages(world, edited)
        world.run()
        assert not world.tenant.faults
        staged = Counter(world.staged())
        assert {staged[id_] for id_ in edited} == {2}
        world.check()
        world.tenant.clock.advance(hours=73)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_deletes_keep_the_last_values_and_a_return_revives(make_world: WorldFactory) -> None:
    """A row leaves the window, which the delta announces as a delete, and returns."""
    world = make_world(rows=60)
    last_year = date.today().year - 1
    start, before = f"{last_year}-02-01", f"{last_year}-01-15"
    wanderer = world.tenant.create({**PERSON, "comments": "kept"})
    world.run(start_date=start)
    world.tenant.update(wanderer, {**PERSON, "from": before})
    world.run(start_date=start)
    row = world.rows()[wanderer]
    assert (row["is_deleted"], row["delete_reason"], row["comments"]) == (True, "announced", "kept")
    assert row["deleted_at"] is not None
    world.tenant.update(wanderer, {**PERSON, "comments": "back"})
    world.run(start_date=start)
    row = world.rows()[wanderer]
    assert (row["is_deleted"], row["delete_reason"], row["deleted_at"]) == (False, None, None)
    assert row["comments"] == "back"


@every_engine
def test_a_full_load_in_parts_with_changes_a_lost_folder_and_a_dead_link(world: World) -> None:
    world.run(max_pages=2)
    world.tenant.churn(30)
    world.lose_working_folder()
    world.run(max_pages=2)
    world.tenant.faults.append(Fault("status", status=409))
    world.tenant.churn(30)
    world.run()
    world.run()
    world.check()


def test_a_failing_run_changes_nothing(world: World) -> None:
    world.run()
    before, bookmark = world.rows(), world.bookmark()
    world.tenant.churn(30)
    world.tenant.faults.append(Fault("status", status=403))
    with pytest.raises(PipelineStepFailed):
        world.run()
    assert (world.rows(), world.bookmark()) == (before, bookmark)
    world.run()
    world.check()


LONG = "aFieldWhoseNameIsLongerThanThe63CharactersThatPostgresAllowsForTheNameOfAColumn"


@every_engine
def test_a_column_that_protime_adds(world: World) -> None:
    """It keeps its values when the row is deleted, and its type when Protime changes its mind."""
    world.run()
    extra = {"costCentre": {"code": "A1"}, "tags": ["x", 1], "isRemote": True}
    numbers = {"places": 7, "ratio": 1.5, "huge": 2**70, LONG: "long"}
    world.tenant.behaviour = Behaviour(extra_fields={**extra, **numbers})
    id_ = world.tenant.create(PERSON)
    world.run()
    row = world.rows()[id_]
    assert (row["cost_centre_code"], row["is_remote"]) == ("A1", True)
    assert (row["places"], row["ratio"], row["huge"]) == (7, 1.5, str(2**70))
    assert row["tags"].replace(" ", "") == '["x",1]'
    assert [name for name, value in row.items() if value == "long" and len(name) > 50]
    world.check()
    world.check_levels()
    world.tenant.delete(id_)
    world.tenant.behaviour = Behaviour(extra_fields={"places": "many", "ratio": 2, "huge": [1]})
    changed = world.tenant.create(PERSON)
    world.run()
    assert _values(world.rows()[id_], row.keys()) == _values({**row, "is_deleted": True})
    row = world.rows()[changed]
    assert (row["places__v_text"], row["ratio"]) == ("many", 2.0)
    lists = "huge" if world.engine.name == "bigquery" else "huge__v_json"
    assert row[lists] == "[1]"


def _values(row: Row, names: Collection[str] = ()) -> Row:
    """A row without what tells of its deletion, and without columns that came later."""
    times = ("change_version", "deleted_at", "delete_reason", "synced_at")
    return {name: row[name] for name in names or row if name not in times}


@sql_engines
def test_a_package_that_waited_while_another_pipeline_loaded_newer_rows(
    make_world: WorldFactory,
) -> None:
    """What it was compared with when it was extracted is not what it meets."""
    world = make_world(rows=60)
    world.run()
    changed, deleted = _first(world, 9), _first(world, 18)[9:]
    for id_ in changed:
        world.tenant.update(id_, {**PERSON, "comments": "older"})
    for id_ in deleted:
        world.tenant.delete(id_)
    world.pipeline().extract(protime())
    for id_ in changed:
        world.tenant.update(id_, {**PERSON, "comments": "newer"})
    for id_ in deleted:
        world.tenant.restore(id_, PERSON)
    world.pipeline("another").run(protime())
    world.check()
    before = world.rows()
    assert load_pending(world.pipeline()) == 1
    assert set(changed + deleted) <= set(world.staged())
    assert world.rows() == before


def test_an_old_working_folder_with_a_new_dataset(world: World) -> None:
    world.run()
    world.engine.dataset = f"{world.dataset}_second"
    world.tenant.churn(30)
    world.run()
    world.check()
    assert len(world.rows()) == len(world.tenant.records)
    world.check_levels()


@sql_engines
def test_versions_compare_by_code_point(world: World) -> None:
    """Not like a dictionary, in which `a` comes before `B`: a package that is late is not newer."""
    id_ = _first(world, 1)[0]
    record = world.tenant.records[id_]
    record.update(changeVersion="B", comments="older")
    late = world.pipeline()
    late.extract(protime())
    late.normalize()
    record.update(changeVersion="a", comments="newer")
    world.tenant._store._texts.clear()
    world.pipeline("another").run(protime())
    late.load()
    row = world.rows()[id_]
    assert (row["change_version"], row["comments"]) == ("a", "newer")
    world.check()
