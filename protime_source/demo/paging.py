"""Pages and continuation tokens of lists and deltas (page `how-to/fetch-resources/`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zlib import crc32

from protime_source.demo.behaviour import Behaviour
from protime_source.demo.messages import HttpError, encode_json, pack_token, unpack_token
from protime_source.demo.store import Match, Record, Store


@dataclass(frozen=True)
class PageStart:
    """Where the next page starts.

    Attributes:
        last_row: The position of the last row sent so far.
        pages: The number of pages sent so far.
        until: The cursor at which a paged delta response ends.
    """

    last_row: int = 0
    pages: int = 0
    until: int = 0


@dataclass(frozen=True)
class Page:
    """The rows of a page as JSON, and the start of the next page; None on the last page."""

    rows: list[bytes]
    next: PageStart | None


class Rows(Protocol):
    """Rows in the order of their positions."""

    def after(self, position: int, count: int) -> Sequence[int]:
        """The next `count` positions."""

    def up_to(self, position: int, count: int) -> Sequence[int]:
        """The last `count` positions up to and including this one."""

    def json(self, position: int) -> bytes:
        """The row as JSON."""


@dataclass(frozen=True)
class LiveRows:
    """The matching records of a store at the time of each page, in id order."""

    store: Store
    match: Match
    transform: Callable[[Record], Record] | None = None

    def after(self, position: int, count: int) -> Sequence[int]:
        """The next `count` ids."""
        return self.store.after(position, count, self.match)

    def up_to(self, position: int, count: int) -> Sequence[int]:
        """The last `count` ids up to and including this one."""
        return self.store.up_to(position, count, self.match)

    def json(self, position: int) -> bytes:
        """The record as JSON."""
        if self.transform is None:
            return self.store.json(position)
        return encode_json(self.transform(self.store.records[position]))


@dataclass(frozen=True)
class FixedRows:
    """Rows that do not change, at positions from 1."""

    texts: list[bytes]

    def after(self, position: int, count: int) -> Sequence[int]:
        """The next positions."""
        return range(position + 1, min(position + count, len(self.texts)) + 1)

    def up_to(self, position: int, count: int) -> Sequence[int]:
        """The last `count` positions up to and including this one."""
        return range(max(position - count, 0) + 1, position + 1)

    def json(self, position: int) -> bytes:
        """The row as JSON."""
        return self.texts[position - 1]


def make_page(rows: Rows, start: PageStart, size: int, behaviour: Behaviour) -> Page:
    """The page of `rows` that starts at `start`."""
    pages = start.pages + 1
    if behaviour.empty_middle_page and start.pages == 1:
        return Page([], PageStart(start.last_row, pages, start.until))
    found = rows.after(start.last_row, size + 1)
    new = found[:size]
    if not new:
        return Page([], None)
    repeated = rows.up_to(start.last_row, behaviour.page_overlap) if start.pages else ()
    texts = [rows.json(position) for position in (*repeated, *new)]
    more = len(found) > size or behaviour.empty_last_page
    return Page(texts, PageStart(new[-1], pages, start.until) if more else None)


def continuation_token(start: PageStart, filter_: str, now: datetime) -> str:
    """The continuationToken for a page of the list with `filter_`."""
    return pack_token(
        {
            "validation": crc32(filter_.encode()),
            "last_row": start.last_row,
            "pages": start.pages,
            "until": start.until,
            "issued": now.isoformat(),
        }
    )


def resume(token: str, filter_: str, now: datetime, behaviour: Behaviour) -> PageStart:
    """The start of the page that a continuationToken refers to.

    Raises:
        HttpError: The token is invalid, expired, or belongs to another filter.
    """
    try:
        content = unpack_token(token)
        issued = datetime.fromisoformat(content.pop("issued"))
        valid = content.pop("validation") == crc32(filter_.encode()) and not _is_expired(
            issued, now, behaviour
        )
        start = PageStart(**content)
    except (ValueError, KeyError, TypeError):
        valid = False
    if not valid:
        raise invalid_continuation(behaviour)
    return start


def invalid_continuation(behaviour: Behaviour) -> HttpError:
    """The error for an invalid or expired continuationToken."""
    return HttpError(
        behaviour.stale_continuation_status, "The continuation token is invalid or expired."
    )


def _is_expired(issued: datetime, now: datetime, behaviour: Behaviour) -> bool:
    hours = behaviour.continuation_lifetime_hours
    return hours is not None and now - issued > timedelta(hours=hours)
