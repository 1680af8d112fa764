from __future__ import annotations

from collections import Counter
from datetime import date
from time import perf_counter
from typing import Any
from uuid import UUID

import pytest

from protime_source.demo import assignments

TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def many() -> list[dict[str, Any]]:
    return list(assignments(rows=20_000, seed=1, today=TODAY))


@pytest.mark.parametrize("rows", [0, 1, 7, 1000, 5001])
def test_exact_number(rows: int) -> None:
    assert len(list(assignments(rows=rows, seed=1, today=TODAY))) == rows


def test_same_seed_same_data() -> None:
    first, again, other = (list(assignments(rows=50, seed=s, today=TODAY)) for s in (1, 1, 2))
    assert first == again != other


def test_hundred_thousand_in_two_seconds() -> None:
    start = perf_counter()
    assert sum(1 for _ in assignments(rows=100_000, seed=1, today=TODAY)) == 100_000
    assert perf_counter() - start < 2


def test_dates_span_the_window(many: list[dict[str, Any]]) -> None:
    assert min(row["from"] for row in many) == "2025-01-01"
    assert "2026-12-20" < max(row["from"] for row in many) < "2027-01-20"


def test_some_last_several_days(many: list[dict[str, Any]]) -> None:
    assert 0.01 < sum(row.get("until", row["from"]) > row["from"] for row in many) / 20_000 < 0.04
    assert all(row.get("until", row["from"]) >= row["from"] for row in many)


def test_times_cross_midnight_within_the_range(many: list[dict[str, Any]]) -> None:
    starts = [row["startTimeInMinutes"] for row in many if "startTimeInMinutes" in row]
    ends = [row["endTimeInMinutes"] for row in many if "endTimeInMinutes" in row]
    assert min(starts) < 0
    assert max(ends) > 1440
    assert min(starts) >= -1440
    assert max(ends) <= 2880


def test_breaks(many: list[dict[str, Any]]) -> None:
    assert {row.get("breakDurationInMinutes") for row in many} == {None, 0, 15, 30, 45, 60}


def test_three_percent_rejected(many: list[dict[str, Any]]) -> None:
    assert 0.02 < sum(row["isRejected"] for row in many) / 20_000 < 0.04


def test_comments_are_few_and_in_many_scripts(many: list[dict[str, Any]]) -> None:
    comments = Counter(row.get("comments") for row in many)
    assert comments[None] > 17_000
    written = "".join(text for text in comments if text)
    assert all(letter in written for letter in "éüęαع🙏")


def test_up_to_three_levels_with_guids(many: list[dict[str, Any]]) -> None:
    levels = [row.get("activityLevels", []) for row in many]
    assert {len(path) for path in levels} == {0, 1, 2, 3}
    assert all(UUID(level["activityDefinition"]["id"]) for path in levels for level in path)


def test_absent_fields_are_left_out(many: list[dict[str, Any]]) -> None:
    assert not any(value in (None, []) for row in many for value in row.values())
