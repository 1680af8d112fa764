"""Protime's plain lists: all records of a collection, read without a delta."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import quote

from protime_source.api.pages import Page, PageSession, iter_pages
from protime_source.catalogue.model import Collection
from protime_source.errors import ExpiredError

MAX_ATTEMPTS = 3
"""Attempts to read one list whose continuation link expires on the way."""


class PlainList:
    """All that Protime shows of a collection: its list, in calendar years where it has dates.

    A plain list takes a date range of one year at most (documentation: reference/filtering), while
    the window of a delta is open into the future. So the years are read that begin with the
    window, end with the next year, or hold rows of the table, and after them each following year
    until one is empty.

    Args:
        session: Sends the requests.
        collection: The collection, with the columns and references that are loaded.
        start: First day to compare; `None` for a collection without dates.
        years: The years that hold rows of the table.
        today: The present day.
        with_references: Whether to request the external references that are loaded.
    """

    def __init__(
        self,
        session: PageSession,
        collection: Collection,
        start: date | None,
        years: Iterable[int],
        today: date,
        *,
        with_references: bool,
    ) -> None:
        self._session = session
        self._collection = collection
        self._start = start
        self._years = set(years)
        if start is not None:
            self._years |= {start.year, *range(start.year, today.year + 2)}
        self._with_references = with_references

    def pages(self) -> Iterator[tuple[Mapping[str, Any], Page]]:
        """Yields each page, and the path parameters that it was requested with.

        A list whose continuation link expires is read again, so pages may repeat.

        Raises:
            ApiError: When Protime gives no usable answer.
        """
        for parameters in self._collection.path_parameters:
            path = self._collection.path.format(**parameters)
            pages = self._pages_from(path, self._start) if self._start else self._list(path, "")
            for page in pages:
                yield parameters, page

    def _pages_from(self, path: str, start: date) -> Iterator[Page]:
        years = sorted(year for year in self._years if year >= start.year)
        while years:
            year, has_records = years.pop(0), False
            first = max(start, date(year, 1, 1))
            for page in self._list(path, f"date ge '{first}' and date le '{year:04}-12-31'"):
                has_records = has_records or not page.is_empty
                yield page
            if has_records and not years and year < date.max.year:
                years.append(year + 1)

    def _list(self, path: str, filter_: str) -> Iterator[Page]:
        parameters = ["filter=" + quote(filter_)] if filter_ else []
        if self._with_references and self._collection.requested:
            requested = quote(self._collection.requested, safe="(),@")
            parameters.append(f"externalReferences={requested}")
        link = "?".join(filter(None, (path, "&".join(parameters))))
        # A plain list ends without a deltaLink, as that of a collection without a delta.
        collection = replace(self._collection, has_delta=False)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                yield from iter_pages(self._session, collection, link)
                return
            except ExpiredError:
                if attempt == MAX_ATTEMPTS:
                    raise
