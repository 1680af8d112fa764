"""What a run writes into the ledger: a row per collection when it begins, its end when it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from uuid import uuid4

import dlt
import pendulum
from dlt.common.destination.exceptions import DestinationException

from protime_source.api.redaction import redact
from protime_source.catalogue import COLLECTIONS
from protime_source.pipeline.states import NAME, resource_states
from protime_source.settings import __version__
from protime_source.sync.bookmark import Bookmark
from protime_source.sync.context import RunContext
from protime_source.sync.counts import Totals
from protime_source.warehouse.dialect import Client, dialect_of
from protime_source.warehouse.ledger import LedgerTable, Silence
from protime_source.warehouse.own_table import Entry
from protime_source.warehouse.table import count_live

logger = logging.getLogger(__name__)

_COUNTS = ("requests", "received", "inserted", "updated", "soft_deleted", "unchanged", "stale")


class Ledger:
    """The ledger's rows of one run.

    Args:
        pipeline: The pipeline.
        client: A client of its destination.
        table_names: The tables that the run loads.

    Attributes:
        run_id: Identifies the run.
        load_id: dlt's id of its last load package.
        table_names: As given.
    """

    def __init__(self, pipeline: dlt.Pipeline, client: Client, table_names: Sequence[str]) -> None:
        self.run_id = uuid4().hex
        self.load_id = ""
        self._pipeline = pipeline
        self._client = client
        self.table_names = tuple(table_names)
        self._table = LedgerTable(client, dialect_of(pipeline))

    def open(self) -> Silence:
        """Notes that the run has begun; a ledger that cannot be written fails no run.

        Returns:
            Which earlier runs may have died, or be still at work: they have not noted their end.
        """
        now = pendulum.now("UTC")
        entries = [
            {
                "run_id": self.run_id,
                "collection": COLLECTIONS[table].name,
                "table_name": table,
                "started_at": now,
                "outcome": "running",
                "package_version": __version__,
            }
            for table in self.table_names
        ]
        try:
            return self._table.open(entries, now)
        except DestinationException as error:
            _warn(error)
            return frozenset({"found"})

    def close(self, run: RunContext) -> dict[str, int]:
        """Notes how the run ended.

        Args:
            run: The run, with what was loaded, refused and failed.

        Returns:
            The live rows of the tables that exist; none when the destination is unreachable.
        """
        states = resource_states(self._pipeline.state, NAME)
        bookmarks = {name: Bookmark.read(states.get(name, {})) for name in self.table_names}
        live_rows = self._live_rows(run, bookmarks)
        entries = [
            self._entry(name, run, live_rows.get(name), bookmarks[name])
            for name in self.table_names
        ]
        try:
            self._table.close(self.run_id, entries)
        except DestinationException as error:
            _warn(error)
        return live_rows

    def _live_rows(
        self, run: RunContext, bookmarks: Mapping[str, Bookmark | None]
    ) -> dict[str, int]:
        """From the bookmarks that are committed with the rows; else counted, a pass a table."""
        kept = {
            name: bookmark.live_rows
            for name, bookmark in bookmarks.items()
            if name not in run.errors and bookmark and bookmark.live_rows is not None
        }
        known = self._pipeline.schemas[NAME].tables if NAME in self._pipeline.schemas else {}
        names = [name for name in self.table_names if name in known and name not in kept]
        try:
            return kept | count_live(self._client.sql_client, names)
        except DestinationException:
            return kept

    def _entry(
        self, table_name: str, run: RunContext, live_rows: int | None, bookmark: Bookmark | None
    ) -> Entry:
        totals = run.totals.get(table_name, Totals())
        refusal, error = run.refusals.get(table_name), run.errors.get(table_name)
        mode, reason = run.kind(table_name)
        return {
            "table_name": table_name,
            "ended_at": pendulum.now("UTC"),
            "mode": mode or None,
            "reason": reason or None,
            "outcome": "refused" if refusal else "failed" if error else "succeeded",
            "error": redact(str(refusal)) if refusal else error,
            **{name: totals.counts[name] for name in _COUNTS},
            "live_rows": live_rows,
            "delta_expires_at": bookmark.expires if bookmark else None,
            "load_id": self.load_id or None,
        }


def _warn(error: DestinationException) -> None:
    logger.warning(
        "The ledger sync_runs could not be written: %s The rows are not concerned.",
        redact(" ".join(str(error).split())),
    )
