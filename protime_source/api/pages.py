"""The delta protocol, for any collection: walk, follow, expire.

It knows links and pages, but neither dlt nor the shape of a record. Documentation:
reference/delta, how-to/track-changes-with-delta, concepts/delta-synchronization.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Protocol, Self, TypeVar

import msgspec

from protime_source.api.redaction import redact
from protime_source.catalogue.model import Collection
from protime_source.decode.values import decodable
from protime_source.errors import ProtocolError

LIFETIME = timedelta(hours=72)
"""A delta lives this long after the last request that used it (reference/delta)."""

SMALL = 4 * 2**10
"""Bytes at the end of an answer that are looked at for a link; one that is no larger is parsed."""

MAX_EMPTY = 200
"""Empty pages in a row before it gives up; a walk taken in parts must get to see so many."""

T = TypeVar("T")


class Getter(Protocol):
    """What the protocol needs of HTTP: `Transport.get`."""

    def get(self, link: str, decode: Callable[[bytes], T]) -> T:
        """Gets a link and decodes its body."""
        ...


@dataclass(frozen=True)
class Page:
    """One answer.

    Attributes:
        body: Its JSON.
        next_link: Where the walk or the answer goes on; `None` on its last page.
        delta_link: Where the changes after this will be; only on a last page.
        parsed: Its records, where its links were not at its end and it was parsed to find them.
    """

    body: bytes
    next_link: str | None
    delta_link: str | None
    parsed: msgspec.Raw | None = None

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Finds the links of an answer, at its end if they are there.

        So the next page is asked for before this one is parsed: a twentieth of a first load.

        Args:
            body: As it came.

        Raises:
            msgspec.DecodeError: When it is no answer.
        """
        if len(body) > SMALL and (link := _link_at_end(body)):
            return cls(body, link, None)
        answer = _answer(decodable(body))
        next_link = answer.nextLink or None
        delta_link = None if next_link else answer.deltaLink or None
        return cls(body, next_link, delta_link, answer.value)

    @property
    def records(self) -> msgspec.Raw:
        """The JSON array `value`: records of a walk, or events of a delta.

        Raises:
            ProtocolError: When there is more wrong with the answer than its end shows.
        """
        if self.parsed is not None:
            return self.parsed or _NONE
        try:
            return _answer(decodable(self.body)).value or _NONE
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProtocolError(f"A page of a walk is not as documented: {error}.") from error

    @property
    def size(self) -> int:
        """Bytes of its JSON."""
        return len(self.body)

    @property
    def is_empty(self) -> bool:
        """Whether it has no records. It is parsed where a glance shows none."""
        is_doubtful = self.parsed is not None or b'"id"' not in self.body
        return is_doubtful and _EMPTY.fullmatch(self.records) is not None


@dataclass(frozen=True)
class Part:
    """How much of a walk is taken at once: at least one page.

    Attributes:
        max_pages: So many pages at most.
        max_bytes: No page more when those before it had so much JSON.
    """

    max_pages: int | None = None
    max_bytes: int | None = None

    def of(self, pages: Iterable[Page]) -> Iterator[Page]:
        """The first of some pages; those that are not taken are not asked for."""
        left = math.inf if self.max_bytes is None else self.max_bytes
        for page in islice(pages, self.max_pages):
            yield page
            left -= page.size
            if left <= 0:
                return


_ABSENT = msgspec.Raw()


class _Answer(msgspec.Struct, gc=False):
    value: msgspec.Raw = _ABSENT
    nextLink: str | None = None  # noqa: N815
    deltaLink: str | None = None  # noqa: N815


_NONE = msgspec.Raw(b"[]")
_EMPTY = re.compile(rb"\[\s*\]|null")
_NEXT_LINK = b'"nextLink"'
_END = re.compile(rb'[,{]\s*"nextLink"\s*:\s*("(?:[^"\\]|\\.)+")\s*}\s*\Z')
"""What ends an answer is its own member, no record's; in text its quotes would be escaped."""

_answer = msgspec.json.Decoder(_Answer).decode


def _link_at_end(body: bytes) -> str | None:
    """The link that is an answer's last member; none where it stands elsewhere."""
    if (name := body.rfind(_NEXT_LINK, len(body) - SMALL)) < 0:
        return None
    before = max(body.rfind(b",", 0, name), body.rfind(b"{", 0, name))
    end = _END.match(body, before)
    return msgspec.json.decode(end[1], type=str) if end else None


class Delta:
    """The delta of one collection.

    Args:
        transport: The way to the API.
        collection: Which collection.
    """

    def __init__(self, transport: Getter, collection: Collection) -> None:
        self._transport = transport
        self._collection = collection

    def follow(self, link: str) -> Iterator[Page]:
        """Follows a link: a walk from its start or further on, or the changes since an answer.

        A walk begins at `Collection.delta_start`. Protime keeps one active delta per collection:
        that may end an older one.

        The documentation says a delta answer is one page; a `nextLink` in it is followed all
        the same. An empty `value` ends nothing, only a missing `nextLink` does, and a last
        page's `deltaLink` counts even when its `value` is empty.

        Args:
            link: Where a walk starts, `nextLink` of an unfinished one, or `deltaLink`.

        Yields:
            Pages: plain records of a walk, or events; the last one has a `delta_link`.

        Raises:
            ExpiredError: When the link is dead.
            ApiError: When there is no usable answer.
        """
        seen: set[int] = set()
        empty, following = 0, link
        while following:
            self._check_progress(following, seen)
            page = self._page(following)
            following = page.next_link or ""
            empty = empty + 1 if page.is_empty else 0
            self._check_content(empty)
            yield page

    def _page(self, link: str) -> Page:
        page = self._transport.get(link, Page.read)
        is_last = page.next_link is None and page.delta_link is None
        if is_last and self._collection.has_delta:
            raise ProtocolError(
                f"Protime ended the {self._collection.name} without a deltaLink; without it no"
                " later change could be found, so this answer is not used."
            )
        if is_last and page.parsed == _ABSENT and page.body.strip() != b"{}":
            raise ProtocolError(
                f"An answer for the {self._collection.name} has neither records nor a link, so it"
                " is not used. Run again later, and ask Protime if it stays so."
            )
        return page

    def _check_progress(self, link: str, seen: set[int]) -> None:
        """Remembers eight bytes a page, so that a loop of links ends."""
        if (key := hash(link)) in seen:
            raise ProtocolError(
                f"Protime's paging of {self._collection.name} goes in a circle: it led back to"
                f" {redact(link)}. Run again later, and ask Protime if it stays so."
            )
        seen.add(key)

    def _check_content(self, empty: int) -> None:
        """Ends a chain of ever new links that lead to nothing."""
        if empty > MAX_EMPTY:
            raise ProtocolError(
                f"Protime's paging of {self._collection.name} does not end: {empty} pages in a row"
                " were empty. Run again later, and ask Protime if it stays so."
            )


def iter_pages(session, collection, link):
    return Delta(session, collection).follow(link)
