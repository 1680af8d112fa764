"""Protime and a warehouse in memory: the engine alone lives hundreds of histories a second.

The engine, the decoders and the builder are the real ones. Protime is a list of events; the
warehouse is a dict that follows the merge filter in plain Python.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from protime_source.api.http import HttpClient
from protime_source.api.pages import Page
from protime_source.catalogue.fields import KEYS
from protime_source.catalogue.model import Collection, column
from protime_source.decode.soft_delete import Row
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.errors import (
    BadRequestError,
    ExpiredError,
    IncompleteFullLoadError,
    NotFoundError,
    ProtimeError,
    UnavailableError,
)
from protime_source.settings import Settings, earliest_start
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.clock import MonotonicClock
from protime_source.sync.context import CollectionContext, Limits, PageBatch, RunContext
from protime_source.sync.counts import Counts
from protime_source.sync.engine import CollectionSync
from protime_source.sync.prefetch import decode_pages

COLUMNS = (
    *KEYS,
    column("from", "date", "First day.", name="from_date"),
    column("label", "text", "A value."),
)
DELTA = Collection(name="shifts", columns=COLUMNS, date_column="from_date")
SNAPSHOT = Collection(name="jobs", columns=COLUMNS, has_delta=False)
START = earliest_start()
SETTINGS = Settings(
    tenant="acme",
    client_id="id",
    client_secret="a-client-secret",
    start_date=str(START),
    max_vanished_share=1.0,
)
HTTP = HttpClient(SETTINGS)
DECODERS = {each.name: RecordDecoder(each, str) for each in (DELTA, SNAPSHOT)}

Record = dict[str, Any]


@dataclass(frozen=True)
class Habits:
    """How this Protime behaves where its documentation says nothing.

    Attributes:
        page_size: Records on a page of a full load.
        repeats: Whether a delta answer repeats old events of the same records.
        shuffles: Whether the events of an answer come in any order.
        only_last: Whether an answer has only the last event of each record.
        delete_carries_record: Whether a delete carries the whole record.
        links_work_once: Whether a link that was followed is gone.
        lags: Whether a full load shows records as they were some events ago.
        repeats_rows: Whether pages of a full load repeat a record of the page before.
    """

    page_size: int
    repeats: bool
    shuffles: bool
    only_last: bool
    delete_carries_record: bool
    links_work_once: bool
    lags: bool
    repeats_rows: bool

    @classmethod
    def any(cls, dice: random.Random) -> Habits:
        """Returns habits by chance."""
        return cls(dice.randint(1, 4), *(dice.random() < 0.3 for _ in range(7)))


@dataclass
class MemoryProtime:
    """A collection of a tenant: its records, and every event since the beginning."""

    dice: random.Random
    habits: Habits
    collection: Collection = DELTA
    records: dict[int, Record] = field(default_factory=dict)
    events: list[tuple[str, Record]] = field(default_factory=list)
    generation: int = 0
    failing_requests: int = 0
    _answers: int = 0
    _used: set[str] = field(default_factory=set)

    def change(self) -> str:
        """Creates, updates, deletes or brings back a record."""
        id_ = self.dice.randint(1, 9)
        version = f"{len(self.events) + 1:020X}"
        if id_ in self.records and self.dice.random() < 0.4:
            carried = self.records.pop(id_) if self.habits.delete_carries_record else {}
            self.records.pop(id_, None)
            self.events.append(("Delete", {**carried, "id": id_, "changeVersion": version}))
            return f"delete {id_}"
        # A record's day never changes; id 9 lies before the window.
        day = START + timedelta(days=id_ if id_ < 9 else -3)
        record = {"id": id_, "changeVersion": version, "from": str(day), "label": version[-3:]}
        self.records[id_] = record
        self.events.append(("InsertOrUpdate", record))
        return f"update {id_}"

    def expire(self) -> None:
        """Ends every link: 72 hours without use, or another consumer."""
        self.generation += 1

    def iter_pages(self, link: str) -> Iterator[Page]:
        """Answers the requests from a link on."""
        following: str | None = link
        while following:
            page = Page.read(self._answer(following))
            following = page.next_link
            yield page

    def _answer(self, link: str) -> bytes:
        if self.failing_requests and self.dice.random() < 0.5:
            self.failing_requests -= 1
            raise UnavailableError("no answer")
        self._answers += 1  # every answer has links of its own
        if "?" in link or link.startswith("/"):  # the start of a full load
            kind, generation, position, last_id = "page", self.generation, len(self.events), 0
        else:
            kind, *numbers = link.split(":")
            generation, position, last_id, _ = map(int, numbers)
        if generation != self.generation or link in self._used:
            # Documented are 409 and 410; 400 and 404 are as good for a link of an earlier run.
            kind_of_error = self.dice.choice((ExpiredError, BadRequestError, NotFoundError))
            raise kind_of_error("the link has expired", status=410)
        if self.habits.links_work_once and ":" in link:
            self._used.add(link)
        body = self._page(position, last_id) if kind == "page" else self._changes(position)
        return json.dumps(body).encode()

    def _page(self, position: int, last_id: int) -> Record:
        shown = self._shown()
        ids = [id_ for id_ in sorted(shown) if id_ > last_id][: self.habits.page_size]
        rows = [shown[id_] for id_ in ids]
        if self.habits.repeats_rows and last_id in shown:
            rows.append(shown[last_id])
        if ids and ids[-1] < max(shown):
            return {"value": rows, "nextLink": self._link("page", position, ids[-1])}
        if not self.collection.has_delta:
            return {"value": rows}
        return {"value": rows, "deltaLink": self._link("delta", position)}

    def _link(self, kind: str, position: int, last_id: int = 0) -> str:
        return f"{kind}:{self.generation}:{position}:{last_id}:{self._answers}"

    def _shown(self) -> dict[int, Record]:
        """The records of the window, as a full load shows them now."""
        shown = {i: r for i, r in self.records.items() if r["from"] >= str(START)}
        if self.habits.lags and self.events and self.collection.has_delta:
            kind, newest = self.events[-1]
            before = [r for k, r in self.events[:-1] if r["id"] == newest["id"]]
            if kind != "Delete" and before and "label" in before[-1]:
                shown[newest["id"]] = before[-1]
        return shown

    def _changes(self, since: int) -> Record:
        """The events since a position; a lagging full load means that some come again."""
        if self.habits.repeats or self.habits.lags:
            since = max(0, since - 2)
        events = self.events[since:]
        if self.habits.only_last:
            events = list({record["id"]: (kind, record) for kind, record in events}.values())
        if self.habits.shuffles:
            self.dice.shuffle(events)
        value = [{"changeType": kind, "data": record} for kind, record in events]
        return {"value": value, "deltaLink": self._link("delta", len(self.events))}


@dataclass(frozen=True)
class MemoryPages:
    """The pages of a memory Protime, without threads."""

    protime: MemoryProtime
    limits: Limits

    @contextmanager
    def open_pages(self, link: str) -> Iterator[Iterator[Page]]:
        yield self.protime.iter_pages(link)

    @contextmanager
    def open_batches(self, link: str) -> Iterator[Iterator[PageBatch]]:
        decoder = DECODERS[self.protime.collection.name].fast
        pages = self.limits.limited(self.protime.iter_pages(link))
        yield (decode_pages(decoder, [page]) for page in pages)


@dataclass
class MemoryTable:
    """A table, with dlt's MERGE and the merge filter in plain Python."""

    rows_by_id: dict[int, Row] = field(default_factory=dict)
    exists: bool = False
    fingerprint: str = "memory"
    seen: dict[str, tuple[str, pa.Array]] = field(default_factory=dict)

    def rows(self, ids: Sequence[Any]) -> dict[Any, Row]:
        return {id_: dict(self.rows_by_id[id_]) for id_ in ids if id_ in self.rows_by_id}

    def all_rows(self) -> dict[Any, Row]:
        return self.rows(list(self.rows_by_id))

    def columns(self, ids: pa.Array, schema: pa.Schema) -> pa.Table:
        return pa.Table.from_pylist(
            [{name: _arrow(row.get(name)) for name in schema.names} for row in self._found(ids)],
            schema=schema,
        )

    def lacks(self, names: Iterable[str]) -> bool:
        return False

    def is_empty(self) -> bool:
        return not self.rows_by_id

    @property
    def has_excluded_columns(self) -> bool:
        return False

    def clear_excluded_columns(self, synced_at: datetime) -> None:
        raise NotImplementedError

    def count_live_rows(self, date_column: str, start: date | None) -> int:
        return sum(1 for row in self.rows_by_id.values() if _is_in(row, date_column, start))

    def live_ids(self, date_column: str, start: date | None, *, with_undated: bool) -> pa.Array:
        rows = self.rows_by_id.items()
        return pa.array([i for i, row in rows if _is_in(row, date_column, start)], pa.int64())

    def add_seen_ids(self, seen_ids: str, ids: pa.Array) -> str:
        self.seen[key := str(len(self.seen))] = (seen_ids, ids)
        return key

    def seen_ids(self, seen_ids: str) -> pa.Array:
        parts = []
        while seen_ids:
            if seen_ids not in self.seen:
                raise IncompleteFullLoadError("lost")
            seen_ids, ids = self.seen[seen_ids]
            parts.append(ids)
        return pa.concat_arrays(parts)

    def forget_seen_ids(self) -> None:
        self.seen.clear()

    def last_synced_at(self) -> datetime | None:
        return max((row["synced_at"] for row in self.rows_by_id.values()), default=None)

    def _found(self, ids: pa.Array) -> list[Row]:
        return list(self.rows(ids.to_pylist()).values())

    def merge(self, batches: Sequence[pa.Table], ignore_live_rows_before: datetime | None) -> None:
        """Merges staged batches in one statement."""
        self.exists = self.exists or bool(batches)
        staged = [_row(row) for batch in batches for row in batch.to_pylist()]
        newest: dict[int, Row] = {}
        for row in sorted(staged, key=lambda row: (row["change_version"], row["synced_at"])):
            is_ignored = ignore_live_rows_before and row["synced_at"] < ignore_live_rows_before
            if row["is_deleted"] or not is_ignored:
                newest[row["id"]] = row
        for id_, row in newest.items():
            stored = self.rows_by_id.get(id_)
            is_new = stored is None and not row["is_deleted"]
            if is_new or (stored and row["change_version"] >= stored["change_version"]):
                self.rows_by_id[id_] = row


