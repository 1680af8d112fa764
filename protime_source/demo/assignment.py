"""The collection `assignments` (pages `reference/collections/assignments/`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

from protime_source.demo.collection import Collection, Fields
from protime_source.demo.store import Record

EARLIEST_MINUTE, LATEST_MINUTE = -1440, 2880


def _span(record: Record) -> tuple[str, str]:
    first: str = record["from"]
    return first, record.get("until") or first


def _person(record: Record) -> int:
    id_: int = record["person"]["id"]
    return id_


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _is_time(value: Any) -> bool:
    return _is_integer(value) and EARLIEST_MINUTE <= value <= LATEST_MINUTE


def _is_break(value: Any) -> bool:
    return _is_integer(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_person(value: Any) -> bool:
    return isinstance(value, dict) and _is_integer(value.get("id"))


def _is_levels(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_level, value))


def _is_level(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_integer(value.get("level")):
        return False
    definition = value.get("activityDefinition")
    return isinstance(definition, dict) and _is_text(definition.get("id"))


_TIME = f"must be a whole number of minutes from {EARLIEST_MINUTE} to {LATEST_MINUTE}"
_DATE = "must be a date of the form YYYY-MM-DD"
_REQUIRED = ("person", "from")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "person": (_is_person, "must have an integer id"),
    "from": (_is_date, _DATE),
    "until": (_is_date, _DATE),
    "startTimeInMinutes": (_is_time, _TIME),
    "endTimeInMinutes": (_is_time, _TIME),
    "breakDurationInMinutes": (_is_break, "must be a whole number of minutes"),
    "comments": (_is_text, "must be text"),
    "activityLevels": (_is_levels, "must be a list of level and activityDefinition.id"),
}


def _problems(fields: Fields) -> list[tuple[str, str]]:
    found = [(name, "is required") for name in _REQUIRED if fields.get(name) is None]
    found += _broken_rules(fields)
    if not found and _span(dict(fields))[1] < fields["from"]:
        found.append(("until", "must not be before from"))
    return found


def _broken_rules(fields: Fields) -> Iterator[tuple[str, str]]:
    for name, (is_valid, message) in _RULES.items():
        value = fields.get(name)
        if value is not None and not is_valid(value):
            yield name, message


ASSIGNMENTS = Collection(
    name="assignments",
    span=_span,
    person=_person,
    problems=_problems,
    initial={"isRejected": False},
)
