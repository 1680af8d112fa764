"""The collections of the demo tenant: scopes, dates, checks of writes, external references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from protime_source.demo.data import LEVELS, STRUCTURE
from protime_source.demo.filters import Selection
from protime_source.demo.messages import HttpError
from protime_source.demo.store import Match, Record

Fields = Mapping[str, Any]
Rules = dict[str, tuple[Callable[[Any], bool], str]]
Dates = tuple[str, str]
_LAST_DATE = "9999-12-31"


def _person(record: Record) -> int:
    """The id of the person of a record, or 0."""
    id_: int = record.get("person", {}).get("id", 0)
    return id_


def _date(record: Record) -> Dates:
    """The first and last date of a record of one day."""
    return record["date"], record["date"]


def _no_problems(_: Fields) -> list[tuple[str, str]]:
    """No problems: every write is accepted."""
    return []


def _nothing(_: Fields) -> Fields:
    """Nothing is filled in."""
    return {}


@dataclass(frozen=True)
class Collection:
    """A collection of the demo tenant.

    Attributes:
        name: Name in paths and scopes, kebab-case.
        dates: Returns the first and last date of a record, `YYYY-MM-DD`; None when the collection
            has no date filter.
        person: Returns the id of the person of a record, or 0.
        problems: Returns what is wrong with the fields of a write, as (field, message).
        initial: The read-only fields of a new record, besides `id` and `changeVersion`.
        has_delta: Whether the collection offers a delta.
        scope_names: The collections whose scopes give access; empty for the collection's own.
        has_yearly_lists: Whether a list takes a date range of one year at most, if it takes one.
        filled_in: Returns what a write gets that leaves it out, where the tenant fills it in.
    """

    name: str
    dates: Callable[[Record], Dates] | None = _date
    person: Callable[[Record], int] = _person
    problems: Callable[[Fields], list[tuple[str, str]]] = _no_problems
    initial: Fields = field(default_factory=dict)
    has_delta: bool = True
    scope_names: tuple[str, ...] = ()
    has_yearly_lists: bool = True
    filled_in: Callable[[Fields], Fields] = _nothing

    def scopes(self, access: Literal["read", "write"]) -> tuple[str, ...]:
        """The OAuth2 scopes of which one is needed (page `concepts/oauth2-scope-model/`)."""
        names = self.scope_names or (self.name,)
        return tuple(f"connector-protimeapi-{name}.{access}" for name in names)

    def writable(self, body: Fields) -> dict[str, Any]:
        """The body without read-only and empty fields."""
        read_only = {"id", "changeVersion", *self.initial}
        return {
            key: value for key, value in body.items() if key not in read_only and value is not None
        }

    def match(self, selection: Selection, window: Literal["from", "overlap"]) -> Match:
        """A test whether a record is selected, by its first date or by any overlap."""
        start, end, people = selection.start, selection.end or _LAST_DATE, selection.people
        overlap, dates, person = window == "overlap", self.dates, self.person
        if dates is None:
            return lambda record: not people or person(record) in people

        def selected(record: Record) -> bool:
            first, last = dates(record)
            in_range = first <= end and (last if overlap else first) >= start
            return in_range and (not people or person(record) in people)

        return selected


_UNDATED = (
    "people contracts absence-definitions absence-groups break-definitions counter-definitions"
    " counter-groups shift-definitions"
)
_DATED = (
    "access-clockings absences activity-durations calculated-totals paid-presences"
    " breaks work-interruptions counters"
)
_CATALOGS = "departments employers jobs job-categories sectors work-locations"
_HISTORIES = "department employer job job-category sector work-location"
_SCOPE_NAMES = {"paid-presences": ("calculated-totals",)}
_HISTORY_SCOPE_NAMES = ("people-historical-data", "people")

_CLOCKING_KINDS = ("InOut", "Reason", "Activity", "ActivityEnd")


def _clocking_problems(fields: Fields) -> list[tuple[str, str]]:
    required = ("person", "date", "timeOfDayInMinutes", "kind")
    found = [(name, "is required") for name in required if fields.get(name) is None]
    return [*found, *_broken_rules(fields, _CLOCKING_RULES)]


OTHERS = (
    Collection(  # page `reference/collections/clockings/post/`
        "clockings", problems=_clocking_problems, initial={"status": "Active"}
    ),
    *(Collection(name, scope_names=_SCOPE_NAMES.get(name, ())) for name in _DATED.split()),
    *(Collection(name, None) for name in _UNDATED.split()),
    *(Collection(name, None, has_delta=False) for name in _CATALOGS.split()),
    *(
        Collection(f"{name}-histories", None, has_delta=False, scope_names=_HISTORY_SCOPE_NAMES)
        for name in _HISTORIES.split()
    ),
    *(
        Collection(
            f"activity-structure-versions/{STRUCTURE}/levels/{level}/activity-definitions",
            None,
            has_delta=False,
            scope_names=("activity-definitions",),
        )
        for level in LEVELS
    ),
)
"""All collections except the assignments."""


# Assignments (pages `reference/collections/assignments/`).

_EARLIEST_MINUTE, _LATEST_MINUTE = -1440, 2880


def _assignment_dates(record: Record) -> Dates:
    first: str = record["from"]
    return first, record.get("until") or first


def _assignment_person(record: Record) -> int:
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
    return _is_integer(value) and _EARLIEST_MINUTE <= value <= _LATEST_MINUTE


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


_TIME = f"must be a whole number of minutes from {_EARLIEST_MINUTE} to {_LATEST_MINUTE}"
_DATE = "must be a date of the form YYYY-MM-DD"
_REQUIRED = ("person", "from")
_RULES: Rules = {
    "person": (_is_person, "must have an integer id"),
    "from": (_is_date, _DATE),
    "until": (_is_date, _DATE),
    "startTimeInMinutes": (_is_time, _TIME),
    "endTimeInMinutes": (_is_time, _TIME),
    "breakDurationInMinutes": (_is_break, "must be a whole number of minutes"),
    "comments": (_is_text, "must be text"),
    "activityLevels": (_is_levels, "must be a list of level and activityDefinition.id"),
}


_CLOCKING_RULES: Rules = {
    "person": (_is_person, "must have an integer id"),
    "date": (_is_date, _DATE),
    "timeOfDayInMinutes": (_is_time, _TIME),
    "kind": (lambda value: value in _CLOCKING_KINDS, f"must be one of {_CLOCKING_KINDS}"),
    "terminal": (_is_person, "must have an integer id"),
    "reason": (_is_person, "must have an integer id"),
    "activityLevels": (_is_levels, "must be a list of level and activityDefinition.id"),
}


def _assignment_problems(fields: Fields) -> list[tuple[str, str]]:
    found = [(name, "is required") for name in _REQUIRED if fields.get(name) is None]
    found += _broken_rules(fields, _RULES)
    if not found and _assignment_dates(dict(fields))[1] < fields["from"]:
        found.append(("until", "must not be before from"))
    return found


def _filled_in(fields: Fields) -> Fields:
    return {"until": fields["from"], "breakDurationInMinutes": 0, "comments": ""}


def _broken_rules(fields: Fields, rules: Rules) -> Iterator[tuple[str, str]]:
    for name, (is_valid, message) in rules.items():
        value = fields.get(name)
        if value is not None and not is_valid(value):
            yield name, message


ASSIGNMENTS = Collection(
    name="assignments",
    dates=_assignment_dates,
    person=_assignment_person,
    problems=_assignment_problems,
    initial={"isRejected": False},
    filled_in=_filled_in,
    has_yearly_lists=False,  # `reference/collections/assignments/get-list/` names no maximum
)


# External references (page `reference/external-references/`).

_COLLECTION_OF_FIELD = {
    "person": "people",
    "terminal": "terminals",
    "reason": "absence-definitions",
    "absenceDefinition": "absence-definitions",
    "resultingAbsenceDefinition": "absence-definitions",
    "requestedAbsenceDefinition": "absence-definitions",
    "shiftDefinition": "shift-definitions",
    "counterDefinition": "counter-definitions",
    "absenceGroup": "absence-groups",
    "parentContract": "contracts",
    "activityDefinition": "activity-definitions",
}
_REFERENCE = r"\(([a-z-]+),(@?[\w-]+)\)"


def parse_references(text: str) -> str:
    """The requested external references, checked (page `reference/external-references/`).

    Raises:
        HttpError: 400 when the references are malformed.
    """
    if text and not re.fullmatch(f"(?:{_REFERENCE})+", text):
        raise HttpError(400, "The external references are malformed.")
    return text


def add_references(record: Record, requested: str, collection: str) -> Record:
    """A record with the requested references, in itself and in each object that it refers to."""
    for owner, reference in re.findall(_REFERENCE, requested):
        record = {
            name: _with_reference(name, value, owner, reference) for name, value in record.items()
        }
        if owner == collection:
            record = _referenced(record, reference)
    return record


def _with_reference(name: str, value: Any, owner: str, reference: str) -> Any:
    if isinstance(value, list):
        return [
            {key: _with_reference(key, inner, owner, reference) for key, inner in each.items()}
            if isinstance(each, dict)
            else each
            for each in value
        ]
    if _COLLECTION_OF_FIELD.get(name) == owner and isinstance(value, dict):
        return _referenced(value, reference)
    return value


def _referenced(owner: Record, reference: str) -> Record:
    known = owner.get("externalReferences", {})
    value = f"{reference.lstrip('@')}-{owner['id']}"
    return {**owner, "externalReferences": {**known, reference: value}}