def _is_in(row: Row, date_column: str, start: date | None) -> bool:
    return not row["is_deleted"] and (start is None or row[date_column] >= str(start))


def _arrow(value: Any) -> Any:
    """A stored value as Arrow takes it for a date."""
    is_day = isinstance(value, str) and len(value) == 10 and value[4] == "-"
    return date.fromisoformat(value) if is_day else value


def _row(row: Row) -> Row:
    """A staged row as the record decoder would give it."""
    return {name: str(v) if type(v) is date else v for name, v in row.items()}


def _check_counts(counts: Counts, before: dict[int, Row], after: dict[int, Row]) -> None:
    """The summary counts the rows that a run has inserted, updated and soft-deleted."""
    written = {id_ for id_, row in after.items() if row != before.get(id_)}
    changed = written & before.keys()
    deleted = {i for i in changed if after[i]["is_deleted"] and not before[i]["is_deleted"]}
    found = (len(written - before.keys()), len(changed - deleted), len(deleted))
    assert found == (counts.inserted, counts.updated, counts.soft_deleted)


@dataclass
class Mirror:
    """A copy that is fed only by the rows synced since it was last fed."""

    rows_by_id: dict[int, Row] = field(default_factory=dict)

    def follow(self, table: MemoryTable) -> None:
        """Copies what is new, and compares everything."""
        last = max((row["synced_at"] for row in self.rows_by_id.values()), default=None)
        rows = table.rows_by_id.items()
        self.rows_by_id |= {i: row for i, row in rows if not last or row["synced_at"] > last}
        assert self.rows_by_id == table.rows_by_id, "synced_at does not lead a mirror"


