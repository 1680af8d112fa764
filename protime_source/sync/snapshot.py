"""A collection without a delta: all of it in each run, of which only the difference is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from protime_source.decode.soft_delete import Row, live, soft_deleted
from protime_source.decode.tables import ROWS_PER_BATCH
from protime_source.errors import NotFoundError
from protime_source.sync.context import CollectionContext
from protime_source.sync.events import is_at_least_as_new
from protime_source.sync.reconcile import check_vanished_share


class SnapshotDiff:
    """The difference between all of a collection and what is stored.

    Args:
        context: The collection and what it works with.
        synced_at: The `synced_at` of its rows (UTC).
    """

    def __init__(self, context: CollectionContext, synced_at: datetime) -> None:
        self._context = context
        self._synced_at = synced_at

    def batches(self) -> Iterator[pa.Table | None]:
        """Reads all pages, then compares them with what is stored.

        Yields:
            `None` before the first request and once it is on its way, then batches of new, changed
            and vanished rows.

        Raises:
            ExpiredError: When a link has expired.
            VanishedRowsError: When more rows vanished than the settings allow.
            ApiError: When Protime gives no usable answer.
        """
        context = self._context
        received: list[Row] = []
        stored = context.stored.all_rows()
        yield None
        for parameters in context.collection.path_parameters:
            try:
                path = context.collection.path.format(**parameters)
                with context.pages.open_pages(path) as pages:
                    yield None
                    for page in pages:
                        rows = context.decoder.rows(page.records)
                        context.counts.add_pages(1, len(rows))
                        received += [{**row, **parameters} for row in rows]
            except NotFoundError as error:
                if not parameters:
                    raise
                raise _unknown_structure(parameters, error) from error

        shown = {row["id"]: row for row in sorted(received, key=_version)}
        inserted = [row for id_, row in shown.items() if id_ not in stored]
        updated = [
            row
            for id_, row in shown.items()
            if id_ in stored and self._has_changed(row, stored[id_])
        ]
        expected = dict(self._rows_to_expect(stored))
        not_found = [row for id_, row in expected.items() if id_ not in shown]
        check_vanished_share(
            context.collection,
            context.run.settings,
            vanished=len(not_found),
            live_rows=len(expected),
        )
        context.counts.inserted, context.counts.updated = len(inserted), len(updated)
        context.counts.unchanged = len(shown) - len(inserted) - len(updated)
        context.counts.vanished = context.counts.soft_deleted = len(not_found)
        merged = [live(row, self._synced_at) for row in inserted + updated]
        merged += [soft_deleted(row, "vanished", self._synced_at) for row in not_found]
        for first in range(0, len(merged), ROWS_PER_BATCH):
            yield context.builder.from_rows(merged[first : first + ROWS_PER_BATCH])

    def _has_changed(self, row: Row, stored: Row) -> bool:
        """Whether a record is back again, or not older than the stored row and different."""
        if not is_at_least_as_new(row, stored):
            return False
        is_as_stored = self._context.builder.is_as_stored(row, stored)
        return bool(stored["is_deleted"]) or not is_as_stored

    def _rows_to_expect(self, stored: Mapping[Any, Row]) -> Iterator[tuple[Any, Row]]:
        """The live rows that the pages should have shown."""
        all_parameters = self._context.collection.path_parameters
        for id_, row in stored.items():
            was_asked_for = any(each.items() <= row.items() for each in all_parameters)
            if was_asked_for and not row["is_deleted"]:
                yield id_, row


def _unknown_structure(parameters: Mapping[str, Any], error: NotFoundError) -> NotFoundError:
    """The error, with the setting that leads to nothing."""
    structure = "/".join(map(str, parameters.values()))
    message = f"{error} Check {structure} in the setting activity_structures."
    return NotFoundError(message, status=error.status, code=error.code, reasons=error.reasons)


def _version(row: Row) -> str:
    return str(row["change_version"])
