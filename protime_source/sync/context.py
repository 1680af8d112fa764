"""The two contexts of a run, and the interfaces that the engine works on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from typing import Any, Protocol, Self

import pyarrow as pa

from protime_source.api.http import ApiSession, HttpClient
from protime_source.api.pages import Page
from protime_source.catalogue.model import Collection
from protime_source.decode.soft_delete import Row
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.errors import ApiError, VanishedRowsError
from protime_source.settings import Settings
from protime_source.sync.clock import MonotonicClock
from protime_source.sync.counts import Counts, Totals


class Closable(Protocol):
    """Something that holds threads or connections."""

    def close(self) -> None:
        """Ends them."""
        ...


@dataclass(frozen=True)
class PageBatch:
    """Some pages of a full load, decoded together.

    Attributes:
        page_count: How many pages.
        json_size: Bytes of their JSON.
        next_link: Where the full load continues after them; `None` after its last page.
        delta_link: Where the changes after the full load will be; only with its last page.
        columns: Their documented columns; `None` when a record is not as documented.
        pages: The pages themselves in that case.
    """

    page_count: int
    json_size: int
    next_link: str | None
    delta_link: str | None
    columns: pa.Table | None
    pages: Sequence[Page]

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        return self.json_size if self.columns is None else int(self.columns.nbytes)


class PageSource(Protocol):
    """Protime's pages of one collection.

    Opening starts the first request at once, so that several collections can wait together.
    """

    def open_pages(self, link: str) -> AbstractContextManager[Iterator[Page]]:
        """Opens the pages from a link on, one by one: events, or a collection without a delta."""
        ...

    def open_batches(self, link: str) -> AbstractContextManager[Iterator[PageBatch]]:
        """Opens the pages of a full load from a link on, up to the run's limits."""
        ...


class StoredRows(Protocol):
    """What the destination has stored of one collection."""

    @property
    def exists(self) -> bool:
        """Whether the table exists, and its rows stay."""
        ...

    @property
    def fingerprint(self) -> str:
        """Tells this destination and dataset from any other."""
        ...

    def rows(self, ids: Sequence[Any]) -> dict[Any, Row]:
        """Returns the last-known rows of some ids, by id."""
        ...

    def all_rows(self) -> dict[Any, Row]:
        """Returns all rows by id; for collections without a delta, which are small."""
        ...

    def columns(self, ids: pa.Array, schema: pa.Schema) -> pa.Table:
        """Returns columns of the stored rows among some ids, and of a few others.

        Args:
            ids: Ids to look up.
            schema: The columns; one that the table lacks is empty.
        """
        ...

    def lacks(self, names: Iterable[str]) -> bool:
        """Whether the table lacks one of some columns."""
        ...

    def is_empty(self) -> bool:
        """Whether the table has no rows."""
        ...

    @property
    def has_excluded_columns(self) -> bool:
        """Whether the table has columns that are no longer to be loaded."""
        ...

    def clear_excluded_columns(self, synced_at: datetime) -> None:
        """Empties the columns that are no longer to be loaded, in all rows at once.

        Args:
            synced_at: The `synced_at` of the rows that are changed (UTC).
        """
        ...

    def count_live_rows(self, date_column: str, start: date | None) -> int:
        """Returns how many live rows there are from a day on, undated ones too, or in all."""
        ...

    def live_ids(self, date_column: str, start: date | None, *, with_undated: bool) -> pa.Array:
        """Returns the ids of live rows from a day on, or of all; of undated rows if wanted."""
        ...

    def add_seen_ids(self, seen_ids: str, ids: pa.Array) -> str:
        """Keeps the ids that a part of a full load has shown.

        Args:
            seen_ids: Where those of the parts before are kept; empty for the first part.
            ids: The ids of this part.

        Returns:
            Where all of them are kept.
        """
        ...

    def seen_ids(self, seen_ids: str) -> pa.Array:
        """Returns the ids that the parts of a full load have shown.

        Raises:
            IncompleteFullLoadError: When some are no longer there.
        """
        ...

    def forget_seen_ids(self) -> None:
        """Removes the ids of all full loads of this table, which are complete."""
        ...

    def last_synced_at(self) -> datetime | None:
        """Returns when the newest row was synced (UTC)."""
        ...


@dataclass(frozen=True)
class Limits:
    """How much of a full load one load package takes: at least one page.

    Attributes:
        max_pages: Pages at most.
        max_bytes: No page more once the pages before it had this much JSON.
    """

    max_pages: int | None = None
    max_bytes: int | None = None

    def limited(self, pages: Iterable[Page]) -> Iterator[Page]:
        """Returns the first pages; the pages after them are not requested."""
        left = math.inf if self.max_bytes is None else self.max_bytes
        for page in islice(pages, self.max_pages):
            yield page
            left -= page.size
            if left <= 0:
                return


