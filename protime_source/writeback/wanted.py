"""One wanted row: its values, checked by Protime's rules before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from difflib import get_close_matches
from numbers import Real
from typing import Any

import msgspec

from protime_source.api.assignments import ActivityLevel
from protime_source.decode.values import fits_bigint
from protime_source.errors import SettingsError
from protime_source.writeback.rows import BEYOND, RawRow

EARLIEST_MINUTE, LATEST_MINUTE = -1440, 2880
"""Of the times of an assignment (reference/collections/assignments/post)."""

REQUIRED = ("person_id", "from_date")
"""What an assignment cannot be without."""

READ_ONLY = ("is_rejected", "deleted_at", "delete_reason", "synced_at")
"""Columns of the table `assignments` that a row may have, and that say nothing to a push."""

LONGEST_KEY = 500
"""Characters."""

_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-5][0-9])(:00)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BOOLS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass(frozen=True)
class Wanted:
    """A row as it is wanted in Protime.

    Attributes:
        number: Its position among the rows, from 1.
        key: The caller's own key.
        id: Protime's id, if the row has one.
        is_deleted: Whether the assignment is to be deleted.
        version: The `change_version` that the row was made from, if it has one.
        fields: The fields of an `Assignment` that the row has. A field that it lacks stays as it
            is in Protime.
        problems: Why the row is not valid; empty when it is.
    """

    number: int
    key: str
    id: int | None
    is_deleted: bool
    version: str | None
    fields: Mapping[str, Any]
    problems: tuple[str, ...]

    def with_problem(self, problem: str) -> Wanted:
        """Returns the row with one more reason why it is not valid."""
        return replace(self, problems=(*self.problems, problem))


def read_wanted(rows: Sequence[RawRow]) -> list[Wanted]:
    """Returns the wanted rows; those that share a key or an id are not valid.

    Args:
        rows: Dicts with `key`, and columns of the table `assignments`.

    Raises:
        SettingsError: When a column is wrong in all rows.
    """
    _check_columns(rows)
    found = [_wanted(number, row) for number, row in enumerate(rows, 1)]
    for name in ("key", "id"):
        numbers: dict[Any, list[int]] = {}
        for each in found:
            numbers.setdefault(getattr(each, name), []).append(each.number)
        for value, doubles in numbers.items():
            if len(doubles) > 1 and value not in (None, ""):
                for number in doubles:
                    others = [str(other) for other in doubles if other != number]
                    text = f"row {', '.join(others[:3])} has the same {name}"
                    found[number - 1] = found[number - 1].with_problem(text)
    return found


def _check_columns(rows: Sequence[RawRow]) -> None:
    """Says once what is wrong with a column of all rows, as of a file."""
    of_row = [{str(name).lower(): str(name) for name in row} for row in rows]
    shared = set.intersection(*map(set, of_row)) - {*_COLUMNS, *READ_ONLY, BEYOND} if rows else None
    if shared:
        names = ", ".join(_with_hint(name) for lower, name in of_row[0].items() if lower in shared)
        which = "an unknown column" if len(shared) == 1 else "unknown columns"
        raise SettingsError(
            f"The rows have {which}: {names}. Nothing was sent. Rename or remove what is not a"
            " column of the table assignments, key or is_deleted."
        )
    if rows and not any("key" in names for names in of_row):
        raise SettingsError(
            "The rows have no column key, your own key of each assignment. Nothing was sent."
        )


def _with_hint(name: object) -> str:
    near = get_close_matches(str(name).lower(), _COLUMNS, 1)
    return f"{name} (did you mean {near[0]}?)" if near else str(name)


def _wanted(number: int, row: RawRow) -> Wanted:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in row.items():
        column = str(name).lower()
        if column in READ_ONLY:
            continue
        if column not in _COLUMNS:
            problems.append(f"unknown column {_with_hint(name)}")
            continue
        try:
            values[column] = None if _is_missing(value) else _COLUMNS[column](value)
        except ValueError as error:
            problems.append(f"{column} {error}")
    key, is_deleted = values.pop("key", None), bool(values.pop("is_deleted", None))
    if key is None and not any(problem.startswith("key ") for problem in problems):
        problems.insert(0, "key is missing")
    id_, version = values.pop("id", None), values.pop("change_version", None)
    if not is_deleted:
        problems += [f"{name} is empty" for name in REQUIRED if name in values and not values[name]]
        first, last = values.get("from_date"), values.get("until_date")
        if first and last and last < first:
            problems.append("until_date is before from_date")
    if "activity_levels" in values:
        values["activity_levels"] = values["activity_levels"] or ()
    return Wanted(number, key or "", id_, is_deleted, version, values, tuple(problems))


def _is_missing(value: Any) -> bool:
    """Whether it is no value: pandas has NaN for it, which differs from itself."""
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, float | datetime):
        return bool(value != value)
    return value is None or (isinstance(value, str) and not value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text")
    return value


def _key(value: Any) -> str:
    """A key is text; a number is as good."""
    text = str(_whole(value)) if not isinstance(value, str) else value.strip()
    if not 0 < len(text) <= LONGEST_KEY or not text.isprintable():
        raise ValueError(f"is not printable text of up to {LONGEST_KEY} characters")
    return text


def _whole(value: Any) -> int:
    is_number = isinstance(value, Real | Decimal) and not isinstance(value, bool)
    with suppress(ArithmeticError):  # as of an infinite Decimal
        if is_number and value == value // 1:
            return int(value)
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    raise ValueError("is not a whole number")


def _id(value: Any) -> int:
    number = _whole(value)
    if number <= 0 or not fits_bigint(number):
        raise ValueError("is not an id: a whole number above 0")
    return number


def _no_time_of_day(value: Any, unit: str) -> None:
    text = value.isoformat("minutes") if isinstance(value, time) else str(value).strip()
    if found := _TIME_OF_DAY.fullmatch(text):
        minutes = 60 * int(found[1]) + int(found[2])
        raise ValueError(f"is {text}, but {unit} are meant: {minutes}")


def _minutes(value: Any) -> int:
    _no_time_of_day(value, "minutes since midnight")
    minutes = _whole(value)
    if not EARLIEST_MINUTE <= minutes <= LATEST_MINUTE:
        raise ValueError(f"is not within {EARLIEST_MINUTE} to {LATEST_MINUTE} minutes")
    return minutes


def _duration(value: Any) -> int:
    _no_time_of_day(value, "minutes")
    minutes = _whole(value)
    if not 0 <= minutes <= LATEST_MINUTE - EARLIEST_MINUTE:
        raise ValueError("is not a number of minutes")
    return minutes


def _day(value: Any) -> date:
    if isinstance(value, datetime) and value.time() == time():
        return value.date()
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str):
        try:
            if (day := date.fromisoformat(value.strip())).isoformat() == value.strip():
                return day
        except ValueError:
            pass
    raise ValueError("is not a date: YYYY-MM-DD")


def _bool(value: Any) -> bool:
    found = _BOOLS.get(str(value).strip().lower())
    if found is None:
        raise ValueError("is not true or false")
    return found


def _levels(value: Any) -> tuple[ActivityLevel, ...]:
    """As the table has them, in JSON text or not, or as `ActivityLevel`, or with its names."""
    try:
        entries = msgspec.json.decode(value) if isinstance(value, str) else value
        levels = tuple(_level(entry) for entry in entries or ())
    except (TypeError, KeyError, AttributeError, RecursionError, msgspec.DecodeError):
        raise ValueError("is not a list of levels with activityDefinition.id") from None
    if len({each.level for each in levels}) < len(levels):
        raise ValueError("has a level twice")
    return levels


def _level(entry: Any) -> ActivityLevel:
    if isinstance(entry, ActivityLevel):
        level, definition = entry.level, entry.activity_definition_id
    else:
        names = entry.get("activity_definition_id")
        level, definition = entry["level"], names or entry["activityDefinition"]["id"]
    if _whole(level) < 1 or not _GUID.fullmatch(definition):
        raise ValueError("has a level that is no number from 1, or a definition that is no GUID")
    return ActivityLevel(level=_whole(level), activity_definition_id=definition)


_COLUMNS: dict[str, Callable[[Any], Any]] = {
    "key": _key,
    "id": _id,
    "is_deleted": _bool,
    "change_version": _text,
    "person_id": _id,
    "from_date": _day,
    "until_date": _day,
    "start_time_in_minutes": _minutes,
    "end_time_in_minutes": _minutes,
    "break_duration_in_minutes": _duration,
    "comments": _text,
    "activity_levels": _levels,
}
"""The columns of a row, and what makes a value of each; a `ValueError` says why not."""
