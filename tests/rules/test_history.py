"""The log of events: each once, whatever is repeated or crashes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import dlt
import pytest

from protime_source import protime
from protime_source.demo import Behaviour
from tests.engines import every_engine, sql_engines
from tests.world import World

COLUMNS = "id, change_version, change_type, received_at"


def logged(world: World) -> list[tuple[Any, ...]]:
    return world.query(f"SELECT {COLUMNS} FROM {world.dataset}.assignments__changes ORDER BY 2, 1")


def tables(world: World) -> set[str]:
    world.run()
    return set(world.pipeline().schemas["protime"].tables)


def test_there_is_none_unless_it_is_wanted(world: World) -> None:
    world.run()
    world.tenant.churn(3)
    assert "assignments__changes" not in tables(world)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_events_are_found_by_an_index(world: World) -> None:
    world.run(history=True)
    world.tenant.churn(5)
    world.run(history=True)
    assert world.engine.keys("assignments__changes") == ["event_id"]


@every_engine
def test_every_event_is_there_once(world: World) -> None:
    world.tenant.behaviour = Behaviour(events="all", repeat_events=True, order="shuffled")
    world.run(history=True)
    new = world.tenant.create(person={"id": 1}, **{"from": next(iter(dates(world)))})
    fields = {k: v for k, v in world.tenant.records[new].items() if k not in ("id", "isRejected")}
    first = world.tenant.records[new]["changeVersion"]
    world.tenant.update(new, {**fields, "comments": "later"})
    second = world.tenant.records[new]["changeVersion"]
    world.tenant.delete(new)
    world.run(history=True)
    mine = [row for row in logged(world) if row[0] == new]
    kinds = ["InsertOrUpdate", "InsertOrUpdate", "Delete"]
    assert [row[2] for row in mine] == kinds
    assert [row[1] for row in mine][:2] == [first, second]
    world.run(history=True)
    assert [row for row in logged(world) if row[0] == new] == mine


def dates(world: World) -> set[str]:
    return {record["from"] for record in world.tenant.records.values()}


def test_a_row_is_as_it_was(world: World) -> None:
    world.run(history=True)
    id_ = next(iter(world.tenant.records))
    for text in ("one", "two"):
        fields = {k: v for k, v in world.tenant.records[id_].items() if k != "id"}
        world.tenant.update(id_, {**fields, "comments": text})
        world.run(history=True)
    found = world.query(f"SELECT record, received_at FROM {world.dataset}.assignments__changes")
    records = [json.loads(record) for record, _ in sorted(found, key=lambda row: row[1])]
    assert [record["comments"] for record in records] == ["one", "two"]
    levels = world.tenant.records[id_].get("activityLevels")
    assert records[0].get("activity_levels") == levels


@sql_engines
def test_a_lost_working_folder_repeats_nothing(world: World) -> None:
    world.run(history=True)
    world.tenant.churn(10)
    state = world.bookmark().link
    world.run(history=True)
    before = logged(world)
    assert len(before) == len({row[0] for row in before})
    assert state != world.bookmark().link
    # The same events once more, from the link before: only the log's own filter keeps them out.
    pipeline = world.pipeline()
    with pipeline.managed_state() as stored:
        stored["sources"]["protime"]["resources"]["assignments"]["bookmark"]["link"] = state
    world.run(history=True)
    assert logged(world) == before
    world.check()


@every_engine
def test_a_log_that_was_dropped_is_restarted(world: World) -> None:
    for _ in range(2):
        world.tenant.churn(5)
        world.run(history=True)
        world.tenant.churn(5)
        world.run(history=True)
        assert logged(world)
        world.query(f"DROP TABLE {world.dataset}.assignments__changes")
    world.run(history=True)
    world.check()


def _ready_to_load(world: World) -> dlt.Pipeline:
    """A package with events is on its way."""
    world.run(history=True)
    world.tenant.churn(10)
    pipeline = world.pipeline()
    pipeline.extract(protime(history=True))
    pipeline.normalize()
    return pipeline


@sql_engines
def test_events_that_are_staged_twice_are_there_once(world: World) -> None:
    """As after a crash between the staging load and its marker."""
    pipeline = _ready_to_load(world)
    [file] = (world.folder / "pipelines").rglob("normalized/*/new_jobs/assignments__changes.*")
    table, _, rest = file.name.split(".", 2)
    shutil.copy(file, file.with_name(f"{table}.again.{rest}"))
    pipeline.load()
    found = logged(world)
    assert len(found) == len(set(found)) > 5


@sql_engines
def test_a_package_that_is_loaded_twice_adds_nothing(world: World) -> None:
    pipeline = _ready_to_load(world)
    [package] = pipeline.list_normalized_load_packages()
    storage = pipeline._get_load_storage()
    kept = storage.storage.make_full_path(storage.get_normalized_package_path(package))
    copy = f"{world.folder}/copy"
    shutil.copytree(kept, copy)  # a crash leaves just such a package
    for job in Path(copy).rglob("_dlt_pipeline_state.*"):
        job.unlink()
    pipeline.load()
    before = logged(world)
    shutil.rmtree(storage.storage.make_full_path(storage.get_loaded_package_path(package)))
    shutil.copytree(copy, kept)
    pipeline.load()
    assert logged(world) == before
    assert len(before) == len(set(before)) > 0


@pytest.mark.parametrize("kind", ["people", "clockings"])
def test_other_collections_have_theirs(world: World, kind: str) -> None:
    world.run(collections=[kind], history=True)
    world.tenant.change_other(kind, 4)
    world.run(collections=[kind], history=True)
    found = world.query(f"SELECT COUNT(*) FROM {world.dataset}.{kind}__changes")
    assert found[0][0] > 0
