"""changeVersion decides, always: neither order nor repetition nor timing can undo a change."""

from __future__ import annotations

import json
from itertools import permutations, product
from random import Random
from typing import Any

import pytest

from protime_source.demo import Behaviour, Fault
from tests.conftest import WorldFactory
from tests.world import Row, World, timeless

Event = dict[str, Any]
HIGH = "00000903{:012X}"


def _update(id_: int, version: int, **fields: Any) -> Event:
    data = {"id": id_, "changeVersion": HIGH.format(version), "person": {"id": version}, **fields}
    return {"changeType": "InsertOrUpdate", "data": {"from": "2026-03-01", **data}}


def _delete(id_: int, version: int) -> Event:
    return {"changeType": "Delete", "data": {"id": id_, "changeVersion": HIGH.format(version)}}


def _answer(world: World, events: list[Event]) -> None:
    """The next delta answer, word by word."""
    body = json.dumps({"value": events, "deltaLink": world.bookmark().link})
    world.tenant.faults.append(Fault("status", status=200, body=body, where="/delta/"))
    world.run()
    assert not world.tenant.faults


def _outcome(row: Row) -> tuple[str, bool, int]:
    return row["change_version"], row["is_deleted"], row["person_id"]


def _wanted(version: int, deleted: bool, person: int) -> tuple[str, bool, int]:
    return HIGH.format(version), deleted, person


@pytest.mark.parametrize(
    ("order", "delete_version"), [("newest_first", "same"), ("shuffled", "new")]
)
def test_order_and_repetition_mean_nothing(
    make_world: WorldFactory, order: Any, delete_version: Any
) -> None:
    world = make_world(
        behaviour=Behaviour(
            events="all",
            order=order,
            repeat_events=True,
            delete_version=delete_version,
            delta_page_size=7,
        )
    )
    world.run()
    for _ in range(2):
        world.tenant.churn(120)
        world.run()
        world.check()


def test_every_order_within_one_answer_comes_out_the_same(world: World) -> None:
    world.run()
    lasts = list(product((_update, _delete), permutations(range(4))))
    ids = sorted(world.tenant.records)[: len(lasts)]
    sent = [
        (_update(id_, 1), _update(id_, 2), _delete(id_, 3), last(id_, 4))[place]
        for id_, (last, order) in zip(ids, lasts, strict=True)
        for place in order
    ]
    _answer(world, sent + sent[::3])
    rows = world.rows()
    assert [_outcome(rows[id_]) for id_ in ids] == [
        _wanted(4, False, 4) if last is _update else _wanted(4, True, 2) for last, _ in lasts
    ]


def test_every_order_across_answers_comes_out_the_same(world: World) -> None:
    """An answer may tell again, or only now, what is older than what we hold."""
    world.run()
    lasts = list(product((_update, _delete), permutations(range(3))))
    ids = sorted(world.tenant.records)[: len(lasts)]
    sent = [
        [(_update(id_, 1), _update(id_, 2), last(id_, 3))[place] for place in order]
        for id_, (last, order) in zip(ids, lasts, strict=True)
    ]
    for answer in zip(*sent, strict=True):
        _answer(world, list(answer))
    rows = world.rows()
    assert [_outcome(rows[id_])[:2] for id_ in ids] == [
        _wanted(3, last is _delete, 0)[:2] for last, _ in lasts
    ]


def test_a_load_of_old_versions_changes_nothing(world: World) -> None:
    world.run()
    ids = sorted(world.tenant.records)[:9]
    _answer(world, [_update(id_, 9) for id_ in ids])
    before = world.rows()
    _answer(world, [_update(id_, version) for id_ in ids for version in (3, 8)])
    _answer(world, [_delete(id_, 8) for id_ in ids])
    assert world.rows() == before


def test_versions_compare_as_text_in_every_place(world: World) -> None:
    """`9` is newer than `10` by the documentation's rule; both are hex in practice."""
    world.run()
    id_ = min(world.tenant.records)
    versions = ("10", "9", "Z", "a", "B")
    for version in versions:
        _answer(world, [_raw(id_, version)])
    assert world.rows()[id_]["change_version"] == max(versions)


def _raw(id_: int, version: str) -> Event:
    data = {"id": id_, "changeVersion": version, "from": "2026-03-01"}
    return {"changeType": "InsertOrUpdate", "data": data}


def test_the_same_events_twice_change_nothing_but_the_time(world: World) -> None:
    world.run()
    ids = sorted(world.tenant.records)[:4]
    events = [_update(ids[0], 1), _delete(ids[1], 1), _update(ids[2], 1), _update(7, 1)]
    _answer(world, events * 2)
    once = world.rows()
    _answer(world, Random(1).sample(events, len(events)))
    assert timeless(world.rows()) == timeless(once)


def test_at_equal_versions_an_announced_delete_stands(world: World) -> None:
    """A Delete may carry the last version of its record; an update repeated later is older."""
    world.run()
    first, second = sorted(world.tenant.records)[:2]
    _answer(world, [_delete(first, 5), _update(first, 5), _update(second, 5), _delete(second, 5)])
    _answer(world, [_update(first, 5), _update(second, 5)])
    rows = world.rows()
    assert [_outcome(rows[id_]) for id_ in (first, second)] == [_wanted(5, True, 5)] * 2


def test_a_row_deleted_and_created_again_is_live(world: World) -> None:
    world.run()
    first, second = sorted(world.tenant.records)[:2]
    _answer(world, [_update(first, 6), _delete(first, 5), _delete(second, 5)])
    _answer(world, [_update(second, 6)])
    rows = world.rows()
    assert [_outcome(rows[id_]) for id_ in (first, second)] == [_wanted(6, False, 6)] * 2
    assert rows[second]["delete_reason"] is None


def test_a_null_or_absent_field_empties_the_column(world: World) -> None:
    """An update carries the whole record: what it leaves out is no longer there."""
    world.run()
    id_ = next(i for i, record in world.tenant.records.items() if "startTimeInMinutes" in record)
    _answer(world, [_update(id_, 1, comments=None)])
    row = world.rows()[id_]
    assert (row["start_time_in_minutes"], row["comments"], row["until_date"]) == (None,) * 3
