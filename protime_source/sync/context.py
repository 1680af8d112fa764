"""What one run for one collection works with."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from protime_source.api.pages import Delta, Page, Part
from protime_source.api.transport import Transport
from protime_source.catalogue.model import Collection
from protime_source.decode.soft_delete import Row
from protime_source.decode.tables import TableBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark, Origin, Ticker
from protime_source.sync.counts import Counts, progress
from protime_source.sync.history import ChangeLog
from protime_source.sync.prefetch import Ahead, served
from protime_source.sync.reader import ROOM_FETCHED, Batch, Reader
from protime_source.sync.session import Session
from protime_source.warehouse.table import Warehouse

logger = logging.getLogger(__name__)

FIRST = 2
"""A table's first load takes so many times as much of a walk: DuckDB merges that at half the memory
and time."""


@dataclass
class Extraction:
    """What a run works with: where to read, what is held, and where to go on.

    Attributes:
        collection: What is loaded.
        settings: How.
        session: What it shares with other loads.
        transport: From where.
        warehouse: Where to.
        decoder: Decodes its records.
        builder: Makes Arrow tables of them.
        state: The resource's state, which dlt commits with the rows.
        counts: What was done, for people.
        part: How much of a walk to take; the next run goes on there.
        log: Where to note every event, if that is wanted.
        is_alone: Whether no other collection could be served while this one waits.
        ticker: Tells the times.
        valid_since: Live rows received before (UTC) belong to a walk that was begun anew.
        foreign_until: Rows received before (UTC) are another tenant's: their versions mean nothing.
    """

    collection: Collection
    settings: Settings
    session: Session
    transport: Transport
    warehouse: Warehouse
    decoder: RecordDecoder
    builder: TableBuilder
    state: MutableMapping[str, Any]
    counts: Counts
    part: Part
    log: ChangeLog | None
    is_alone: Callable[[], bool]
    ticker: Ticker = field(default_factory=Ticker, init=False)
    valid_since: datetime | None = field(default=None, init=False)
    foreign_until: datetime | None = field(default=None, init=False)

    def pages(self, link: str) -> Iterator[Page | None]:
        """The pages from a link on, fetched ahead; `None` while others can be served.

        Args:
            link: Where to begin.
        """
        with closing(Ahead(self._follow(link), ROOM_FETCHED)) as pages:
            yield from served(pages, self.is_alone)

    def batches(self, link: str) -> Iterator[Batch | None]:
        """A part of a walk, read ahead; `None` while others can be served.

        What was read after it waits for the next load, where the session has one.

        Args:
            link: Where to begin.
        """
        left = self.part.max_bytes or math.inf
        if self.session.reads_on and not self.warehouse.exists:
            left *= FIRST
        reader = self.session.take(self.collection.table, link) or self._reader(link)
        with ExitStack() as failing:
            failing.callback(reader.close)
            for batch in served(reader, self.is_alone):
                yield batch
                if batch is None:
                    continue
                left -= batch.json_size
                if self.session.reads_on and left <= 0 and batch.next_link:
                    self.session.keep(self.collection.table, batch.next_link, reader)
                    failing.pop_all()
                    return

    def _reader(self, link: str) -> Reader:
        pages = self._follow(link)
        limited = pages if self.session.reads_on else self.part.of(pages)
        return Reader(limited, self.decoder.typed, len(self.settings.collections))

    def _follow(self, link: str) -> Iterator[Page]:
        return Delta(self.transport, self.collection).follow(link)

    def held(self, ids: Sequence[Any]) -> dict[Any, Row]:
        """The last-known rows of some ids; what another tenant's versions say is nothing."""
        rows = self.warehouse.rows(ids)
        for row in filter(self.is_foreign, rows.values()):
            row["change_version"] = ""
        return rows

    def is_foreign(self, held: Row) -> bool:
        """Whether a row is another tenant's."""
        return self.foreign_until is not None and held["synced_at"] < self.foreign_until

    def bookmark(self) -> Bookmark | None:
        """The bookmark, if it belongs to this tenant, window and warehouse."""
        bookmark = Bookmark.read(self.state)
        is_default = self.settings.start_date is None
        if bookmark is None or bookmark.is_void or not self.warehouse.exists:
            return None
        if other := bookmark.differs(self._origin(), start_is_default=is_default):
            table = self.collection.table
            progress.info("%s: the last run was for another %s", table, " and ".join(other))
            return None
        return bookmark

    def new_walk(self) -> Bookmark:
        """A bookmark for a walk from the start.

        Raises:
            SettingsError: When Protime starts no delta so early.
        """
        start, warehouse = self._start(), self.warehouse
        if start is not None:
            self.settings.check_window()
            if start > date.today():
                table = self.collection.table
                logger.warning("%s: what is before start_date, %s, is not loaded", table, start)
        started = self.ticker.after(warehouse.last_received()).isoformat()
        window = f" from {start} on" if start else ""
        progress.info("%s: a full walk%s", self.collection.table, window)
        return Bookmark(
            self._origin(),
            link=self.collection.delta_start(start),
            walking=True,
            walk_started_at=started,
            live_before=warehouse.live_from(self.collection.date_column, start),
            contact_at=started,
            foreign_before=self._foreign_before(started),
        )

    def _foreign_before(self, started: str) -> str:
        """Until when another tenant's rows came, if any did (UTC, ISO)."""
        stored = Bookmark.read(self.state)
        if stored is None:
            return ""
        is_other = stored.origin.tenant != self._origin().tenant
        return started if is_other else stored.foreign_before

    def note_tenant(self, started: datetime) -> None:
        """Remembers whose rows they are, where there is no delta and so no bookmark that does.

        Args:
            started: When the walk began (UTC).
        """
        tenant = self._origin().tenant
        if self.state.setdefault("tenant", tenant) != tenant:
            self.state.update(tenant=tenant, foreign_before=started.isoformat())
        before = self.state.get("foreign_before")
        self.foreign_until = datetime.fromisoformat(before) if before else None

    def _origin(self) -> Origin:
        start = self._start()
        return Origin(
            f"{self.settings.api_origin} {self.settings.tenant}",
            self.warehouse.fingerprint,
            start.isoformat() if start else "",
            self.collection.shape,
        )

    def _start(self) -> date | None:
        """First day of the date filter, where the collection has one."""
        return self.settings.window_start() if self.collection.date_column else None
