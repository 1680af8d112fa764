"""When two assignments are the same, field by field, and the hash of what was sent."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import msgspec

from protime_source.api.assignments import ActivityLevel, Assignment

FIELDS = tuple(
    each.name
    for each in fields(Assignment)
    if each.name not in ("id", "change_version", "is_rejected", "other")
)
"""The fields that can be written, in their order."""

Changes = Mapping[str, tuple[Any, Any]]
"""Old and new value, by field."""


def changes_to(current: Assignment, wanted: Mapping[str, Any]) -> Changes:
    """Returns the fields that differ.

    Args:
        current: The assignment as Protime has it.
        wanted: The wanted values of some fields.
    """
    changed = replace(current, **_with_last_day(current, wanted))
    before, after = _comparable(current), _comparable(changed)
    found = {name: (getattr(current, name), getattr(changed, name)) for name in FIELDS}
    return {
        name: (old, new)
        for name, (old, new) in found.items()
        if before[name] != after[name] and old != new
    }


def merged(current: Assignment, wanted: Mapping[str, Any]) -> Assignment:
    """Returns the assignment with the wanted values; what is the same stays as it came.

    A level that stays keeps the fields that this package does not know.

    Args:
        current: The assignment as Protime has it.
        wanted: The wanted values of some fields.
    """
    wanted = _with_last_day(current, wanted)
    changed = {name: wanted[name] for name in changes_to(current, wanted)}
    if "from_date" in changed and "until_date" in wanted:
        changed["until_date"] = wanted["until_date"]
    if "activity_levels" in changed:
        known = {_level(each): each for each in current.activity_levels}
        changed["activity_levels"] = tuple(
            known.get(_level(each), each) for each in changed["activity_levels"]
        )
    return replace(current, **changed)


def _with_last_day(current: Assignment, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """The wanted values; the last day of an assignment of one day moves with the first."""
    is_of_one_day = current.until_date == current.from_date
    if is_of_one_day and "from_date" in wanted and "until_date" not in wanted:
        return {**wanted, "until_date": wanted["from_date"]}
    return wanted


def sent_hash(assignment: Assignment) -> str:
    """Returns what identifies the values of an assignment: first person and day, then all.

    Args:
        assignment: As it is sent, or as Protime has it: what Protime may fill in or tidy up by
            itself makes no difference.
    """
    values = _comparable(assignment)
    return f"{_hash([values['person_id'], values['from_date']])[:16]}.{_hash(values)}"


def is_of_same_day(one: str, other: str) -> bool:
    """Whether two hashes are of the same person and first day."""
    return one.partition(".")[0] == other.partition(".")[0]


def _hash(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()


def _comparable(assignment: Assignment) -> dict[str, Any]:
    """The values as they compare.

    Whether Protime fills in what a write leaves out is not documented: the last day may be the
    first, no break may be 0 minutes, and no comment an empty one.
    """
    values = {name: getattr(assignment, name) for name in FIELDS}
    if values["until_date"] == values["from_date"]:
        values["until_date"] = None
    values["break_duration_in_minutes"] = values["break_duration_in_minutes"] or None
    comments = "\n".join(line.rstrip() for line in (values["comments"] or "").splitlines())
    values["comments"] = comments.strip() or None
    values["activity_levels"] = sorted(map(_level, assignment.activity_levels))
    return values


def _level(level: ActivityLevel) -> tuple[int, str]:
    return level.level, level.activity_definition_id.lower()
