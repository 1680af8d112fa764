"""A deleted row keeps its last-known values, and says that, when and how we learnt of it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pendulum
import pytest

from protime_source.demo import Behaviour
from tests.conftest import WorldFactory
from tests.world import Row, World

YEAR = date.today().year
START, BEFORE, INSIDE = f"{YEAR}-02-01", f"{YEAR}-01-15", f"{YEAR}-03-15"
SYNC_COLUMNS = ("is_deleted", "deleted_at", "delete_reason", "synced_at", "change_version")


def _values(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in SYNC_COLUMNS}


def _delete_some(world: World, step: int = 40) -> list[int]:
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
    make_world: WorldFactory, behaviour: Behaviour
) -> None:
    world = make_world(behaviour=behaviour)
    world.run()
    before = world.rows()
    gone = _delete_some(world)
    begun = pendulum.now("UTC")
    world.run()
    world.check()
    after = world.rows()
    assert after.keys() == before.keys()
    for id_ in gone:
        row = after[id_]
        assert _values(row) == _values(before[id_])
        assert (row["is_deleted"], row["delete_reason"]) == (True, "announced")
        assert begun <= row["deleted_at"] <= pendulum.now("UTC")


def test_a_delete_leaves_all_other_rows_as_they_are(world: World) -> None:
    world.run()
    before = world.rows()
    gone = set(_delete_some(world))
    world.run()
    after = world.rows()
    assert {i: row for i, row in after.items() if i not in gone} == {
        i: row for i, row in before.items() if i not in gone
    }


def test_a_row_changed_and_then_deleted_keeps_the_last_values_that_were_sent(
    make_world: WorldFactory,
) -> None:
    world = make_world(behaviour=Behaviour(events="all"))
    world.run()
    id_ = max(world.tenant.records)
    world.tenant.update(id_, {"person": {"id": 77}, "from": INSIDE, "comments": "last words"})
    world.tenant.delete(id_)
    world.run()
    row = world.rows()[id_]
    assert (row["person_id"], row["comments"], row["is_deleted"]) == (77, "last words", True)


def test_deletes_of_ids_never_stored_are_ignored(world: World) -> None:
    world.run()
    before = world.rows()
    for _ in range(3):
        world.tenant.delete(world.tenant.create(person={"id": 7}, **{"from": INSIDE}))
    world.run()
    assert world.rows() == before


@pytest.mark.parametrize("deletes", ["mark", "remove"])
def test_a_row_that_comes_back_is_live_again(make_world: WorldFactory, deletes: str) -> None:
    """It leaves the window, which the delta announces as a delete, and returns."""
    world = make_world(rows=60)
    wanderer = world.tenant.create(person={"id": 7}, **{"from": INSIDE})
    world.run(start_date=START, deletes=deletes)
    world.tenant.update(wanderer, {"person": {"id": 7}, "from": BEFORE})
    world.run(start_date=START, deletes=deletes)
    assert wanderer not in world.live()
    world.tenant.update(wanderer, {"person": {"id": 8}, "from": INSIDE})
    world.run(start_date=START, deletes=deletes)
    row = world.live()[wanderer]
    assert (row["deleted_at"], row["delete_reason"], row["person_id"]) == (None, None, 8)


def test_the_same_delete_twice_changes_nothing(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(repeat_events=True))
    world.run()
    _delete_some(world, 100)
    world.run()
    once = world.rows()
    world.run()
    assert world.rows() == once


def test_a_soft_deleted_row_does_not_vanish_too(world: World) -> None:
    world.run()
    _delete_some(world)
    world.run()
    once = {i: row for i, row in world.rows().items() if row["is_deleted"]}
    world.run(full_resync=True)
    assert {i: row for i, row in world.rows().items() if row["is_deleted"]} == once


def _run_removing(world: World, **more: Any) -> None:
    world.run(deletes="remove", **more)


def test_removed_rows_are_gone_from_the_table(world: World) -> None:
    _run_removing(world)
    world.tenant.churn(60)
    _run_removing(world)
    world.check()
    assert world.rows() == world.live()


def test_vanished_rows_are_removed_as_well(world: World) -> None:
    _run_removing(world)
    _delete_some(world)
    world.tenant.clock.advance(hours=73)
    _run_removing(world)
    world.check()
    assert world.rows() == world.live()


def test_removing_ids_never_stored_inserts_nothing(world: World) -> None:
    _run_removing(world)
    before = world.rows()
    world.tenant.delete(world.tenant.create(person={"id": 7}, **{"from": INSIDE}))
    _run_removing(world)
    assert world.rows() == before


@pytest.mark.parametrize(
    ("switches", "folder_is_lost"),
    [(("mark", "remove", "mark"), False), (("remove", "mark", "remove"), True)],
)
def test_the_switch_can_be_set_back_and_forth(
    world: World, switches: tuple[str, ...], folder_is_lost: bool
) -> None:
    """It counts for what is deleted from then on; what is marked stays marked."""
    world.run(deletes=switches[-1])
    marked: set[int] = set()
    for deletes in switches:
        gone = _delete_some(world, 70)
        if folder_is_lost:
            world.lose_working_folder()
        world.run(deletes=deletes)
        world.check()
        marked |= set(gone) if deletes == "mark" else set()
        assert {i for i, row in world.rows().items() if row["is_deleted"]} == marked


def test_the_switch_holds_for_a_run_without_changes_in_between(world: World) -> None:
    """Dlt keeps hints in its stored schema: an old one must not linger."""
    _run_removing(world)
    world.run()
    gone = set(_delete_some(world))
    world.run()
    assert {i for i, row in world.rows().items() if row["is_deleted"]} == gone
