"""A long full load survives stops, restarts and expired links."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.demo import Behaviour, Fault
from protime_source.errors import ExpiredError, ForbiddenError
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.memory_world import MemoryWorld
from tests.rules.conftest import MemoryFactory
from tests.world import Moment, World

TODAY = date.today().isoformat()
PAGES = 6


def _complete(
    memory: MemoryWorld, *, max_pages: int | None = None, max_bytes: int | None = None
) -> int:
    """Runs until the full load is complete; how many runs it took."""
    for runs in range(1, 50):
        memory.run(max_pages=max_pages, max_bytes=max_bytes)
        if not memory.bookmark.full_load_in_progress:
            return runs
    raise AssertionError("the full load does not end")


@pytest.mark.parametrize(("max_pages", "runs"), [(2, 3), (5, 2), (6, 1)])
def test_a_full_load_in_parts_fetches_every_page_once(
    memory: MemoryWorld, max_pages: int, runs: int
) -> None:
    assert _complete(memory, max_pages=max_pages) == runs
    memory.check()
    assert memory.requests == PAGES


def test_a_part_of_a_full_load_ends_with_the_page_that_reaches_its_size(
    memory: MemoryWorld,
) -> None:
    memory.run(max_bytes=1)
    assert len(memory.rows()) == 50
    first = msgspec.json.encode([*memory.tenant.records.values()][:50])
    runs = _complete(memory, max_bytes=2 * len(first))
    assert runs in (2, 3), "five pages of about the size of the first, two or three at once"
    memory.check()
    assert memory.requests == PAGES


def test_each_part_is_loaded_and_the_next_resumes_although_the_working_folder_is_lost(
    make_world: WorldFactory,
) -> None:
    world = make_world(rows=150)
    loaded = []
    for _ in range(3):
        world.run(max_pages=1)
        loaded.append(len(world.rows()))
        world.lose_working_folder()
    assert loaded == [50, 100, 150]
    assert world.requests == 3
    world.check()


@pytest.mark.parametrize("place", [0, 49], ids=["lowest", "highest"])
def test_a_row_that_the_full_load_shows_in_an_older_version_does_not_vanish(
    memory: MemoryWorld, place: int
) -> None:
    """At either end of its page, when another run completes the full load."""
    memory.run()
    id_ = sorted(memory.tenant.records)[place]
    memory.table.rows_by_id[id_]["change_version"] = "Z"
    memory.run(full_resync=True, max_pages=1)
    memory.run()
    row = memory.rows()[id_]
    assert (row["change_version"], row["is_deleted"]) == ("Z", False)


def test_a_delta_answer_is_never_split(make_memory: MemoryFactory) -> None:
    memory = make_memory(behaviour=Behaviour(delta_page_size=5))
    memory.run()
    memory.tenant.churn(60)
    memory.run(max_pages=1)
    memory.check()
    assert not memory.bookmark.full_load_in_progress


def test_changes_during_a_full_load_in_parts_arrive(make_memory: MemoryFactory) -> None:
    memory = make_memory(rows=250)
    memory.run(max_pages=2)
    while memory.bookmark.full_load_in_progress:
        memory.tenant.churn(30)
        memory.run(max_pages=2)
    memory.run()
    memory.check()


@pytest.mark.parametrize("max_pages", [2, 4])
def test_rows_vanish_only_when_the_last_part_of_a_full_load_is_loaded(
    memory: MemoryWorld, max_pages: int
) -> None:
    memory.run()
    ids = sorted(memory.tenant.records)
    gone = [*ids[::17], ids[-1]]
    for id_ in gone:
        memory.tenant.delete(id_)
    memory.tenant.clock.advance(hours=73)
    memory.run(max_pages=max_pages)
    while memory.bookmark.full_load_in_progress:
        assert len(memory.live()) == 300
        memory.run(max_pages=max_pages)
    memory.check()
    assert {i for i, row in memory.rows().items() if row["delete_reason"] == "vanished"} == set(
        gone
    )


def test_a_vanished_row_is_found_although_an_earlier_part_failed(memory: MemoryWorld) -> None:
    memory.run()
    for id_ in sorted(memory.tenant.records)[::10]:
        memory.tenant.delete(id_)
    memory.tenant.clock.advance(hours=73)
    memory.run(max_pages=2)
    memory.tenant.faults.append(Fault("status", status=403, after=1))
    with pytest.raises(ForbiddenError):
        memory.run(max_pages=2)
    _complete(memory, max_pages=2)
    memory.check()


@pytest.mark.parametrize("status", [409, 410])
def test_a_dead_continuation_restarts_the_full_load(
    make_memory: MemoryFactory, status: Literal[409, 410]
) -> None:
    memory = make_memory(
        behaviour=Behaviour(stale_continuation_status=status, continuation_lifetime_hours=1)
    )
    memory.run(max_pages=3)
    gone = set(sorted(memory.live())[::5])
    for id_ in gone:
        memory.tenant.delete(id_)
    memory.tenant.clock.advance(hours=2)
    memory.run(max_pages=4)
    assert gone <= memory.live().keys(), "nothing vanishes before the new full load is complete"
    _complete(memory, max_pages=4)
    memory.check()


def test_a_delta_that_is_stolen_during_a_full_load_in_parts_restarts_it(
    memory: MemoryWorld,
) -> None:
    memory.run(max_pages=3)
    memory.tenant.churn(50)
    memory.tenant.steal_delta()
    memory.run()
    memory.check()


def _kill_link(world: World | MemoryWorld, after: int) -> None:
    world.tenant.faults.append(Fault("status", status=409, after=after))


def _when(world: World | MemoryWorld, after: int, *deleted: int) -> None:
    def delete() -> None:
        for id_ in deleted:
            world.tenant.delete(id_)

    world.tenant.faults.append(Moment(after=after, action=delete))


@pytest.mark.usefixtures("every_page_is_a_table")
@pytest.mark.parametrize(("after", "is_loaded"), [(1, False), (3, True), (5, True)])
def test_rows_of_an_aborted_full_load_that_are_deleted_meanwhile_do_not_stay(
    memory: MemoryWorld, after: int, is_loaded: bool
) -> None:
    """The link dies in the middle of a run, and what its pages showed is gone by then."""
    if is_loaded:
        memory.run()
        memory.tenant.clock.advance(hours=73)
        after += 1
    shown = sorted(memory.tenant.records)
    _when(memory, after, shown[0], shown[7], shown[40])
    _kill_link(memory, after)
    memory.run()
    memory.check()
    assert not memory.tenant.faults
    memory.run()
    memory.check()


@pytest.mark.usefixtures("every_page_is_a_table")
def test_an_aborted_full_load_in_large_tables_leaves_nothing(world: World) -> None:
    """Its rows are on their way to the destination when the link dies."""
    world.run(max_pages=1)
    shown = sorted(world.tenant.records)
    _when(world, 4, *shown[40:120])
    _kill_link(world, 4)
    world.run()
    assert set(shown[50:120]) <= set(world.staged())
    world.check()


@pytest.mark.usefixtures("every_page_is_a_table")
def test_a_new_full_load_that_shows_nothing_leaves_nothing_of_the_aborted_one(
    memory: MemoryWorld,
) -> None:
    shown = sorted(memory.tenant.records)
    _when(memory, 4, *shown)
    _kill_link(memory, 4)
    counts = memory.run()
    assert counts.received >= 150
    assert memory.tenant.records == {}
    memory.check()


def test_a_link_that_always_dies_is_given_up(memory: MemoryWorld) -> None:
    memory.tenant.faults.append(Fault("status", status=410, times=99, where="continuationToken"))
    with pytest.raises(ExpiredError):
        memory.run()
    assert memory.requests == 10


@pytest.mark.parametrize("max_pages", [None, 2])
def test_a_full_load_that_lags_behind_neither_overwrites_nor_deletes(
    memory: MemoryWorld, max_pages: int | None
) -> None:
    """The full load shows rows in older versions than the delta has brought already."""
    memory.run()
    older = dict(memory.tenant.records)
    ids = sorted(older)
    changed, deleted = ids[5::60], ids[8::60]
    for id_ in changed:
        memory.tenant.update(id_, {"person": {"id": 9}, "from": TODAY, "comments": "newer"})
    for id_ in deleted:
        memory.tenant.delete(id_)
    memory.run()
    newer, before = dict(memory.tenant.records), memory.rows()
    _show(memory, older)
    memory.tenant.clock.advance(hours=73)
    memory.run(max_pages=max_pages)
    while memory.bookmark.full_load_in_progress:
        memory.run(max_pages=max_pages)
    after = memory.rows()
    assert {i: after[i]["change_version"] for i in ids} == {
        i: before[i]["change_version"] for i in ids
    }
    assert {i for i in ids if after[i]["is_deleted"]} == set(deleted)
    _show(memory, newer)
    memory.check()


def _show(memory: MemoryWorld, records: dict[int, dict[str, object]]) -> None:
    store = memory.tenant._store
    store.records.clear()
    store.records.update(records)
    store._texts.clear()


def test_a_row_that_changes_pages_during_a_full_load_is_there_once(
    make_memory: MemoryFactory,
) -> None:
    memory = make_memory(behaviour=Behaviour(page_overlap=10))
    second_page = sorted(memory.tenant.records)[45:50]

    def edit() -> None:
        for id_ in second_page:
            memory.tenant.update(id_, {"person": {"id": 9}, "from": TODAY})

    memory.tenant.faults.append(Moment(after=1, action=edit))
    memory.run()
    memory.check()


def test_a_tenant_without_rows_is_followed_from_its_first_row_on(
    make_memory: MemoryFactory,
) -> None:
    memory = make_memory(rows=0)
    memory.run()
    assert memory.bookmark.full_load_in_progress is False
    memory.tenant.clear_requests()
    memory.tenant.churn(5)
    memory.run()
    memory.check()


def test_what_changed_between_the_parts_of_a_full_load_comes_with_the_run_that_ends_it(
    world: World,
) -> None:
    """Also after a backup was put back that was made within the full load."""
    world.run(max_pages=1)
    backup = world.database.read_bytes()
    world.tenant.delete(min(world.tenant.records))
    later = {"person": {"id": 7}, "from": TODAY, "comments": "later"}
    world.tenant.update(min(world.tenant.records), later)
    world.load()
    world.check()
    world.tenant.delete(min(world.tenant.records))
    world.database.write_bytes(backup)
    world.load()
    world.check()


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_circle_of_pages_that_is_longer_than_a_part_of_a_full_load_is_an_error(
    make_world: WorldFactory,
) -> None:
    world = make_world(rows=60, page_size=20)
    world.tenant.faults.append(Fault("loop", times=60, after=1))
    with pytest.raises(PipelineStepFailed, match="assignments lead in a circle"):
        world.load()
    assert world.requests < 20
    world.tenant.faults.clear()
    world.load()
    world.check()


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_full_load_that_is_restarted_may_meet_the_same_links(make_world: WorldFactory) -> None:
    world = make_world(rows=30, page_size=10)
    world.tenant.faults.append(Fault("status", status=410, after=2))
    world.load()
    world.check()
    assert world.requests == 2 + 1 + 3 + 1


@sql_engines
@pytest.mark.parametrize("part", [1, 2, 3], ids=["adds to them", "reads them", "forgets them"])
def test_seen_ids_that_somebody_took_a_column_from_are_asked_for_again(
    make_world: WorldFactory, part: int
) -> None:
    world = make_world(rows=30, page_size=10)
    world.run()
    for number in range(1, 5):
        if number == part + 1:
            world.query(f"ALTER TABLE {world.dataset}.sync_seen_ids DROP COLUMN collection")
        pages = None if number == 3 else 1
        world.run(full_resync=number == 1, max_pages=pages)
    while world.bookmark().full_load_in_progress:
        world.run()
    world.check()
