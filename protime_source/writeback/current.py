"""What Protime has now, of the days and ids that a push is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date

from protime_source.api.assignments import Assignment, Assignments
from protime_source.errors import NotFoundError

PEOPLE_PER_LIST = 50
"""With more, filter and continuation token may be too long for a URL (reference/filtering)."""

Place = tuple[int, date]
"""A person, and a first day."""


class CurrentAssignments:
    """Protime's assignments, read by lists of a month where many are needed, else one by one.

    Args:
        assignments: Those of the tenant.
    """

    def __init__(self, assignments: Assignments) -> None:
        self._assignments = assignments
        self._by_id: dict[int, Assignment | None] = {}
        self._by_place: dict[Place, set[int]] = defaultdict(set)

    def look_at(self, places: Iterable[Place]) -> None:
        """Reads the lists of some places.

        Raises:
            ApiError: When Protime gives no usable answer.
        """
        for first, last, people in _lists(places):
            for found in self._assignments.find(first, last, people):
                known = self._by_id.get(found.id or 0)
                if known is None or (found.change_version or "") >= (known.change_version or ""):
                    self._by_id[found.id or 0] = found
                self._by_place[found.person_id, found.from_date].add(found.id or 0)

    def at(self, place: Place) -> list[Assignment]:
        """Returns the assignments that a list showed at a place, by id."""
        found = [self._by_id[id_] for id_ in sorted(self._by_place.get(place, ()))]
        return [each for each in found if each and (each.person_id, each.from_date) == place]

    def get(self, id_: int) -> Assignment | None:
        """Returns an assignment; `None` when Protime does not have it.

        Raises:
            ApiError: When Protime gives no usable answer.
        """
        if id_ not in self._by_id:
            try:
                self._by_id[id_] = self._assignments.get(id_)
            except NotFoundError:
                self._by_id[id_] = None
        return self._by_id[id_]


def _lists(places: Iterable[Place]) -> Iterator[tuple[date, date, list[int]]]:
    """First day, last day and people of the lists that show some places: a month at most each."""
    months: dict[tuple[int, int], set[Place]] = defaultdict(set)
    for person, day in places:
        months[day.year, day.month].add((person, day))
    for month in sorted(months):
        people = sorted({person for person, _ in months[month]})
        for start in range(0, len(people), PEOPLE_PER_LIST):
            some = people[start : start + PEOPLE_PER_LIST]
            days = [day for person, day in months[month] if person in set(some)]
            yield min(days), max(days), some
