"""Single assignments: create, get, update, delete.

The steps of Protime's tutorial (tutorials/first-assignment-integration), in a line each:

    with Client.from_config() as client:
        new = client.assignments.create(Assignment(person_id=1, from_date=date(2026, 3, 10)))
        assignment = client.assignments.get(new)
        client.assignments.update(new, replace(assignment, comments="Morning shift"))
        client.assignments.delete(new)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any
from urllib.parse import quote

import msgspec

from protime_source.api.http import ApiSession
from protime_source.api.pages import Page, iter_pages
from protime_source.api.responses import created_id
from protime_source.catalogue import ASSIGNMENTS
from protime_source.errors import ExpiredError, ProtocolError

_SCALARS = {
    "start_time_in_minutes": "startTimeInMinutes",
    "end_time_in_minutes": "endTimeInMinutes",
    "break_duration_in_minutes": "breakDurationInMinutes",
    "comments": "comments",
}
"""Fields that are sent as they are."""

_LIST_ATTEMPTS = 3
"""Attempts to read a list whose continuation link expires on the way."""


@dataclass(frozen=True, kw_only=True)
class ActivityLevel:
    """What is worked on, at one level of the activity structure.

    Attributes:
        level: Number of the level, from 1.
        activity_definition_id: GUID of the activity definition.
        other: Fields that Protime sent and this class does not have, as in `Assignment`.
    """

    level: int
    activity_definition_id: str
    other: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """An assignment, with the names that the warehouse table has.

    Attributes:
        person_id: The person it is for.
        from_date: First day.
        until_date: Last day.
        start_time_in_minutes: Start in minutes since local midnight, -1440 to 2880.
        end_time_in_minutes: End in minutes since local midnight, -1440 to 2880.
        break_duration_in_minutes: Length of the break in minutes.
        comments: Free text.
        activity_levels: Activity definition per level.
        id: Protime's id; read-only.
        change_version: Orders changes, compares as text; read-only.
        is_rejected: Whether it was rejected; read-only.
        other: Fields that Protime sent and this class does not have. An update sends them back,
            since Protime empties what an update leaves out.
    """

    person_id: int
    from_date: date
    until_date: date | None = None
    start_time_in_minutes: int | None = None
    end_time_in_minutes: int | None = None
    break_duration_in_minutes: int | None = None
    comments: str | None = None
    activity_levels: tuple[ActivityLevel, ...] = ()
    id: int | None = None
    change_version: str | None = None
    is_rejected: bool | None = None
    other: dict[str, Any] = field(default_factory=dict, repr=False)


class Assignments:
    """The assignments of a tenant. Not available with Planning Flex or Shift (403).

    Args:
        session: Sends the requests.
    """

    def __init__(self, session: ApiSession) -> None:
        self._session = session

    def create(self, assignment: Assignment) -> int:
        """Creates an assignment (documentation: reference/collections/assignments/post).

        It is not sent again after a failure, because Protime may have created the assignment: after
        an `UnavailableError` check whether it exists.

        Returns:
            The new id, from the response's `Location`, or from its body where it has one.

        Raises:
            BadRequestError: When Protime finds it invalid; `reasons` says why.
            ApiError: When Protime does not accept it for another reason.
        """
        response = self._session.send("POST", ASSIGNMENTS.path, _to_json(assignment))
        return created_id(response, "assignment")

    def get(self, id_: int) -> Assignment:
        """Returns an assignment (documentation: reference/collections/assignments/get).

        Raises:
            NotFoundError: When no assignment has this id.
            ApiError: When there is no usable response.
        """
        return _read(
            self._session.get(_path(id_), msgspec.json.Decoder(dict[str, Any]).decode), id_
        )

    def find(
        self, first_day: date, last_day: date, people: Sequence[int] = ()
    ) -> Iterator[Assignment]:
        """Yields the assignments that begin within some days.

        Documentation: reference/collections/assignments/get-list. A list that Protime pages may
        repeat an assignment, or show an older version of it too.

        Args:
            first_day: The first of the days.
            last_day: The last of them; a year after the first at most.
            people: Their ids; everybody's assignments when there are none. A request has room for
                some hundreds.

        Raises:
            ApiError: When there is no usable response.
        """
        filter_ = f"date ge '{first_day.isoformat()}' and date le '{last_day.isoformat()}'"
        if people:
            filter_ += f" and person in ({','.join(str(int(person)) for person in people)})"
        # A plain list ends without a deltaLink.
        collection = replace(ASSIGNMENTS, has_delta=False)
        for attempt in range(1, _LIST_ATTEMPTS + 1):
            try:
                for page in iter_pages(
                    self._session, collection, f"{ASSIGNMENTS.path}?filter={quote(filter_)}"
                ):
                    yield from (_read(each, each.get("id")) for each in _records(page))
                return
            except ExpiredError:  # a continuation link, on the way
                if attempt == _LIST_ATTEMPTS:
                    raise

    def update(self, id_: int, assignment: Assignment) -> None:
        """Replaces an assignment (documentation: reference/collections/assignments/put).

        Change a copy of what `get` returns, with `dataclasses.replace`: Protime empties the fields
        that an update leaves out.

        Raises:
            NotFoundError: When no assignment has this id.
            BadRequestError: When Protime finds it invalid; `reasons` says why.
            ApiError: When Protime does not accept it for another reason.
        """
        self._session.send("PUT", _path(id_), _to_json(assignment))

    def delete(self, id_: int) -> None:
        """Deletes an assignment (documentation: reference/collections/assignments/delete).

        Raises:
            ApiError: When Protime refuses; the status for an unknown id is not documented.
        """
        self._session.send("DELETE", _path(id_))


def _path(id_: int) -> str:
    return f"{ASSIGNMENTS.path}/{int(id_)}"


def _to_json(assignment: Assignment) -> dict[str, Any]:
    """Returns the writable fields; an update empties those that are left out."""
    body = {path: getattr(assignment, name) for name, path in _SCALARS.items()}
    body |= {"from": assignment.from_date.isoformat()}
    if assignment.until_date is not None:
        body["until"] = assignment.until_date.isoformat()
    if assignment.activity_levels:
        body["activityLevels"] = levels_to_json(assignment.activity_levels)
    known = {field: value for field, value in body.items() if value is not None}
    return _with_id(assignment.other, "person", assignment.person_id) | known


def levels_to_json(levels: Sequence[ActivityLevel]) -> list[dict[str, Any]]:
    """Returns activity levels as Protime takes them."""
    return [
        _with_id(each.other, "activityDefinition", each.activity_definition_id)
        | {"level": each.level}
        for each in levels
    ]


def _with_id(other: dict[str, Any], name: str, id_: object) -> dict[str, Any]:
    return {**other, name: {**other.get(name, {}), "id": id_}}


def _without_id(record: dict[str, Any], name: str) -> tuple[Any, dict[str, Any]]:
    """Returns the id in a member, and the record without it."""
    inner = dict(record[name])
    id_ = inner.pop("id")
    rest = {key: value for key, value in record.items() if key != name}
    return id_, {**rest, name: inner} if inner else rest


def _level(record: dict[str, Any]) -> ActivityLevel:
    definition, left = _without_id(record, "activityDefinition")
    return ActivityLevel(level=left.pop("level"), activity_definition_id=definition, other=left)


def _records(page: Page) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(page.records, type=list[dict[str, Any]] | None) or []
    except msgspec.DecodeError as error:
        raise ProtocolError(f"A list of assignments is not as documented: {error}.") from error


def _read(record: dict[str, Any], id_: object) -> Assignment:
    try:
        return _from_json(record)
    except (KeyError, TypeError, ValueError) as error:
        kind = type(error).__name__
        raise ProtocolError(f"Assignment {id_} is not as documented ({kind}).") from error


def _from_json(record: dict[str, Any]) -> Assignment:
    person, left = _without_id(record, "person")
    until, levels = left.pop("until", None), left.pop("activityLevels", None) or ()
    return Assignment(
        person_id=person,
        from_date=date.fromisoformat(left.pop("from")),
        until_date=until and date.fromisoformat(until),
        activity_levels=tuple(map(_level, levels)),
        id=left.pop("id", None),
        change_version=left.pop("changeVersion", None),
        is_rejected=left.pop("isRejected", None),
        **{name: left.pop(path, None) for name, path in _SCALARS.items()},
        other=left,
    )
