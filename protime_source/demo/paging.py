"""Pages of anything that has an order (page `how-to/fetch-resources/`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zlib import crc32

from protime_source.demo import opaque
from protime_source.demo.behaviour import Behaviour
from protime_source.demo.messages import ApiError, encode
from protime_source.demo.store import Match, Record, Store


@dataclass(frozen=True)
class Place:
    """Where the next page starts.

    Attributes:
        position: The position of the last row that was served.
        number: How many pages were served.
        until: The cursor at which a paged delta answer ends.
    """

    position: int = 0
    number: int = 0
    until: int = 0


@dataclass(frozen=True)
class Page:
    """The rows of a page as JSON, and the place of the next; None on the last page."""

    rows: list[bytes]
    next: Place | None


class Rows(Protocol):
    """Rows at growing positions."""

    def after(self, position: int, count: int) -> Sequence[int]:
        """The next positions."""

    def until(self, position: int, count: int) -> Sequence[int]:
        """The last positions up to and with this one."""

    def text(self, position: int) -> bytes:
        """The row as JSON."""


@dataclass(frozen=True)
class Live:
    """The matching records of a store as they are at each page, in id order."""

    store: Store
    match: Match
    shown: Callable[[Record], Record] | None = None

    def after(self, position: int, count: int) -> Sequence[int]:
        """The next ids."""
        return self.store.after(position, count, self.match)

    def until(self, position: int, count: int) -> Sequence[int]:
        """The last ids up to and with this one."""
        return self.store.until(position, count, self.match)

    def text(self, position: int) -> bytes:
        """The record as JSON."""
        if self.shown is None:
            return self.store.text(position)
        return encode(self.shown(self.store.records[position]))


@dataclass(frozen=True)
class Fixed:
    """Rows that stand still, at positions from 1."""

    texts: list[bytes]

    def after(self, position: int, count: int) -> Sequence[int]:
        """The next positions."""
        return range(position + 1, min(position + count, len(self.texts)) + 1)

    def until(self, position: int, count: int) -> Sequence[int]:
        """The last positions up to and with this one."""
        return range(max(position - count, 0) + 1, position + 1)

    def text(self, position: int) -> bytes:
        """The row as JSON."""
        return self.texts[position - 1]


def page(rows: Rows, place: Place, size: int, how: Behaviour) -> Page:
    """Cut the page that starts at `place`."""
    number = place.number + 1
    if how.empty_middle_page and place.number == 1:
        return Page([], Place(place.position, number, place.until))
    found = rows.after(place.position, size + 1)
    fresh = found[:size]
    if not fresh:
        return Page([], None)
    repeated = rows.until(place.position, how.page_overlap) if place.number else ()
    texts = [rows.text(position) for position in (*repeated, *fresh)]
    more = len(found) > size or how.empty_last_page
    return Page(texts, Place(fresh[-1], number, place.until) if more else None)


def continuation(place: Place, filter_: str, now: datetime) -> str:
    """The continuationToken for a place in the walk over `filter_`."""
    return opaque.pack(
        {
            "validation": crc32(filter_.encode()),
            "position": place.position,
            "number": place.number,
            "until": place.until,
            "issued": now.isoformat(),
        }
    )


def resume(token: str, filter_: str, now: datetime, how: Behaviour) -> Place:
    """The place that a continuationToken stands for.

    Raises:
        ApiError: It is invalid, expired, or belongs to another filter.
    """
    try:
        content = opaque.unpack(token)
        issued = datetime.fromisoformat(content.pop("issued"))
        valid = content.pop("validation") == crc32(filter_.encode()) and not _old(issued, now, how)
        place = Place(**content)
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        raise invalid_page(how)
    return place


def invalid_page(how: Behaviour) -> ApiError:
    """The answer to a continuationToken that leads nowhere."""
    return ApiError(how.stale_walk_status, "The continuation token is invalid or expired.")


def _old(issued: datetime, now: datetime, how: Behaviour) -> bool:
    hours = how.continuation_lifetime_hours
    return hours is not None and now - issued > timedelta(hours=hours)
