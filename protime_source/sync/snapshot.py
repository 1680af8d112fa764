"""A collection without a delta: all of it each run, and only what changed is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from protime_source.decode.soft_delete import MARKS, Row, deleted, live
from protime_source.decode.tables import ROWS_PER_TABLE
from protime_source.errors import NotFoundError
from protime_source.sync.context import Extraction
from protime_source.sync.events import reaches
from protime_source.sync.reconcile import check_share


class Snapshot:
    """One walk over all of a collection, compared with the warehouse row by row.

    Args:
        run: What it works with.
        received_at: The `synced_at` of its rows (UTC).
    """

    def __init__(self, run: Extraction, received_at: datetime) -> None:
        self._run = run
        self._received_at = received_at

    def tables(self) -> Iterator[pa.Table | None]:
        """Walks, and then compares.

        Yields:
            Tables of new and changed rows, and of rows that vanished. `None` while others can be
            served.

        Raises:
            ExpiredError: When a link has died.
            VanishedRowsError: When more rows vanished than the settings allow.
            ApiError: When there is no usable answer.
        """
        run = self._run
        received: list[Row] = []
        for rows in self._received():
            received += rows
            yield None
        shown = {row["id"]: row for row in sorted(received, key=_version)}
        held = run.warehouse.all_rows()
        exposed = run.warehouse.exposed()
        news = [
            row for id_, row in shown.items() if id_ in exposed or self._is_news(row, held.get(id_))
        ]
        watched = dict(self._watched(held))
        gone = [row for id_, row in watched.items() if id_ not in shown]
        check_share(run.collection, run.settings, len(gone), len(watched))
        run.counts.merged, run.counts.same = len(news), len(shown) - len(news)
        run.counts.vanished = run.counts.marked = len(gone)
        merged = [live(row, self._received_at) for row in news]
        merged += [deleted(row, "vanished", self._received_at) for row in gone]
        for first in range(0, len(merged), ROWS_PER_TABLE):
            yield run.builder.rows(merged[first : first + ROWS_PER_TABLE])

    def _received(self) -> Iterator[list[Row]]:
        """All records page by page, with what their path tells of them."""
        for branch in self._run.collection.branches:
            try:
                yield from self._below(branch)
            except NotFoundError as error:
                if not branch:
                    raise
                raise _misnamed(branch, error) from error

    def _below(self, branch: Mapping[str, Any]) -> Iterator[list[Row]]:
        run = self._run
        for page in run.pages(run.collection.path.format(**branch)):
            if page is None:
                yield []
                continue
            rows = run.decoder.rows(page.records)
            run.counts.add_pages(1, len(rows))
            yield [{**row, **branch} for row in rows]

    def _is_news(self, row: Row, held: Row | None) -> bool:
        """Whether a record is new, back again, or other than the row held and not older."""
        if held is None:
            return True
        run = self._run
        if not (reaches(row, held) or run.is_foreign(held)):
            return False
        return held["is_deleted"] or _content(run.builder.stored(row)) != _content(held)

    def _watched(self, held: Mapping[Any, Row]) -> Iterator[tuple[Any, Row]]:
        """The live rows that the walk should have shown."""
        branches = self._run.collection.branches
        for id_, row in held.items():
            if not row["is_deleted"] and any(branch.items() <= row.items() for branch in branches):
                yield id_, row


def _misnamed(branch: Mapping[str, Any], error: NotFoundError) -> NotFoundError:
    """The error, with the setting that leads to nothing."""
    structure = "/".join(map(str, branch.values()))
    message = f"{error} Check {structure} in the setting activity_structures."
    return NotFoundError(message, status=error.status, code=error.code, reasons=error.reasons)


def _content(row: Row) -> Row:
    return {name: value for name, value in row.items() if value is not None and name not in MARKS}


def _version(row: Row) -> str:
    return str(row["change_version"])
