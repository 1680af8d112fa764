"""A lease on a dataset, for engines without locks: one row, renewed for as long as a run lasts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation

from protime_source.errors import AlreadyRunningError
from protime_source.warehouse.dialect import Client, column_names

logger = logging.getLogger(__name__)

TABLE = "_protime_lease"

LEASE_SECONDS = 180
"""How long a run that was killed keeps out runs of other working folders."""

_RENEWALS_PER_LEASE = 3


class Lease:
    """The lease on a dataset.

    Args:
        client: A client of the destination that nothing else uses meanwhile.
        holder: Identifies who wants it. Whoever held it before takes it again at once.
    """

    def __init__(self, client: Client, holder: str) -> None:
        self._sql = client.sql_client
        self._holder = holder
        self._table = self._sql.make_qualified_table_name(TABLE)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the lease for as long as the context lasts.

        Raises:
            AlreadyRunningError: When another holder has it.
        """
        with self._sql:
            self._acquire()
            ended = Event()
            renewals = Thread(target=self._renew_until, args=(ended,), daemon=True)
            renewals.start()
            try:
                yield
            finally:
                ended.set()
                renewals.join()
                self._move_deadline(0)

    def _acquire(self) -> None:
        try:
            self._take()
        except DatabaseUndefinedRelation:
            if not self._sql.has_dataset():
                self._sql.create_dataset()
            self._create("CREATE TABLE IF NOT EXISTS")
            self._take()
        except DatabaseException:
            if {"holder", "deadline"} <= {*column_names(self._sql, self._table)}:
                raise
            self._create("CREATE OR REPLACE TABLE")  # somebody has dropped a column
            self._take()
        rows = self._rows()
        if not rows:  # somebody has emptied the table
            self._create("CREATE OR REPLACE TABLE")
            self._take()
            rows = self._rows()
        [(holder, seconds)] = rows
        if holder != self._holder:
            raise AlreadyRunningError(
                f"Another run loads into the dataset {self._sql.dataset_name}, from another working"
                " folder or another machine. This one did nothing. It is not needed, or start it"
                f" again when the other has ended; if it was killed, in {seconds} s."
            )

    def _create(self, create: str) -> None:
        """Creates the table with its only row, so that two runs cannot each add one."""
        self._sql.execute_sql(
            f"{create} {self._table} AS"
            " SELECT '' AS holder, TIMESTAMP '2000-01-01 00:00:00+00:00' AS deadline"
        )

    def _rows(self) -> list[tuple[str, int]]:
        """Who has it, and for how many seconds yet."""
        rows = self._sql.execute_sql(
            "SELECT holder, TIMESTAMP_DIFF(deadline, CURRENT_TIMESTAMP(), SECOND)"
            f" FROM {self._table}"
        )
        return [(str(holder), int(seconds)) for holder, seconds in rows or ()]

    def _take(self) -> None:
        """Takes the lease if nobody else has it: one statement, which the engine serialises."""
        self._sql.execute_sql(
            f"UPDATE {self._table} SET holder = %s, deadline = {self._after(LEASE_SECONDS)}"
            " WHERE holder = %s OR deadline < CURRENT_TIMESTAMP()",
            self._holder,
            self._holder,
        )

    def _renew_until(self, ended: Event) -> None:
        while not ended.wait(LEASE_SECONDS / _RENEWALS_PER_LEASE):
            self._move_deadline(LEASE_SECONDS)

    def _move_deadline(self, seconds: int) -> None:
        """What fails here fails no run: a package is never loaded onto another run's state."""
        try:
            self._sql.execute_sql(
                f"UPDATE {self._table} SET deadline = {self._after(seconds)} WHERE holder = %s",
                self._holder,
            )
        except DestinationException as error:
            text = " ".join(str(error).split())
            logger.warning("The lease on the dataset could not be renewed or ended: %s", text)

    @staticmethod
    def _after(seconds: int) -> str:
        return f"TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL {seconds} SECOND)"
