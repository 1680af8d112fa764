"""The history: every version of a row that the warehouse has stored, each once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dlt
import pytest

from protime_source import protime
from tests.engines import every_engine, sql_engines
from tests.world import Row, World

HISTORY = "assignments__history"


def versions(world: World, table: str = HISTORY) -> list[Row]:
    """All recorded versions, in their order."""
    query = f"SELECT * FROM {world.dataset}.{table} ORDER BY recorded_at, id"
    names, found = world.engine.ask(query)
    return [dict(zip(names, values, strict=True)) for values in found]


def of(world: World, id_: int) -> list[tuple[str, str | None]]:
    """Change type and comment of each version of a row."""
    return [(row["change_type"], row["comments"]) for row in versions(world) if row["id"] == id_]


def update(world: World, id_: int, text: str) -> None:
    fields = {k: v for k, v in world.tenant.records[id_].items() if k not in ("id", "isRejected")}
    world.tenant.update(id_, {**fields, "comments": text})


def check(world: World) -> None:
    """The newest version of each row is the row, and no version is there twice."""
    found = versions(world)
    keys = {(row["id"], row["recorded_at"]) for row in found}
    assert len(keys) == len(found), "a version is there twice"
    newest = {row["id"]: row for row in found}
    for row in newest.values():
        assert row.pop("recorded_at") == row["synced_at"]
        assert row.pop("change_type") in ("inserted", "updated", "soft_deleted", "restored")
    assert newest == world.rows()


@every_engine
def test_every_version_is_there_once(world: World) -> None:
    """The view says from when to when it was valid; a lost working folder repeats nothing."""
    id_, other = sorted(world.tenant.records)[:2]
    first = world.tenant.records[id_].get("comments")
    world.run(history=True)
    assert {row["change_type"] for row in versions(world)} == {"inserted"}
    check(world)
    update(world, id_, "second")
    world.run(history=True)
    world.tenant.delete(id_)
    new = world.tenant.create(person={"id": 7}, **{"from": world.tenant.records[other]["from"]})
    world.run(history=True)
    before = versions(world)
    world.lose_working_folder()
    world.run(history=True)
    assert versions(world) == before
    assert of(world, id_) == [
        ("inserted", first),
        ("updated", "second"),
        ("soft_deleted", "second"),
    ]
    assert [kind for kind, _ in of(world, new)] == ["inserted"]
    check(world)
    query = (
        f"SELECT valid_from, valid_to, comments FROM {world.dataset}.assignments__versions"
        f" WHERE id = {id_} ORDER BY valid_from"
    )
    found = world.query(query)
    assert [comments for _, _, comments in found] == [first, "second", "second"]
    assert [end for _, end, _ in found] == [start for start, _, _ in found[1:]] + [None]


def test_what_a_full_load_finds_is_recorded(world: World) -> None:
    world.run(history=True)
    gone, changed, stays = sorted(world.tenant.records)[:3]
    kept = world.tenant.records[gone]
    world.tenant.delete(gone)
    update(world, changed, "while the delta had expired")
    world.tenant.clock.advance(hours=73)
    world.run(history=True)
    assert [kind for kind, _ in of(world, gone)] == ["inserted", "soft_deleted"]
    assert of(world, changed)[1:] == [("updated", "while the delta had expired")]
    assert [kind for kind, _ in of(world, stays)] == ["inserted"]
    world.tenant.records[gone] = kept
    world.tenant.clock.advance(hours=73)
    world.run(history=True)
    assert [kind for kind, _ in of(world, gone)] == ["inserted", "soft_deleted", "restored"]
    check(world)


def test_a_history_that_is_switched_on_later_begins_with_the_table_as_it_is(world: World) -> None:
    """So does one that was dropped. There is none before it is wanted."""
    world.run()
    world.tenant.delete(min(world.tenant.records))
    world.run()
    assert not world.engine.holds(HISTORY)
    for _ in range(2):
        world.run(history=True)
        kinds = sorted(row["change_type"] for row in versions(world))
        assert kinds == ["inserted"] * 299 + ["soft_deleted"]
        check(world)
        world.query(f"DROP VIEW {world.dataset}.assignments__versions")
        world.query(f"DROP TABLE {world.dataset}.{HISTORY}")


def test_a_tenant_without_records_has_an_empty_history(world: World) -> None:
    world.tenant.records.clear()
    world.run(history=True)
    assert versions(world) == []
    assert world.engine.holds("assignments__versions")


@sql_engines
def test_removed_rows_are_recorded_with_their_last_known_values(world: World) -> None:
    announced, vanished = sorted(world.tenant.records)[:2]
    update(world, announced, "last")
    world.run(history=True, deletes="remove")
    world.tenant.delete(announced)
    world.run(history=True, deletes="remove")
    world.tenant.delete(vanished)
    world.tenant.clock.advance(hours=73)
    world.run(history=True, deletes="remove")
    assert world.rows().keys() == world.tenant.records.keys()
    assert of(world, announced) == [("inserted", "last"), ("soft_deleted", "last")]
    assert [kind for kind, _ in of(world, vanished)] == ["inserted", "soft_deleted"]


@sql_engines
def test_a_new_column_is_added_to_the_history_and_its_view(world: World) -> None:
    world.run(history=True)
    id_ = min(world.tenant.records)
    world.tenant.records[id_]["colour"] = "red"
    update(world, id_, "painted")
    world.run(history=True)
    found = versions(world, "assignments__history")
    assert [row["colour"] for row in found if row["id"] == id_] == [None, "red"]
    query = f"SELECT colour FROM {world.dataset}.assignments__versions WHERE colour IS NOT NULL"
    assert world.query(query) == [("red",)]
    check(world)


def test_a_table_that_begins_anew_is_recorded_by_a_machine_with_its_clock_behind(
    world: World,
) -> None:
    """Nothing but the history then knows how late the newest `synced_at` was."""
    world.run(history=True)
    ahead = "TIMESTAMP WITH TIME ZONE '2099-01-01 00:00:00+00:00'"
    world.query(f"UPDATE {world.dataset}.{HISTORY} SET synced_at = {ahead}, recorded_at = {ahead}")
    world.pipeline().run(protime(history=True), refresh="drop_resources")
    assert len(versions(world)) == 2 * len(world.rows())
    check(world)


def _ready_to_load(world: World) -> dlt.Pipeline:
    """A package with changes is on its way."""
    world.run(history=True)
    world.tenant.churn(10)
    pipeline = world.pipeline()
    pipeline.extract(protime(history=True))
    pipeline.normalize()
    return pipeline


def test_a_package_that_is_loaded_twice_records_its_versions_once(world: World) -> None:
    pipeline = _ready_to_load(world)
    [package] = pipeline.list_normalized_load_packages()
    storage = pipeline._get_load_storage()
    kept = storage.storage.make_full_path(storage.get_normalized_package_path(package))
    copy = f"{world.folder}/copy"
    shutil.copytree(kept, copy)  # a crash leaves just such a package
    for job in Path(copy).rglob("_dlt_pipeline_state.*"):
        job.unlink()
    pipeline.run()
    before = versions(world)
    shutil.rmtree(storage.storage.make_full_path(storage.get_loaded_package_path(package)))
    shutil.copytree(copy, kept)
    pipeline.run()
    assert versions(world) == before
    check(world)


def test_versions_of_a_load_that_died_before_they_were_recorded_are_recorded_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = _ready_to_load(world)
    with monkeypatch.context() as patch:
        patch.setattr("protime_source.pipeline.hooks.record_history", lambda *_: None)
        pipeline.run()
    world.tenant.churn(10, seed=2)
    world.run(history=True)
    check(world)
    assert len(versions(world)) > 300


def test_other_collections_have_theirs(world: World) -> None:
    tables = ("people", "clockings", "departments")
    settings: dict[str, Any] = {"collections": tables, "history": True}
    world.run(**settings)
    for table in tables:
        world.tenant.change_other(table, 4)
    world.run(**settings)
    for table in tables:
        found = versions(world, f"{table}__history")
        assert {row["change_type"] for row in found} >= {"inserted", "updated"}, table
