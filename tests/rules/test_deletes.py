"""A deleted row keeps its last-known values, and says that, when and how we learnt of it."""

from __future__ import annotations

from datetime import date

import pendulum
import pytest

from protime_source.demo import Behaviour
from tests.memory_world import MemoryWorld
from tests.rules.conftest import MemoryFactory
from tests.world import Row, World

YEAR = date.today().year
START, BEFORE, INSIDE = f"{YEAR}-02-01", f"{YEAR}-01-15", f"{YEAR}-03-15"
SYNC_COLUMNS = ("is_deleted", "deleted_at", "delete_reason", "synced_at", "change_version")


def _values(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in SYNC_COLUMNS}


def _delete_some(world: World | MemoryWorld, step: int = 40) -> list[int]:
    gone = sorted(world.tenant.records)[::step]
    for id_ in gone:
        world.tenant.delete(id_)
    return gone


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        Behaviour(delete_payload=True),
        Behaviour(delete_version="same"),
        Behaviour(delete_version="same", delete_payload=True),
    ],
    ids=["key only", "with payload", "same version", "same version with payload"],
)
def test_an_announced_delete_keeps_the_values(
    make_memory: MemoryFactory, behaviour: Behaviour
) -> None:
    memory = make_memory(behaviour=behaviour)
    memory.run()
    before = memory.rows()
    gone = _delete_some(memory)
    begun = pendulum.now("UTC")
    memory.run()
    memory.check()
    after = memory.rows()
    assert after.keys() == before.keys()
    for id_ in gone:
        row = after[id_]
        assert _values(row) == _values(before[id_])
        assert (row["is_deleted"], row["delete_reason"]) == (True, "announced")
        assert begun <= row["deleted_at"] <= pendulum.now("UTC")


def test_a_delete_leaves_all_other_rows_as_they_are(memory: MemoryWorld) -> None:
    memory.run()
    before = memory.rows()
    gone = set(_delete_some(memory))
    memory.run()
    after = memory.rows()
    assert {i: row for i, row in after.items() if i not in gone} == {
        i: row for i, row in before.items() if i not in gone
    }


def test_a_row_changed_and_then_deleted_keeps_the_last_values_that_were_sent(
    make_memory: MemoryFactory,
) -> None:
    memory = make_memory(behaviour=Behaviour(events="all"))
    memory.run()
    id_ = max(memory.tenant.records)
    memory.tenant.update(id_, {"person": {"id": 77}, "from": INSIDE, "comments": "last words"})
    memory.tenant.delete(id_)
    memory.run()
    row = memory.rows()[id_]
    assert (row["person_id"], row["comments"], row["is_deleted"]) == (77, "last words", True)


def test_deletes_of_ids_never_stored_are_ignored(memory: MemoryWorld) -> None:
    memory.run()
    before = memory.rows()
    for _ in range(3):
        memory.tenant.delete(memory.tenant.create(person={"id": 7}, **{"from": INSIDE}))
    memory.run()
    assert memory.rows() == before


def test_a_row_that_comes_back_is_live_again(make_memory: MemoryFactory) -> None:
    """It leaves the window, which the delta announces as a delete, and returns."""
    memory = make_memory(rows=60)
    wanderer = memory.tenant.create(person={"id": 7}, **{"from": INSIDE})
    memory.run(start_date=START)
    memory.tenant.update(wanderer, {"person": {"id": 7}, "from": BEFORE})
    memory.run(start_date=START)
    assert wanderer not in memory.live()
    memory.tenant.update(wanderer, {"person": {"id": 8}, "from": INSIDE})
    memory.run(start_date=START)
    row = memory.live()[wanderer]
    assert (row["deleted_at"], row["delete_reason"], row["person_id"]) == (None, None, 8)


def test_the_same_delete_twice_changes_nothing(make_memory: MemoryFactory) -> None:
    memory = make_memory(behaviour=Behaviour(repeat_events=True))
    memory.run()
    _delete_some(memory, 100)
    memory.run()
    once = memory.rows()
    memory.run()
    assert memory.rows() == once


def test_a_soft_deleted_row_does_not_vanish_too(memory: MemoryWorld) -> None:
    memory.run()
    _delete_some(memory)
    memory.run()
    once = {i: row for i, row in memory.rows().items() if row["is_deleted"]}
    memory.run(full_resync=True)
    assert {i: row for i, row in memory.rows().items() if row["is_deleted"]} == once


def test_with_remove_deleted_and_vanished_rows_are_gone_and_may_come_back(world: World) -> None:
    def run_removing() -> None:
        world.run(deletes="remove")
        world.check()
        assert world.rows() == world.live()

    run_removing()
    _, returning, *_ = _delete_some(world)
    never_stored = world.tenant.create(person={"id": 7}, **{"from": INSIDE})
    world.tenant.delete(never_stored)
    run_removing()
    world.tenant.restore(returning, {"person": {"id": 8}, "from": INSIDE})
    run_removing()
    _delete_some(world, 70)
    world.tenant.clock.advance(hours=73)
    run_removing()


def test_the_switch_can_be_set_back_and_forth(world: World, subtests: pytest.Subtests) -> None:
    """It counts for what is deleted from then on; what is marked stays marked.

    Dlt keeps hints in its stored schema: an old one must not linger.
    """
    world.run(deletes="remove")
    marked: set[int] = set()
    for deletes, before in (
        ("mark", "nothing"),
        ("remove", "nothing"),
        ("mark", "a run without changes"),
        ("remove", "a lost working folder"),
        ("mark", "a lost working folder"),
    ):
        with subtests.test(f"{deletes} after {before}"):
            if before == "a run without changes":
                world.run(deletes=deletes)
            if before == "a lost working folder":
                world.lose_working_folder()
            gone = _delete_some(world, 70)
            world.run(deletes=deletes)
            world.check()
            marked |= set(gone) if deletes == "mark" else set()
            assert {i for i, row in world.rows().items() if row["is_deleted"]} == marked
