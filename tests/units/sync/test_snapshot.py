"""A collection without a delta: all of it is read, and only the difference is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from protime_source.api.pages import Page
from protime_source.decode.soft_delete import Row, live, soft_deleted
from protime_source.decode.tables import BatchBuilder
from protime_source.errors import NotFoundError, VanishedRowsError
from protime_source.sync.context import CollectionContext, PageBatch, RunContext
from protime_source.sync.counts import Counts
from protime_source.sync.snapshot import SnapshotDiff
from tests.units.sync.memory import DECODERS, HTTP, SETTINGS, SNAPSHOT, MemoryTable, Record

BEFORE = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 10, tzinfo=UTC)
PATH = SNAPSHOT.path
LEVELS = replace(
    SNAPSHOT,
    path_template="structures/{structure}/{level}/jobs",
    path_parameters=({"structure": "a", "level": 1}, {"structure": "b", "level": 2}),
)


@dataclass
class Lists:
    """Protime's lists by path; each with its pages."""

    pages: Mapping[str, Sequence[Sequence[Record]]]

    @contextmanager
    def open_pages(self, link: str) -> Iterator[Iterator[Page]]:
        if link not in self.pages:
            raise NotFoundError(f"{link} is not there.", status=404, code="x", reasons=["y"])
        bodies = ({"value": records} for records in self.pages[link])
        yield (Page.read(json.dumps(body).encode()) for body in bodies)

    @contextmanager
    def open_batches(self, link: str) -> Iterator[Iterator[PageBatch]]:
        raise NotImplementedError


def record(version: str, id_: int = 1, label: str = "a") -> Record:
    return {"id": id_, "changeVersion": version, "from": "2026-03-01", "label": label}


def row(version: str, id_: int = 1, label: str = "a", **more: Any) -> Row:
    known = {"change_version": version, "from_date": "2026-03-01", "label": label}
    return live({"id": id_, **known, **more}, BEFORE)


def gone(version: str, id_: int = 1) -> Row:
    return {**soft_deleted(row(version, id_), "vanished", BEFORE), "synced_at": BEFORE}


def table(*rows: Row) -> MemoryTable:
    return MemoryTable({each["id"]: each for each in rows}, exists=True)


def compare(
    stored: MemoryTable,
    pages: Sequence[Sequence[Record]] | Mapping[str, Sequence[Sequence[Record]]],
    share: float = 1.0,
) -> tuple[Counts, list[Row]]:
    """The counts and the rows that are written."""
    collection = LEVELS if isinstance(pages, Mapping) else SNAPSHOT
    context = CollectionContext(
        run=RunContext(replace(SETTINGS, max_vanished_share=share), HTTP),
        collection=collection,
        pages=Lists(pages if isinstance(pages, Mapping) else {PATH: pages}),
        stored=stored,
        decoder=DECODERS[SNAPSHOT.name],
        builder=BatchBuilder(collection, {}),
        state={},
        counts=Counts(collection.table),
    )
    batches = list(SnapshotDiff(context, NOW).batches())
    assert batches[0] is None, "the first request is on its way"
    return context.counts, [each for b in batches if b is not None for each in b.to_pylist()]


@pytest.mark.parametrize(
    ("stored", "shown", "outcome"),
    [
        ([], record("B"), "inserted"),
        ([row("B", 2)], record("B"), "inserted"),
        ([row("B")], record("B"), "unchanged"),
        ([row("B")], record("B", label="b"), "updated"),
        ([row("B")], record("C"), "updated"),
        ([row("C")], record("B", label="b"), "unchanged"),  # older: the stored row is newer
        ([gone("B")], record("B"), "updated"),
        ([gone("C")], record("B"), "unchanged"),
    ],
)
def test_a_record_is_written_if_it_differs_and_is_not_older(
    stored: list[Row], shown: Record, outcome: str
) -> None:
    counts, rows = compare(table(*stored), [[shown]])
    found = {name: getattr(counts, name) for name in ("inserted", "updated", "unchanged")}
    assert found == {"inserted": 0, "updated": 0, "unchanged": 0, outcome: 1}
    written = [each for each in rows if each["id"] == 1]
    assert [(r["label"], r["is_deleted"], r["synced_at"]) for r in written] == (
        [(shown["label"], False, NOW)] if outcome != "unchanged" else []
    )


def test_what_no_page_shows_has_vanished() -> None:
    counts, rows = compare(table(row("A", 1), row("B", 2, "x"), gone("C", 3)), [[record("A")], []])
    assert (counts.vanished, counts.soft_deleted, counts.unchanged) == (1, 1, 1)
    [vanished] = rows
    assert (vanished["id"], vanished["label"], vanished["delete_reason"]) == (2, "x", "vanished")
    assert vanished["deleted_at"] == vanished["synced_at"] == NOW


def test_of_a_record_that_is_shown_again_the_newest_version_counts() -> None:
    counts, [written] = compare(table(), [[record("B", label="new")], [record("A", label="old")]])
    assert (written["label"], counts.received, counts.pages, counts.inserted) == ("new", 2, 2, 1)


def test_each_list_of_a_structure_is_read_and_its_rows_know_which() -> None:
    paths = [LEVELS.path.format(**each) for each in LEVELS.path_parameters]
    of_a, of_b = LEVELS.path_parameters
    stored = table(row("A", 1, **of_a), row("A", 2, **of_b), row("A", 3))
    counts, rows = compare(stored, {paths[0]: [[record("A", 1)]], paths[1]: [[record("A", 4)]]})
    # The row of another structure was not asked for.
    assert [(r["id"], r["is_deleted"]) for r in rows] == [(4, False), (2, True)]
    assert rows[0]["structure"] == "b"
    assert (counts.received, counts.unchanged) == (2, 1)


def test_a_structure_that_is_not_there_names_its_setting() -> None:
    path = LEVELS.path.format(**LEVELS.path_parameters[0])
    with pytest.raises(
        NotFoundError, match="Check b/2 in the setting activity_structures"
    ) as error:
        compare(table(), {path: [[]]})
    assert (error.value.status, error.value.code, error.value.reasons) == (404, "x", ("y",))


def test_a_list_that_is_not_there_names_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.PATH", "/elsewhere")
    with pytest.raises(NotFoundError, match=r"is not there\.$"):
        compare(table(), [[]])


@pytest.mark.parametrize(("share", "is_refused"), [(0.5, True), (0.6, False)])
def test_the_guard_counts_the_rows_that_were_expected(share: float, is_refused: bool) -> None:
    stored = table(*(row("A", id_) for id_ in range(20)), *(gone("A", id_) for id_ in (98, 99)))
    shown = [record("A", id_) for id_ in range(8)]  # 12 of 20 are missing
    if is_refused:
        with pytest.raises(VanishedRowsError, match="12 of 20 live rows"):
            compare(stored, [shown], share)
    else:
        assert compare(stored, [shown], share)[0].vanished == 12
