"""The rules that make the table trustworthy, each on the engines where it can differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import date

import pytest

from protime_source import protime
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.recovery import load_pending
from tests.conftest import WorldFactory
from tests.engines import every_engine
from tests.world import Moment, Row, World

TODAY = date.today().isoformat()
PERSON = {"person": {"id": 7}, "from": TODAY}


def _first(world: World, count: int) -> list[int]:
    return sorted(world.tenant.records)[:count]


LONG = "aFieldWhoseNameIsLongerThanThe63CharactersThatPostgresAllowsForTheNameOfAColumn"


@every_engine
def test_a_first_load_then_changes_with_new_columns_then_nothing_then_other_types(
    world: World,
) -> None:
    """With a working folder that is lost in between: the destination knows where it stands.

    A column that Protime adds keeps its values when the row is deleted, and its type when Protime
    changes its mind.
    """
    world.run()
    world.check()
    world.check_levels()
    extra = {"costCentre": {"code": "A1"}, "tags": ["x", 1], "isRemote": True}
    numbers = {"places": 7, "ratio": 1.5, "huge": 2**70, LONG: "long"}
    world.tenant.behaviour = Behaviour(extra_fields={**extra, **numbers})
    world.tenant.churn(60)
    id_ = world.tenant.create(PERSON)
    world.lose_working_folder()
    world.tenant.clear_requests()
    world.run()
    assert world.requests == 1
    world.check()
    view = f"{world.dataset}.assignments__activity_levels"
    assert world.query(f"SELECT COUNT(*) FROM {view}") > [(0,)], "it is still there"
    before = world.rows()
    row = before[id_]
    assert (row["cost_centre_code"], row["is_remote"]) == ("A1", True)
    assert (row["places"], row["ratio"], row["huge"]) == (7, 1.5, str(2**70))
    assert row["tags"].replace(" ", "") == '["x",1]'
    assert [name for name, value in row.items() if value == "long" and len(name) > 50]
    world.run()
    assert world.requests == 2
    assert world.rows() == before
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


def _edit_between_pages(world: World, ids: list[int]) -> None:
    """Of the rows that the second page repeats, some get a newer version before it is asked for."""

    def edit() -> None:
        for id_ in ids:
            world.tenant.update(id_, {**PERSON, "comments": "newer"})

    world.tenant.faults.append(Moment(after=1, where="/assignments?", action=edit))


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


@every_engine
def test_a_full_load_in_parts_with_changes_a_lost_folder_and_a_dead_link(world: World) -> None:
    """The rows that it has loaded before its link dies may vanish, but not those shown again."""
    world.run(max_pages=2)
    world.tenant.churn(30)
    world.lose_working_folder()
    world.run(max_pages=2)
    world.tenant.faults.append(Fault("status", status=409))
    gone = sorted(world.live())[::20]
    for id_ in gone:
        world.tenant.delete(id_)
    world.run(max_pages=3)
    world.run()
    world.check()
    assert {world.rows()[id_]["delete_reason"] for id_ in gone} == {"vanished"}


def test_a_package_that_waited_while_another_pipeline_loaded_newer_rows(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
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
    # Else it would be noticed, and the package thrown away.
    monkeypatch.setenv("LOAD__TRUNCATE_STAGING_DATASET", "true")
    world.pipeline("another").run(protime())
    monkeypatch.delenv("LOAD__TRUNCATE_STAGING_DATASET")
    world.check()
    before = world.rows()
    assert load_pending(world.pipeline()) == 1
    assert set(changed + deleted) <= set(world.staged())
    assert world.rows() == before
