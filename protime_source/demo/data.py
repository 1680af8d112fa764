"""Generates realistic assignments, of any number, from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import Any
from uuid import UUID

Fields = dict[str, Any]
Shift = tuple[int, int, int]
"""Start and end in minutes since midnight, break in minutes."""

STRUCTURE = "7c1f2f0e-3b0a-4d55-9f43-0c5a6f7b8d90"
"""The id of the customer's only activity structure version."""

LEVELS = (1, 2, 3)
"""The levels of the activity structure."""

_WEEKS_AHEAD = 6
_LONGEST_DAYS = 14
_FIRST_PERSON = 1204
_WEEK = (0, 1, 2, 3, 4)
_PATTERNS: tuple[tuple[float, tuple[tuple[int, ...], ...], tuple[Shift, ...]], ...] = (
    # share of the people, weekdays to choose from, shifts that alternate by week
    (0.30, (_WEEK,), ((510, 1020, 30), (510, 1020, 60))),
    (0.15, ((0, 1, 2, 3), (0, 1, 3, 4), (1, 2, 3)), ((480, 990, 45), (540, 1020, 30))),
    (0.10, (_WEEK, (0, 1, 2), (2, 3, 4)), ((480, 720, 0), (780, 1020, 15))),
    (0.25, (_WEEK, (1, 2, 3, 4, 5)), ((360, 840, 30), (840, 1320, 30))),
    (0.12, ((0, 1, 2, 3), (3, 4, 5, 6), (6, 0, 1)), ((1320, 1800, 45), (1320, 1800, 30))),
    (0.03, ((0, 2, 4), (1, 3, 5)), ((-120, 360, 30), (-60, 420, 15))),
    (0.05, ((5, 6), (4, 5, 6)), ((600, 1200, 60), (720, 1380, 45))),
)
_COMMENTS = (
    "Vergadering met de klant, zaal 3",
    "Wisselt van dienst met Joris",
    "Sleutel afhalen aan de balie",
    "Remplacement de dernière minute",
    "Formation sécurité l'après-midi",
    "À confirmer avec l'équipe du matin",
    "Übergabe an die Spätschicht",
    "Schlüssel liegt beim Pförtner",
    "Forklift training, hall B",
    'Call "Van den Bossche & Zn" first',
    "Late start (train)\nhome office after 14:00",
    "Αντικατάσταση συναδέλφου",
    "Zastępstwo za Łukasza",
    "اجتماع مع العميل",
    "Inventaris 📦 magazijn 2",
    "Bedankt voor de hulp! 🙏🏽",
)


@dataclass(frozen=True)
class _Worker:
    person: dict[str, int]
    weekdays: tuple[int, ...]
    shifts: tuple[Shift, ...]
    levels: tuple[list[dict[str, Any]], ...]


def assignments(*, rows: int, seed: int, today: date) -> Iterator[Fields]:
    """Exactly `rows` assignments, without id and changeVersion, oldest first.

    They cover the time from 1 January of the previous year to six weeks ahead, spread evenly. As
    many people as needed work by weekly patterns. Optional fields without a value are left out.
    """
    return Planning(seed, rows, today).rows(rows)


