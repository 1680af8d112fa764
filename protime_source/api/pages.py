"""The paging and delta protocol of Protime, for any collection.

It knows links and pages, but not the shape of a record. Documentation: reference/delta,
how-to/track-changes-with-delta, concepts/delta-synchronization.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, Self, TypeVar

import msgspec

from protime_source.api.redaction import quoted
from protime_source.api.responses import mark_lone_surrogates
from protime_source.catalogue.model import Collection
from protime_source.errors import ProtocolError

LIFETIME = timedelta(hours=72)
"""A delta expires this long after the last request that used it (reference/delta)."""

LINK_BYTES = 4 * 2**10
"""Bytes at the end of a page that may hold its link. A page that is no larger is parsed whole."""

MAX_EMPTY_PAGES = 200
"""Empty pages in a row that are accepted; more can only be a chain without end."""

T = TypeVar("T")


class PageSession(Protocol):
    """What paging needs of HTTP."""

    def get(self, link: str, decode: Callable[[bytes], T]) -> T:
        """Gets a link and returns its decoded body."""
        ...

    def check_link(self, link: str) -> None:
        """Refuses a link that can never be requested."""
        ...


class _Body(msgspec.Struct, gc=False):
    value: msgspec.Raw = msgspec.Raw()
    nextLink: str | None = None  # noqa: N815  # Protime's spelling
    deltaLink: str | None = None  # noqa: N815


_parse = msgspec.json.Decoder(_Body).decode
_EMPTY_ARRAY = msgspec.Raw(b"[]")
_NO_RECORDS = re.compile(rb"\[\s*\]|null")
_NEXT_LINK = b'"nextLink"'
_LAST_MEMBER = re.compile(rb'[,{]\s*"nextLink"\s*:\s*("(?:[^"\\]|\\.)+")\s*}\s*\Z')
"""The member that ends a page is its own, not a record's; within text its quotes are escaped."""


@dataclass(frozen=True)
class Page:
    """One page: records of a full load, or events.

    Attributes:
        body: Its JSON.
        next_link: The link to the next page; `None` on the last page.
        delta_link: The link to the changes after this; only on a last page.
        parsed: Its records, if it was parsed to find its links.
    """

    body: bytes
    next_link: str | None
    delta_link: str | None
    parsed: msgspec.Raw | None = None

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Returns a page with its links, which are usually found at its end without parsing it.

        So the next page is requested before this one is parsed, which saves a twentieth of a first
        load.

        Args:
            body: The JSON as it came.

        Raises:
            msgspec.DecodeError: When it is not a page.
        """
        if len(body) > LINK_BYTES and (link := _link_at_end(body)):
            return cls(body, link, None)
        parsed = _parse(mark_lone_surrogates(body))
        next_link = parsed.nextLink or None
        delta_link = None if next_link else parsed.deltaLink or None
        return cls(body, next_link, delta_link, parsed.value)

    @property
    def records(self) -> msgspec.Raw:
        """The JSON array `value`: records, or events.

        Raises:
            ProtocolError: When more is wrong with the page than its end shows.
        """
        if self.parsed is not None:
            return self.parsed or _EMPTY_ARRAY
        try:
            return _parse(mark_lone_surrogates(self.body)).value or _EMPTY_ARRAY
        except (msgspec.DecodeError, RecursionError) as error:
            raise ProtocolError(f"A page of a full load is not as documented: {error}.") from error

    @property
    def size(self) -> int:
        """Bytes of its JSON."""
        return len(self.body)

    @property
    def has_value(self) -> bool:
        """Whether it has a `value`, or is an empty object."""
        return self.parsed is None or bool(self.parsed) or self.body.strip() == b"{}"

    @property
    def is_empty(self) -> bool:
        """Whether it has no records. It is parsed only where it seems to have none."""
        is_doubtful = self.parsed is not None or b'"id"' not in self.body
        return is_doubtful and _NO_RECORDS.fullmatch(self.records) is not None


def _link_at_end(body: bytes) -> str | None:
    """The link that is a page's last member, if it is."""
    if (name := body.rfind(_NEXT_LINK, len(body) - LINK_BYTES)) < 0:
        return None
    before = max(body.rfind(b",", 0, name), body.rfind(b"{", 0, name))
    end = _LAST_MEMBER.match(body, before)
    return msgspec.json.decode(end[1], type=str) if end else None


def iter_pages(session: PageSession, collection: Collection, link: str) -> Iterator[Page]:
    """Yields the pages from a link on: of a full load, or of the changes since a `deltaLink`.

    A full load begins at `Collection.delta_start`. Protime keeps one active delta per collection,
    so that may end an older one.

    An empty `value` with a `nextLink` is not the end; only a missing `nextLink` is. The last
    page's `deltaLink` counts even when its `value` is empty. The documentation says that the
    changes are a single page; a `nextLink` in that page is followed all the same.

    Args:
        session: Sends the requests.
        collection: The collection that the link belongs to.
        link: The start of a full load, the `nextLink` of an unfinished one, or a `deltaLink`.

    Yields:
        Pages of records, or of events. The last one has a `delta_link` if the collection has one.

    Raises:
        ExpiredError: When the link has expired.
        ProtocolError: When the pages lead in a circle, elsewhere, do not end, or end without a
            needed link.
        ApiError: When there is no usable response.
    """
    requested: set[int] = set()  # hashes, not links: a full load can have 100,000 pages
    empty_pages = 0
    next_link: str | None = link
    while next_link:
        if hash(next_link) in requested:
            raise ProtocolError(
                f"Protime's pages of {collection.name} lead in a circle, back to"
                f" {quoted(next_link)}, so they are not used. Run again later, and ask Protime if"
                " this happens again."
            )
        requested.add(hash(next_link))
        page = session.get(next_link, Page.read)
        next_link = page.next_link
        # A bookmark with a link that is refused could never be followed.
        session.check_link(next_link or page.delta_link or "")
        if next_link is None and page.delta_link is None:
            if collection.has_delta:
                raise ProtocolError(
                    f"Protime ended the pages of {collection.name} without a deltaLink, so they are"
                    " not used: without it no later change could be found. Run again later, and ask"
                    " Protime if this happens again."
                )
            if not page.has_value:
                raise ProtocolError(
                    f"A response for {collection.name} has neither records nor a link, so it is not"
                    " used. Run again later, and ask Protime if this happens again."
                )
        empty_pages = empty_pages + 1 if page.is_empty else 0
        if empty_pages > MAX_EMPTY_PAGES:
            raise ProtocolError(
                f"Protime's pages of {collection.name} do not end: {empty_pages} pages in a row"
                " were empty, so they are not used. Run again later, and ask Protime if this"
                " happens again."
            )
        yield page
