"""What the protocol needs to know of a collection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from protime_source.demo.filters import Selection
from protime_source.demo.store import Match, Record

Fields = Mapping[str, Any]
_FAR = "9999-12-31"


@dataclass(frozen=True)
class Collection:
    """A dated collection of people's records.

    Attributes:
        name: As in paths and scopes, kebab-case.
        span: First and last date of a record, `YYYY-MM-DD`.
        person: The person a record belongs to.
        problems: What is wrong with the fields of a write, as (field, message).
        initial: The read-only fields of a new record, besides `id` and `changeVersion`.
    """

    name: str
    span: Callable[[Record], tuple[str, str]]
    person: Callable[[Record], int]
    problems: Callable[[Fields], list[tuple[str, str]]]
    initial: Fields

    def scope(self, access: Literal["read", "write"]) -> str:
        """The OAuth2 scope (page `concepts/oauth2-scope-model/`)."""
        return f"connector-protimeapi-{self.name}.{access}"

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

        def selected(record: Record) -> bool:
            first, last = span(record)
            dated = first <= end and (last if overlap else first) >= start
            return dated and (not people or person(record) in people)

        return selected
