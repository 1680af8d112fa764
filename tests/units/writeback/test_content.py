"""When two assignments are the same, and what their hash tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from protime_source import ActivityLevel, Assignment
from protime_source.writeback.content import changes_to, is_of_same_day, merged, sent_hash

DAY = date(2026, 3, 10)
HASH = "efe3569b85f4536a.7f8572aacd64e531eb1e8f9445cc765f0d7b9847323a344cb211421dc4eacbb0"
LEVELS = (
    ActivityLevel(level=2, activity_definition_id="b" * 36),
    ActivityLevel(level=1, activity_definition_id="a" * 36, other={"note": "x"}),
)
ONE = Assignment(
    person_id=17,
    from_date=DAY,
    until_date=DAY + timedelta(days=1),
    start_time_in_minutes=0,
    end_time_in_minutes=480,
    break_duration_in_minutes=30,
    comments="Zaal 3\nboven",
    activity_levels=LEVELS,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"until_date": None}, {"until_date": DAY}),
        ({"break_duration_in_minutes": None}, {"break_duration_in_minutes": 0}),
        ({"comments": None}, {"comments": ""}),
        ({"comments": "Zaal 3\nboven"}, {"comments": "Zaal 3 \r\nboven\n"}),
        ({"activity_levels": LEVELS}, {"activity_levels": LEVELS[::-1]}),
        (
            {"activity_levels": LEVELS[:1]},
            {"activity_levels": (replace(LEVELS[0], activity_definition_id="B" * 36),)},
        ),
    ],
)
def test_what_protime_may_fill_in_or_tidy_up_is_no_difference(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert sent_hash(replace(ONE, **one)) == sent_hash(replace(ONE, **other))
    assert changes_to(replace(ONE, **one), other) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"person_id": 18},
        {"from_date": DAY + timedelta(days=1)},
        {"until_date": None},
        {"start_time_in_minutes": None},
        {"end_time_in_minutes": 481},
        {"break_duration_in_minutes": None},
        {"comments": "zaal 3\nboven"},
        {"activity_levels": LEVELS[:1]},
        {"activity_levels": ()},
    ],
)
def test_each_field_makes_a_difference(other: dict[str, Any]) -> None:
    [(name, value)] = other.items()
    assert sent_hash(replace(ONE, **other)) != sent_hash(ONE)
    assert changes_to(ONE, other) == {name: (getattr(ONE, name), value)}
    assert is_of_same_day(sent_hash(replace(ONE, **other)), sent_hash(ONE)) == (
        name not in ("person_id", "from_date")
    )


def test_the_hash_is_of_what_can_be_written() -> None:
    read = replace(ONE, id=1, change_version="A", is_rejected=True, other={"colour": "red"})
    assert sent_hash(read) == sent_hash(ONE)


def test_the_hash_is_one_that_later_versions_must_find_again() -> None:
    """Receipts that are open when the package is upgraded are compared by it."""
    assert sent_hash(Assignment(person_id=17, from_date=DAY)) == HASH


def test_what_is_the_same_stays_as_it_came() -> None:
    current = replace(ONE, until_date=DAY, comments="Zaal 3 ")
    wanted = {"until_date": None, "comments": "Zaal 3", "end_time_in_minutes": 500}
    assert merged(current, wanted) == replace(current, end_time_in_minutes=500)


@pytest.mark.parametrize(
    ("wanted", "last_day"),
    [({}, DAY + timedelta(days=3)), ({"until_date": None}, None), ({"until_date": DAY}, DAY)],
)
def test_the_last_day_of_one_day_moves_with_the_first(
    wanted: dict[str, Any], last_day: date | None
) -> None:
    current = replace(ONE, until_date=DAY)
    moved = merged(current, {"from_date": DAY + timedelta(days=3), **wanted})
    assert moved == replace(current, from_date=DAY + timedelta(days=3), until_date=last_day)


def test_a_level_that_stays_keeps_what_nobody_knows() -> None:
    new = ActivityLevel(level=3, activity_definition_id="c" * 36)
    plain = replace(LEVELS[1], other={}, activity_definition_id="A" * 36)
    assert merged(ONE, {"activity_levels": (plain, new)}).activity_levels == (LEVELS[1], new)