class CrashError(Exception):
    """The process ends here."""


@dataclass
class MemoryWorld:
    """One tenant, one warehouse, and the runs between them."""

    dice: random.Random
    protime: MemoryProtime
    table: MemoryTable = field(default_factory=MemoryTable)
    state: dict[str, Any] = field(default_factory=dict)
    time: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    mirror: Mirror = field(default_factory=lambda: Mirror())

    def run(
        self,
        *,
        max_pages: int | None = None,
        full_resync: bool = False,
        crash_at: int | None = None,
        is_staged_twice: bool = False,
    ) -> Counts:
        """One run, which commits rows and bookmark together or nothing."""
        state, staged, merge_filter = deepcopy(self.state), [], None
        sync = self._sync(state, Limits(max_pages), full_resync=full_resync)
        for number, batch in enumerate(sync.batches(table_is_known=self.table.exists)):
            if number == crash_at:
                raise CrashError
            if batch is not None:
                staged.append(batch)
                merge_filter = sync.ignore_live_rows_before  # dlt merges with the last one it got
        if crash_at is not None:
            raise CrashError
        before = dict(self.table.rows_by_id)
        self.table.merge(staged * (1 + is_staged_twice), merge_filter)
        _check_counts(sync.context.counts, before, self.table.rows_by_id)
        self.state = state
        self.mirror.follow(self.table)
        bookmark = Bookmark.read(state)
        if bookmark and bookmark.live_rows is not None:
            assert bookmark.live_rows == self.table.count_live_rows("from_date", None)
        return sync.context.counts

    def complete(self) -> None:
        """Runs until no full load is in progress, and then once more."""
        self.protime.failing_requests = 0
        while self.run() and self.full_load_in_progress:
            pass
        self.run()
        assert self.table.exists, "a tenant without records has an empty table"

    @property
    def full_load_in_progress(self) -> bool:
        bookmark = Bookmark.read(self.state)
        return bookmark is not None and bookmark.full_load_in_progress

    def check(self) -> None:
        """The live rows of the window are Protime's records, field by field."""
        start, rows = str(START), self.table.rows_by_id.values()
        live = {
            row["id"]: (row["change_version"], row["from_date"], row["label"])
            for row in rows
            if not row["is_deleted"] and row["from_date"] >= start
        }
        wanted = {
            record["id"]: (record["changeVersion"], record["from"], record["label"])
            for record in self.protime.records.values()
            if record["from"] >= start
        }
        assert live == wanted
        for row in rows:
            assert row["label"], "a row has lost its last-known values"
            assert row["is_deleted"] == bool(row["deleted_at"]) == bool(row["delete_reason"])

    def digest(self) -> str:
        """Tells the state of the warehouse from any other."""
        text = json.dumps([sorted(self.table.rows_by_id.items()), self.state], default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _sync(self, state: dict[str, Any], limits: Limits, *, full_resync: bool) -> CollectionSync:
        collection = self.protime.collection
        run = RunContext(SETTINGS, HTTP, limits, full_resync)
        return CollectionSync(
            CollectionContext(
                run=run,
                collection=collection,
                pages=MemoryPages(self.protime, limits),
                stored=self.table,
                decoder=DECODERS[collection.name],
                builder=BatchBuilder(collection, {}),
                state=state,
                counts=Counts(collection.table),
                clock=MonotonicClock(lambda: self.time),
            )
        )


def live_through(seed: int) -> list[str]:
    """Lives through one random history, checks its end, and returns its trace."""
    dice = random.Random(seed)
    collection = SNAPSHOT if dice.random() < 0.1 else DELTA
    world = MemoryWorld(dice, MemoryProtime(dice, Habits.any(dice), collection))
    trace = [str(world.protime.habits)]
    backup = deepcopy((world.table, world.state))
    for _ in range(dice.randint(3, 7)):
        match dice.choice(("change", "change", "change", "run", "run", "crash", "other")):
            case "change":
                trace += [world.protime.change() for _ in range(dice.randint(1, 6))]
            case "other":
                match dice.choice(("expire", "back up", "restore", "fail", "clock")):
                    case "expire":
                        world.protime.expire()
                        trace.append("expire")
                    case "back up":
                        backup = deepcopy((world.table, world.state))
                        trace.append("back up")
                    case "restore":
                        world.table, world.state = deepcopy(backup)
                        world.mirror = Mirror(dict(world.table.rows_by_id))
                        trace.append("restore")
                    case "fail":
                        world.protime.failing_requests = dice.randint(1, 3)
                        trace.append("fail")
                    case "clock":
                        world.time += timedelta(hours=dice.randint(-30, 90))
                        trace.append("clock")
            case kind:
                trace.append(_run(world, dice, crashes=kind == "crash"))
        world.time += timedelta(minutes=1)
    world.complete()
    world.check()
    return [*trace, world.digest()]


def _run(world: MemoryWorld, dice: random.Random, *, crashes: bool) -> str:
    arguments: dict[str, Any] = {
        "max_pages": dice.choice((None, None, 1, 2)),
        "full_resync": dice.random() < 0.1,
        "crash_at": dice.randint(0, 3) if crashes else None,
        "is_staged_twice": dice.random() < 0.2,
    }
    try:
        counts = world.run(**arguments)
    except (CrashError, ProtimeError) as error:
        return f"{arguments} {type(error).__name__} {world.digest()}"
    has_followed = not (counts.resumed or world.full_load_in_progress)
    if has_followed and not world.protime.habits.lags:
        world.check()
    return f"{arguments} {counts.metrics()} {world.digest()}"
