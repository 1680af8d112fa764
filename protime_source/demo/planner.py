"""What planners change from day to day: mostly the days ahead, some at short notice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from random import Random
from typing import Any

from protime_source.demo.data import Fields, Planning

_LEADS = (
    # share of the changes, first and last day of the work, from today on
    (0.06, -3, -1),  # what was entered late
    (0.10, 0, 0),
    (0.26, 1, 3),
    (0.28, 4, 9),
    (0.30, 10, 41),
)
_KINDS = {"create": 0.30, "update": 0.50, "delete": 0.20}
_EDITS = {"times": 0.45, "person": 0.25, "dates": 0.15, "isRejected": 0.05, "comments": 0.10}
_COMMENTS = ("Swapped with a colleague", "Starts later: train", "Machine is down", "Rush order")

Change = tuple[int | None, Fields | None]
"""Id, which is None for a new assignment; and fields, which are None for one that is deleted."""


def changes_of_plan(
    planning: Planning, records: Mapping[int, Mapping[str, Any]], today: date, random: Random
) -> Iterator[Change]:
    """Yields changes for ever, each to be made before the next one is asked for.

    Args:
        planning: The people and their patterns.
        records: The assignments, which nobody else deletes meanwhile.
        today: The day from which lead times count.
        random: Decides.
    """
    near = [_between(records, today, first, last) for _, first, last in _LEADS]
    people = planning.people
    while True:
        [lead] = random.choices(range(len(_LEADS)), [share for share, *_ in _LEADS])
        [kind] = random.choices([*_KINDS], [*_KINDS.values()])
        ids = near[lead]
        if kind == "create" or not ids:
            _, first, last = _LEADS[lead]
            yield None, planning.on(random, today + timedelta(days=random.randint(first, last)))
            continue
        place = random.randrange(len(ids))
        if kind == "delete":
            yield ids.pop(place), None
        else:
            yield ids[place], _edited(random, records[ids[place]], people)


def _between(
    records: Mapping[int, Mapping[str, Any]], today: date, first: int, last: int
) -> list[int]:
    start, end = ((today + timedelta(days=days)).isoformat() for days in (first, last))
    return [id_ for id_, record in records.items() if start <= record["from"] <= end]


def _edited(random: Random, record: Mapping[str, Any], people: list[int]) -> Fields:
    fields = {k: v for k, v in record.items() if k not in ("id", "changeVersion")}
    [subject] = random.choices([*_EDITS], [*_EDITS.values()])
    match subject:
        case "times":
            start, end = fields.get("startTimeInMinutes", 510), fields.get("endTimeInMinutes", 1020)
            by = random.choice((-120, -60, -30, 30, 60, 120))
            if not (start + by >= -1440 and end + by <= 2880):  # what Protime takes
                start, end, by = 510, 1020, 0
            return {**fields, "startTimeInMinutes": start + by, "endTimeInMinutes": end + by}
        case "person":
            return {**fields, "person": {"id": random.choice(people)}}
        case "dates":
            days = timedelta(days=random.choice((-1, 1, 1, 2)))
            names = [name for name in ("from", "until") if name in fields]
            for name in names:
                fields[name] = (date.fromisoformat(fields[name]) + days).isoformat()
            return fields
        case "isRejected":
            return {**fields, "isRejected": not fields.get("isRejected")}
    return {**fields, "comments": random.choice(_COMMENTS)}