class Planning:
    """The people of a customer and their weekly patterns."""

    def __init__(self, seed: int, rows: int, today: date) -> None:
        self._first = date(today.year - 1, 1, 1)
        days = (today - self._first).days + 7 * _WEEKS_AHEAD + 1
        dates = [self._first + timedelta(days=day) for day in range(days + _LONGEST_DAYS)]
        self._texts = [day.isoformat() for day in dates]
        self._weekdays = [day.weekday() for day in dates[:days]]
        self._random = Random(seed)
        self._levels = _activity_levels(self._random)
        self._workers = self._hire(rows)

    @property
    def people(self) -> list[int]:
        """The ids of the people."""
        return [worker.person["id"] for worker in self._workers]

    def definitions(self, level: int) -> dict[str, str]:
        """The activity definitions of a level with their parents; "" at the top level."""
        return {
            path[level - 1]["activityDefinition"]["id"]: (
                path[level - 2]["activityDefinition"]["id"] if level > 1 else ""
            )
            for path in self._levels
            if len(path) >= level
        }

    def rows(self, count: int) -> Iterator[Fields]:
        """Exactly `count` assignments, spread as evenly as the patterns allow."""
        total, slot = self._slots(self._workers), 0
        teams = [[w for w in self._workers if day in w.weekdays] for day in range(7)]
        for day, weekday in enumerate(self._weekdays):
            for worker in teams[weekday]:
                slot += 1
                if slot * count // total > (slot - 1) * count // total:
                    yield self._assignment(self._random, worker, day)

    def one(self, random: Random) -> Fields:
        """A random new assignment."""
        worker = random.choice(self._workers)
        return self._assignment(random, worker, random.randrange(len(self._weekdays)))

    def on(self, random: Random, day: date) -> Fields:
        """A random new assignment on a day, of somebody who works on such days."""
        number = min((day - self._first).days, len(self._weekdays) - 1)
        weekday = self._weekdays[number]
        team = [worker for worker in self._workers if weekday in worker.weekdays]
        return self._assignment(random, random.choice(team or self._workers), number)

    def edit(self, random: Random, record: Mapping[str, Any]) -> Fields:
        """The fields of `record` after a random edit by a planner."""
        fields = {k: v for k, v in record.items() if k not in ("id", "changeVersion")}
        new = self.one(random)
        subject = random.choice(("times", "comments", "dates", "activityLevels", "isRejected"))
        if subject == "isRejected":
            return {**fields, "isRejected": not record.get("isRejected")}
        if subject == "comments":
            return {**fields, "comments": random.choice(_COMMENTS)}
        names = {
            "times": ("startTimeInMinutes", "endTimeInMinutes", "breakDurationInMinutes"),
            "dates": ("from", "until"),
        }.get(subject, (subject,))
        kept = {k: v for k, v in fields.items() if k not in names}
        return {**kept, **{k: new[k] for k in names if k in new}}

    def _hire(self, rows: int) -> list[_Worker]:
        """At least five people, and enough for the number of rows."""
        workers: list[_Worker] = []
        slots = 0
        while len(workers) < 5 or slots < rows:
            workers.append(self._worker(_FIRST_PERSON + 3 * len(workers)))
            slots += self._slots(workers[-1:])
        return workers

    def _slots(self, workers: list[_Worker]) -> int:
        per_weekday = [self._weekdays.count(weekday) for weekday in range(7)]
        return sum(per_weekday[weekday] for worker in workers for weekday in worker.weekdays)

    def _worker(self, id_: int) -> _Worker:
        random = self._random
        shares = [share for share, _, _ in _PATTERNS]
        _, weeks, shifts = random.choices(_PATTERNS, shares)[0]
        levels = tuple(random.choices(self._levels, k=4))
        return _Worker({"id": id_}, random.choice(weeks), shifts, levels)

    def _assignment(self, random: Random, worker: _Worker, day: int) -> Fields:
        chance = random.random
        fields: Fields = {"person": worker.person, "from": self._texts[day]}
        if (draw := chance()) > 0.10:
            length = random.randint(1, _LONGEST_DAYS) if draw > 0.98 else 0
            fields["until"] = self._texts[day + length]
        if (draw := chance()) > 0.05:
            start, end, pause = worker.shifts[day // 7 % len(worker.shifts)]
            shift_minutes = random.randint(-4, 4) * 15 if draw > 0.85 else 0
            fields["startTimeInMinutes"], fields["endTimeInMinutes"] = (
                start + shift_minutes,
                end + shift_minutes,
            )
            if chance() > 0.08:
                fields["breakDurationInMinutes"] = pause
        if chance() < 0.08:
            fields["comments"] = random.choice(_COMMENTS)
        if levels := worker.levels[int(chance() * len(worker.levels))]:
            fields["activityLevels"] = levels
        fields["isRejected"] = chance() < 0.03
        return fields


def _activity_levels(random: Random) -> list[list[dict[str, Any]]]:
    """Paths of 0 to 3 levels in one tree of activities; many records share a path."""
    paths: list[list[dict[str, Any]]] = [[], []]
    for _ in range(4):
        top = [_level(random, 1)]
        middle = [*top, _level(random, 2)]
        paths += [top, middle, [*middle, _level(random, 3)], [*middle, _level(random, 3)]]
    return paths


def _level(random: Random, level: int) -> dict[str, Any]:
    guid = str(UUID(int=random.getrandbits(128), version=4))
    return {"level": level, "activityDefinition": {"id": guid}}
