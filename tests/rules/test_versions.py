"""changeVersion decides, always: neither order nor repetition nor timing can undo a change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations, product, zip_longest
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


def _raw(id_: int, version: str) -> Event:
    data = {"id": id_, "changeVersion": version, "from": "2026-03-01"}
    return {"changeType": "InsertOrUpdate", "data": data}


def _row(version: int, deleted: bool, **more: Any) -> Row:
    return {"change_version": HIGH.format(version), "is_deleted": deleted, **more}


def test_order_and_repetition_mean_nothing(make_world: WorldFactory) -> None:
    world = make_world()
    world.run()
    for order, delete_version in (("newest_first", "same"), ("shuffled", "new")):
        switches: Any = {"order": order, "delete_version": delete_version}
        world.tenant.behaviour = Behaviour(
            events="all", repeat_events=True, delta_page_size=7, **switches
        )
        world.tenant.churn(120)
        world.run()
        world.check()


@dataclass
class Case:
    """What some answers say of rows of its own.

    Attributes:
        answers: Their events, answer by answer.
        wanted: What becomes of each row: some of its values.
        is_settled: Whether all is said by the first answer; the others change no value.
        is_untouched: Whether its rows are not even written by the others.
    """

    answers: list[list[Event]]
    wanted: dict[int, Row]
    is_settled: bool = False
    is_untouched: bool = False


def _every_order_within_one_answer(ids: Iterator[int]) -> Case:
    lasts = [*zip(ids, product((_update, _delete), permutations(range(4))), strict=False)]
    events = [
        (_update(id_, 1), _update(id_, 2), _delete(id_, 3), last(id_, 4))[place]
        for id_, (last, order) in lasts
        for place in order
    ]
    wanted = {
        id_: _row(4, last is _delete, person_id=4 if last is _update else 2)
        for id_, (last, _) in lasts
    }
    return Case([events + events[::3]], wanted)


def _every_order_across_answers(ids: Iterator[int]) -> Case:
    """An answer may tell again, or only now, what is older than what we hold."""
    lasts = [*zip(ids, product((_update, _delete), permutations(range(3))), strict=False)]
    events = [
        [(_update(id_, 1), _update(id_, 2), last(id_, 3))[place] for place in order]
        for id_, (last, order) in lasts
    ]
    wanted = {id_: _row(3, last is _delete) for id_, (last, _) in lasts}
    return Case([list(answer) for answer in zip(*events, strict=True)], wanted)


def _old_versions_change_nothing(ids: Iterator[int]) -> Case:
    own = [next(ids) for _ in range(9)]
    answers = [
        [_update(id_, 9) for id_ in own],
        [_update(id_, version) for id_ in own for version in (3, 8)],
        [_delete(id_, 8) for id_ in own],
    ]
    return Case(answers, dict.fromkeys(own, _row(9, False)), is_untouched=True)


def _versions_compare_as_text(ids: Iterator[int]) -> Case:
    """`9` is newer than `10` by the documentation's rule; both are hex in practice."""
    pairs = [*zip(ids, [("10", "9"), ("9", "10"), ("Z", "a"), ("a", "Z")], strict=False)]
    answers = [[_raw(id_, pair[place]) for id_, pair in pairs] for place in (0, 1)]
    return Case(answers, {id_: {"change_version": max(pair)} for id_, pair in pairs})


def _the_same_events_twice_change_nothing_but_the_time(ids: Iterator[int]) -> Case:
    first, second, third, new = next(ids), next(ids), next(ids), 7
    events = [_update(first, 1), _delete(second, 1), _update(third, 1), _update(new, 1)]
    wanted = {**dict.fromkeys((first, third, new), _row(1, False)), second: _row(1, True)}
    answers = [events * 2, Random(1).sample(events, len(events))]
    return Case(answers, wanted, is_settled=True)


def _at_equal_versions_an_announced_delete_stands(ids: Iterator[int]) -> Case:
    """A Delete may carry the last version of its record; an update repeated later is older."""
    one, other = next(ids), next(ids)
    answers = [
        [_delete(one, 5), _update(one, 5), _update(other, 5), _delete(other, 5)],
        [_update(one, 5), _update(other, 5)],
    ]
    return Case(answers, dict.fromkeys((one, other), _row(5, True, person_id=5)))


def _a_row_deleted_and_created_again_is_live(ids: Iterator[int]) -> Case:
    one, other = next(ids), next(ids)
    answers = [[_update(one, 6), _delete(one, 5), _delete(other, 5)], [_update(other, 6)]]
    wanted = _row(6, False, person_id=6, delete_reason=None)
    return Case(answers, dict.fromkeys((one, other), wanted))


def _a_null_or_absent_field_empties_the_column(ids: Iterator[int]) -> Case:
    """An update carries the whole record: what it leaves out is no longer there."""
    id_ = next(ids)
    empty = ("start_time_in_minutes", "comments", "until_date", "activity_levels")
    return Case([[_update(id_, 1, comments=None)]], {id_: _row(1, False, **dict.fromkeys(empty))})


CASES: tuple[Callable[[Iterator[int]], Case], ...] = (
    _a_null_or_absent_field_empties_the_column,
    _every_order_within_one_answer,
    _every_order_across_answers,
    _old_versions_change_nothing,
    _versions_compare_as_text,
    _the_same_events_twice_change_nothing_but_the_time,
    _at_equal_versions_an_announced_delete_stands,
    _a_row_deleted_and_created_again_is_live,
)


def test_the_newest_version_decides(world: World, subtests: pytest.Subtests) -> None:
    """Each case has rows of its own, so that all of them share the answers."""
    full = [
        id_
        for id_, record in sorted(world.tenant.records.items())
        if {"startTimeInMinutes", "comments", "activityLevels"} <= record.keys()
    ]
    ids = iter([full[0], *(id_ for id_ in sorted(world.tenant.records) if id_ != full[0])])
    cases = {make.__name__.replace("_", " ").strip(): make(ids) for make in CASES}
    world.run()
    tables: list[dict[int, Row]] = []
    for parts in zip_longest(*(case.answers for case in cases.values()), fillvalue=[]):
        _answer(world, [event for part in parts for event in part])
        tables.append(world.rows())
    for name, case in cases.items():
        with subtests.test(name):
            first, last = ({i: table[i] for i in case.wanted} for table in (tables[0], tables[-1]))
            shown = {id_: {c: last[id_][c] for c in row} for id_, row in case.wanted.items()}
            assert shown == case.wanted
            assert not case.is_settled or timeless(first) == timeless(last)
            assert not case.is_untouched or first == last


def _answer(world: World, events: list[Event]) -> None:
    """The next delta answer, word by word."""
    body = json.dumps({"value": events, "deltaLink": world.bookmark().link})
    world.tenant.faults.append(Fault("status", status=200, body=body, where="/delta/"))
    world.run()
    assert not world.tenant.faults
