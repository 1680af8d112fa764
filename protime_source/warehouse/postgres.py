"""Postgres: its SQL, the index that merges use, and its errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from protime_source.catalogue.model import ArrayView, ColumnType
from protime_source.errors import WarehouseError
from protime_source.warehouse.dialect import ROW_KEY, Client, Dialect, Quote

_URL = "postgresql://<user>:<password>@<host>:5432/<database>"


class Postgres(Dialect):
    """Postgres. Rows are told apart by `ctid`; text compares by the database's collation."""

    name = "postgres"
    holds_nul = False
    requires = ("psycopg2", "adbc_driver_postgresql")
    types: ClassVar[dict[ColumnType, str]] = {"bigint": "BIGINT", "text": "TEXT"}
    error_advice = (
        (
            r"invalid URI query parameter",
            "The Postgres credentials have a parameter that its drivers do not know, so this run"
            " could not connect. Remove it.",
        ),
        (
            r"invalid dsn:",
            "The drivers of Postgres cannot read its credentials, so this run could not connect."
            f" Write them as {_URL}.",
        ),
        (
            r"permission denied for (?:database|schema)",
            "The Postgres user may not create what this run loads into, so this run stopped. Ask"
            " an administrator to run GRANT CREATE ON DATABASE <database> TO <user>, and the same"
            " on schemas that exist already.",
        ),
        (
            r"in a read-only transaction",
            "This Postgres connection can only read, so this run could not load. Give the user the"
            " right to write, and name the primary server in DESTINATION__POSTGRES__CREDENTIALS.",
        ),
        (
            r"because other objects depend on it",
            "Postgres cannot drop a table that another view reads, so nothing was changed. Drop"
            " the view, run again, and create the view again.",
        ),
    )

    def check(self, client: Client) -> None:
        """Refuses credentials that a driver cannot read; its error would repeat the password."""
        check_credentials(client.config.credentials)

    def named_obstacle(self, error_text: str) -> str:
        """Returns the object that depends on a table, or the parameter that is unknown."""
        found = re.search(r"(\w+ \S+) depends on|query parameter: (\S+)", error_text)
        return (found[1] or found[2]) if found else ""

    def row_key(self, row: str, columns: Sequence[str] = ROW_KEY) -> str:
        """Returns the physical position of the row."""
        return f"{row}.ctid"

    def version(self, row: str) -> str:
        """Returns it with `COLLATE "C"`, because most databases sort `a` before `B`."""
        return f'{row}.change_version COLLATE "C"'

    def create_view(self, name: str, table: str, view: ArrayView, quote: Quote) -> str:
        """Creates the view over a function of the same name, so that the table can be dropped.

        Postgres drops no table that a view reads, and `dlt pipeline drop` drops without `CASCADE`.
        A function's text is no dependency. Postgres inlines the function, so the query plan is
        that of a plain view; but whoever reads the view needs the right to read the table too.
        """
        kinds = ((quote(column), self.types[kind]) for column, _path, kind in view.columns)
        columns = ", ".join(f"{column} {kind}" for column, kind in kinds)
        # Postgres has no `IF NOT EXISTS` for views, and replacing one waits for every reader.
        return (
            f"DO $create$ BEGIN IF to_regclass('{name}') IS NULL THEN"
            f" CREATE OR REPLACE FUNCTION {name}()"
            f" RETURNS TABLE ({view.key} {table}.id%TYPE, {columns}) LANGUAGE sql STABLE"
            f" AS $entries$ {self._select_entries(table, view, quote)} $entries$;"
            f" CREATE VIEW {name} AS SELECT * FROM {name}(); END IF; END $create$"
        )

    def after_load(self, table: str, index: str, key: str) -> Iterator[str]:
        """Yields the index by which a merge of a few rows finds them."""
        yield f'CREATE UNIQUE INDEX IF NOT EXISTS "{index}" ON {table} ({key})'

    def _entries(self, column: str) -> str:
        array = f"CASE WHEN json_typeof({column}) = 'array' THEN {column} ELSE '[]' END"
        return f"LATERAL json_array_elements({array}) AS l(entry)"

    def _entry_value(self, path: str, kind: str) -> str:
        """One failing cast would fail the query, so anything but a small integer is NULL."""
        text = f"l.entry #>> '{{{path.replace('.', ',')}}}'"
        if kind != "BIGINT":
            return f"({text})"
        return f"CASE WHEN {text} ~ '^-?[0-9]{{1,18}}$' THEN CAST({text} AS BIGINT) END"


def check_credentials(credentials: Any) -> None:
    """Refuses a URL that SQLAlchemy reads, and so dlt, but psycopg2 and ADBC do not.

    Args:
        credentials: dlt's credentials.

    Raises:
        WarehouseError: With what to write.
    """
    if credentials.drivername not in ("postgresql", "postgres"):
        raise WarehouseError(
            f"The Postgres credentials begin with {credentials.drivername}://, which its drivers"
            f" cannot read. Nothing was asked of Protime and nothing was changed. Write {_URL}."
        )
    if "@" in (credentials.host or ""):
        raise WarehouseError(
            "The Postgres credentials have a second @, so where the password ends is not clear."
            " Nothing was asked of Protime and nothing was changed. Write %40 for an @ in the"
            " password, and %2F for a slash."
        )