class RunLedger(Protocol):
    """The ledger's rows of one run.

    Attributes:
        load_id: dlt's id of the run's last load package.
        table_names: The tables that the run loads.
    """

    load_id: str
    table_names: tuple[str, ...]

    def close(self, run: RunContext) -> dict[str, int]:
        """Notes how the run ended, and returns the live rows of its tables."""
        ...


@dataclass
class RunContext:
    """What all collections of a run share.

    Attributes:
        settings: The settings of the run.
        http: The HTTP client, closed with the run.
        limits: How much of a full load one load package takes.
        full_resync: Whether to load fully whatever the bookmark says.
        keeps_prefetchers: Whether a full load is fetched on while a part of it is loaded. This
            needs load packages that follow each other, and a `with` around them.
        destination_checked: Whether the destination was asked if it can do its part.
        stops_alone: Whether a collection that is refused, or that the guard stops, leaves the
            others alone instead of failing the run.
        refusals: Collections that Protime refused, by table.
        guarded: Collections that the guard stopped, by table.
        errors: Why collections were not loaded, in one line, by table.
        package: What the load package in extraction does, by table.
        totals: What the packages before have loaded, by table.
        ledger: The ledger's rows of the run, once it has begun.
        refused_scopes: Scopes that opened nothing.
        tables_in_extraction: Tables that are being extracted.
        advice_given: Advice that was given for one collection, and holds for others too.
    """

    settings: Settings
    http: HttpClient
    limits: Limits = Limits()
    full_resync: bool = False
    keeps_prefetchers: bool = False
    destination_checked: bool = False
    stops_alone: bool = False
    refusals: dict[str, ApiError] = field(default_factory=dict)
    guarded: dict[str, VanishedRowsError] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    package: dict[str, Counts] = field(default_factory=dict)
    totals: dict[str, Totals] = field(default_factory=dict)
    ledger: RunLedger | None = None
    refused_scopes: set[str] = field(default_factory=set)
    tables_in_extraction: set[str] = field(default_factory=set)
    advice_given: set[str] = field(default_factory=set)
    _sessions: dict[tuple[str, str], ApiSession] = field(default_factory=dict)
    _counted_requests: dict[int, int] = field(default_factory=dict)
    _prefetchers: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as everything:
            everything.callback(self.http.close)
            for _link, prefetcher in self._prefetchers.values():
                everything.callback(prefetcher.close)

    def package_loaded(self) -> None:
        """Counts the load package, which the destination has now."""
        for table_name, counts in self.package.items():
            self.totals.setdefault(table_name, Totals()).add(counts)
        self.package.clear()

    def kind(self, table_name: str) -> tuple[str, str]:
        """Returns mode and reason of a collection's load, also of one that failed."""
        if totals := self.totals.get(table_name):
            return totals.mode, totals.reason
        counts = self.package.get(table_name)
        return (counts.mode, counts.reason) if counts else ("", "")

    def session(self, table_name: str, scope: str) -> ApiSession:
        """Returns the session of a collection and scope: the same for each load package."""
        key = (table_name, scope)
        if key not in self._sessions:
            self._sessions[key] = self.http.session([scope])
        return self._sessions[key]

    def new_requests(self, session: ApiSession) -> int:
        """Returns the requests of a session since they were last asked for."""
        counted = self._counted_requests.get(id(session), 0)
        self._counted_requests[id(session)] = session.request_count
        return session.request_count - counted

    def take_prefetcher(self, table_name: str, link: str) -> Any:
        """Returns the kept prefetcher that continues at a link; `None` when there is none."""
        kept_link, prefetcher = self._prefetchers.pop(table_name, ("", None))
        if prefetcher is not None and kept_link != link:
            prefetcher.close()
            return None
        return prefetcher

    def keep_prefetcher(self, table_name: str, link: str, prefetcher: Closable) -> None:
        """Keeps a prefetcher for the load package that continues at a link."""
        self._prefetchers[table_name] = (link, prefetcher)

    def keeps(self, prefetcher: Closable) -> bool:
        """Whether a prefetcher is kept for the next load package."""
        return any(kept is prefetcher for _link, kept in self._prefetchers.values())


@dataclass
class CollectionContext:
    """One collection in a run: where its pages come from, what is stored, and its bookmark.

    Attributes:
        run: The run.
        collection: The collection, with the columns that are to be loaded.
        pages: Protime's pages of it.
        stored: The table that it is loaded into.
        decoder: Decodes its records and events.
        builder: Builds Arrow tables of its rows.
        state: Its state, which is committed together with the rows.
        counts: What the run did to it.
        clock: The clock of the run.
        may_be_ahead: Whether a run has used the staging table that committed nothing: what it has
            merged is in no bookmark.
    """

    run: RunContext
    collection: Collection
    pages: PageSource
    stored: StoredRows
    decoder: RecordDecoder
    builder: BatchBuilder
    state: MutableMapping[str, Any]
    counts: Counts
    clock: MonotonicClock = field(default_factory=MonotonicClock)
    may_be_ahead: bool = False
