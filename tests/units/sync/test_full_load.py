"""A full load: what it writes, what it counts, and what it takes for gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from protime_source.api.pages import Page
from protime_source.catalogue.model import column
from protime_source.decode.soft_delete import Row, live
from protime_source.decode.tables import BatchBuilder
from protime_source.decode.tolerant import RecordDecoder
from protime_source.errors import VanishedRowsError
from protime_source.sync.bookmark import Bookmark, BookmarkScope
from protime_source.sync.context import CollectionContext, PageBatch, RunContext
from protime_source.sync.counts import Counts
from protime_source.sync.full_load import FullLoad
from protime_source.sync.prefetch import decode_pages
from tests.units.sync.memory import COLUMNS, DELTA, HTTP, SETTINGS, MemoryTable, Record

BEFORE = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 10, tzinfo=UTC)
WITH_STATUS = replace(
    DELTA, columns=(*COLUMNS, column("status", "text", "Its status.")), deleted_status="Deleted"
)
DECODER = RecordDecoder(WITH_STATUS, str)


@dataclass
class Pages:
    """Pages of a full load, the last one with the link to the changes if it is complete."""

    pages: Sequence[Sequence[Record]]
    is_complete: bool

    @contextmanager
    def open_pages(self, link: str) -> Iterator[Iterator[Page]]:
        raise NotImplementedError

    @contextmanager
    def open_batches(self, link: str) -> Iterator[Iterator[PageBatch]]:
        bodies = [{"value": records, "nextLink": "/more"} for records in self.pages]
        if self.is_complete:
            bodies[-1] = {"value": self.pages[-1], "deltaLink": "/delta"}
        pages = (Page.read(json.dumps(body).encode()) for body in bodies)
        yield (decode_pages(DECODER.fast, [page]) for page in pages)


def record(version: str, id_: int, status: str = "Active") -> Record:
    day = "2026-03-01"
    return {"id": id_, "changeVersion": version, "from": day, "label": "a", "status": status}


def row(version: str, id_: int) -> Row:
    known = {"change_version": version, "from_date": "2026-03-01", "label": "old"}
    return live({"id": id_, **known, "status": "Active"}, BEFORE)


def full_load(
    stored: Sequence[Row],
    pages: Sequence[Sequence[Record]],
    share: float = 1.0,
    *,
    exists: bool = True,
    is_complete: bool = True,
) -> tuple[Counts, list[Row], Bookmark]:
    """The counts, the rows that are written, and where the next run continues."""
    context = CollectionContext(
        run=RunContext(replace(SETTINGS, max_vanished_share=share), HTTP),
        collection=WITH_STATUS,
        pages=Pages(pages, is_complete),
        stored=MemoryTable({each["id"]: each for each in stored}, exists=exists),
        decoder=DECODER,
        builder=BatchBuilder(WITH_STATUS, {}),
        state={},
        counts=Counts(WITH_STATUS.table),
    )
    scope = BookmarkScope("memory", "2025-01-01", "")
    at = NOW.isoformat()
    load = FullLoad(context, Bookmark(scope, "/start", True, at, len(stored), at), NOW)
    first, *more = load.batches()
    assert first is None, "the first request is on its way"
    batches = [batch for batch in more if batch is not None]
    return context.counts, [each for b in batches for each in b.to_pylist()], load.bookmark


def test_all_that_a_full_load_shows_is_counted_once() -> None:
    stored = [row("B", id_) for id_ in range(1, 7)]
    counts, rows, bookmark = full_load(
        stored,
        [
            [record("B", 1), record("C", 2), record("B", 7)],
            [record("C", 2), record("B", 3), record("C", 4, "Deleted")],
        ],
    )
    assert (counts.pages, counts.received) == (2, 6)
    assert (counts.inserted, counts.updated, counts.unchanged) == (1, 1, 2)
    assert (counts.soft_deleted, counts.vanished) == (3, 2)
    deleted = {r["id"]: r["delete_reason"] for r in rows if r["is_deleted"]}
    assert deleted == {4: "announced", 5: "vanished", 6: "vanished"}
    assert {r["id"] for r in rows if not r["is_deleted"]} == {2, 7}
    assert (bookmark.link, bookmark.full_load_in_progress) == ("/delta", False)


def test_a_deleted_record_that_is_not_stored_or_older_changes_nothing() -> None:
    shown = [[record("A", 1, "Deleted"), record("B", 2, "Deleted")]]
    counts, rows, _ = full_load([row("B", 1)], shown)
    assert (rows, counts.soft_deleted, counts.received) == ([], 0, 2)


@pytest.mark.parametrize(("share", "is_refused"), [(0.4, True), (0.5, False)])
def test_the_guard_is_asked_before_anything_is_taken_for_gone(
    share: float, is_refused: bool
) -> None:
    stored, shown = [row("B", id_) for id_ in range(20)], [[record("B", id_) for id_ in range(10)]]
    if is_refused:
        with pytest.raises(VanishedRowsError, match=r"from 2025-01-01 on .* 10 of 20 live rows"):
            full_load(stored, shown, share)
    else:
        assert full_load(stored, shown, share)[0].vanished == 10


def test_a_first_load_writes_all_that_is_not_deleted() -> None:
    shown = [[record("B", 1), record("B", 2, "Deleted")], [record("B", 3)]]
    counts, rows, _ = full_load([], shown, exists=False)
    assert [each["id"] for each in rows] == [1, 3]
    assert (counts.inserted, counts.updated, counts.unchanged) == (2, 0, 0)


def test_a_part_of_a_full_load_takes_nothing_for_gone_and_keeps_what_it_has_shown() -> None:
    counts, rows, bookmark = full_load(
        [row("B", 1), row("B", 2)], [[record("B", 1)]], is_complete=False
    )
    assert (rows, counts.vanished) == ([], 0)
    assert bookmark.seen_ids
    assert (bookmark.link, bookmark.full_load_in_progress) == ("/more", True)


def test_a_record_that_is_not_as_documented_is_loaded_too() -> None:
    counts, [written], _ = full_load([row("A", 1)], [[{**record("B", 1), "colour": "red"}]])
    assert (written["label"], written["colour"], written["is_deleted"]) == ("a", "red", False)
    assert counts.updated == 1


def test_a_full_load_remembers_whether_it_shows_rows_without_a_date() -> None:
    undated = {**record("B", 2), "from": None}
    for shown in ([record("B", 1)], [record("B", 1), undated]):
        _, _, bookmark = full_load([row("B", 1)], [shown])
        assert bookmark.shows_undated is (undated in shown)
