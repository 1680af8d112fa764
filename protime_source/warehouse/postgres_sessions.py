"""The sessions of this process on a Postgres server, told from all others by their name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import dlt

from protime_source.warehouse.dialect import client_of
from protime_source.warehouse.sessions import Sessions, Wait

_TOKEN = token_hex(4)

_MAX_NAME_BYTES = 63
"""Postgres cuts off what is longer."""

_IS_OURS = "application_name LIKE '%%' || %s"

_WAITS = """
    SELECT DISTINCT ON (waiting.pid) waiting.pid,
        coalesce(extract(epoch FROM clock_timestamp() - waiting.waitstart), 0)::float8,
        coalesce(relation.relname, ''), blocking.pid, coalesce(other.usename, ''),
        coalesce(other.state, ''), other.state_change,
        coalesce((SELECT bool_and(mode IN ('AccessShareLock', 'RowShareLock')) FROM pg_locks
            WHERE pid = blocking.pid AND relation = waiting.relation AND granted), FALSE)
    FROM pg_locks AS waiting
    JOIN (SELECT pid FROM pg_stat_activity WHERE {is_ours}) AS ours ON ours.pid = waiting.pid
    CROSS JOIN LATERAL unnest(pg_blocking_pids(waiting.pid)) AS blocking (pid)
    LEFT JOIN pg_stat_activity AS other ON other.pid = blocking.pid
    LEFT JOIN pg_class AS relation ON relation.oid = waiting.relation
    WHERE NOT waiting.granted AND NOT coalesce({is_ours}, FALSE)
    ORDER BY waiting.pid, other.state_change
"""

_CANCEL = f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {_IS_OURS}"


class PostgresSessions(Sessions):
    """The sessions on a server whose `application_name` ends with the mark of this process.

    Args:
        url: The server, as its drivers read it.
        mark: The end of the name.
    """

    def __init__(self, url: str, mark: str) -> None:
        self._url = url
        self._mark = mark
        self._connection: Any = None

    def waits(self) -> list[Wait]:
        """Returns which of them wait for a session of somebody else."""
        found = self._query(_WAITS.format(is_ours=_IS_OURS), self._mark, self._mark)
        return [
            Wait(session, seconds, table, blocker, user, state, _in_utc(since), only_reads)
            for session, seconds, table, blocker, user, state, since, only_reads in found
        ]

    def cancel(self, sessions: Collection[int]) -> None:
        """Cancels what some of them do; Postgres rolls it back."""
        self._query(f"{_CANCEL} AND pid = ANY(%s)", self._mark, list(sessions))

    def cancel_all(self) -> None:
        """Cancels what waits for a lock or has run for more than a second."""
        self._query(
            f"{_CANCEL} AND pid <> pg_backend_pid() AND state = 'active' AND"
            " (wait_event_type = 'Lock' OR query_start < clock_timestamp() - interval '1 second')",
            self._mark,
        )

    def close(self) -> None:
        """Closes the connection that asks for all this."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        if self._connection is None:
            import psycopg2  # type: ignore[import-untyped]  # installed with Postgres' extra only

            self._connection = psycopg2.connect(self._url)
            self._connection.autocommit = True
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())


@contextmanager
def named_sessions(pipeline: dlt.Pipeline) -> Iterator[Sessions]:
    """Gives the sessions that this process opens a name of their own, and yields them.

    The name goes into the credentials of dlt's destination, where dlt itself puts those that
    `pipeline.run` is given, so that both drivers use it. All else in the credentials stays.

    Args:
        pipeline: The pipeline that loads into Postgres.
    """
    config: Any = client_of(pipeline).config
    credentials = config.credentials.copy()
    given = str(credentials.get_query().get("application_name") or os.environ.get("PGAPPNAME", ""))
    # With the process id, because a forked child has the same token.
    mark = f":{os.getpid()}-{_TOKEN}"
    first = (given or "protime_source").removesuffix(mark).encode()[: _MAX_NAME_BYTES - len(mark)]
    name = first.decode(errors="ignore") + mark
    credentials.query = {**(credentials.query or {}), "application_name": name}
    parameters: dict[str, Any] = pipeline.destination.config_params
    before = parameters.get("credentials")
    parameters["credentials"] = credentials
    sessions = PostgresSessions(credentials.to_native_representation(), mark)
    try:
        yield sessions
    finally:
        if parameters.get("credentials") is credentials:
            if before is None:
                del parameters["credentials"]
            else:
                parameters["credentials"] = before


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment and moment.astimezone(UTC)
