"""What the protocol needs to know of a collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from protime_source.demo.data import LEVELS, STRUCTURE
from protime_source.demo.filters import Selection
from protime_source.demo.store import Match, Record

Fields = Mapping[str, Any]
Span = tuple[str, str]
_FAR = "9999-12-31"


def _person(record: Record) -> int:
    """The person, or 0."""
    id_: int = record.get("person", {}).get("id", 0)
    return id_


def _day(record: Record) -> Span:
    """A record of one day."""
    return record["date"], record["date"]


def _no_problems(_: Fields) -> list[tuple[str, str]]:
    """Nothing is wrong with any write."""
    return []


@dataclass(frozen=True)
class Collection:
    """A collection.

    Attributes:
        name: As in paths and scopes, kebab-case.
        span: First and last date of a record, `YYYY-MM-DD`; None where there is no date filter.
        person: The person a record belongs to.
        problems: What is wrong with the fields of a write, as (field, message).
        initial: The read-only fields of a new record, besides `id` and `changeVersion`.
        has_delta: Whether it offers a delta.
        opened_by: The collections of whose scopes one opens it, if not its own.
    """

    name: str
    span: Callable[[Record], Span] | None = _day
    person: Callable[[Record], int] = _person
    problems: Callable[[Fields], list[tuple[str, str]]] = _no_problems
    initial: Fields = field(default_factory=dict)
    has_delta: bool = True
    opened_by: tuple[str, ...] = ()

    def scopes(self, access: Literal["read", "write"]) -> tuple[str, ...]:
        """The OAuth2 scopes of which one opens it (page `concepts/oauth2-scope-model/`)."""
        names = self.opened_by or (self.name,)
        return tuple(f"connector-protimeapi-{name}.{access}" for name in names)

    def writable(self, body: Fields) -> dict[str, Any]:
        """The body without read-only and empty fields."""
        read_only = {"id", "changeVersion", *self.initial}
        return {
            key: value for key, value in body.items() if key not in read_only and value is not None
        }

    def match(self, selection: Selection, window: Literal["from", "overlap"]) -> Match:
        """Whether a record is selected, by its first date or by any overlap."""
        start, end, people = selection.start, selection.end or _FAR, selection.people
        overlap, span, person = window == "overlap", self.span, self.person
        if span is None:
            return lambda record: not people or person(record) in people

        def selected(record: Record) -> bool:
            first, last = span(record)
            dated = first <= end and (last if overlap else first) >= start
            return dated and (not people or person(record) in people)

        return selected


_UNDATED = (
    "people contracts absence-definitions absence-groups break-definitions counter-definitions"
    " counter-groups shift-definitions"
)
_DATED = (
    "clockings access-clockings absences activity-durations calculated-totals paid-presences"
    " breaks work-interruptions counters"
)
_CATALOGS = "departments employers jobs job-categories sectors work-locations"
_HISTORIES = "department employer job job-category sector work-location"
_SCOPES = {"paid-presences": ("calculated-totals",)}
_HISTORY_SCOPES = ("people-historical-data", "people")

OTHERS = (
    *(Collection(name, opened_by=_SCOPES.get(name, ())) for name in _DATED.split()),
    *(Collection(name, None) for name in _UNDATED.split()),
    *(Collection(name, None, has_delta=False) for name in _CATALOGS.split()),
    *(
        Collection(f"{name}-histories", None, has_delta=False, opened_by=_HISTORY_SCOPES)
        for name in _HISTORIES.split()
    ),
    *(
        Collection(
            f"activity-structure-versions/{STRUCTURE}/levels/{level}/activity-definitions",
            None,
            has_delta=False,
            opened_by=("activity-definitions",),
        )
        for level in LEVELS
    ),
)
"""All but the assignments."""
