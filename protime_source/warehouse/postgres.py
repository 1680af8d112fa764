"""Postgres: its SQL, the index that merges use, and its errors."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import dlt
from dlt.destinations.impl.postgres.factory import get_adbc_driver_location
from dlt.destinations.sql_client import SqlClientBase

from protime_source.api.redaction import redact
from protime_source.catalogue.model import ArrayView, ColumnType
from protime_source.errors import (
    AlreadyRunningError,
    SettingsError,
    WarehouseError,
    first_line,
)
from protime_source.warehouse.dialect import Client, Dialect, Quote
from protime_source.warehouse.postgres_sessions import named_sessions
from protime_source.warehouse.sessions import Sessions

_URL = "postgresql://<user>:<password>@<host>:5432/<database>"

_KEEP_ALIVE = (
    "SELECT set_config(name, CASE name WHEN 'tcp_keepalives_idle' THEN '60'"
    " WHEN 'tcp_keepalives_interval' THEN '10' WHEN 'tcp_keepalives_count' THEN '6'"
    " ELSE '0' END, false) FROM pg_settings WHERE name IN ('tcp_keepalives_idle',"
    " 'tcp_keepalives_interval', 'tcp_keepalives_count', 'idle_session_timeout')"
)
"""For a session that is idle while rows are copied: no router or setting ends it, and the server
notices within two minutes when the machine of a run is gone."""

_NOTHING_DONE = "Nothing was asked of Protime."

_CREDENTIALS = "[destination.postgres] credentials"

_SECOND_AT = (
    f"{_CREDENTIALS} has a second @, so where the password ends is not clear. Nothing was changed."
    " Write %40 for an @ in the password, and %2F for a slash."
)
_MAY_NOT_CREATE = (
    "The Postgres user may not create what this run loads into, so this run stopped. Ask an"
    " administrator to run GRANT CREATE ON DATABASE <database> TO <user>, and the same on schemas"
    " that exist already."
)
_ONLY_READS = (
    "This Postgres connection can only read, so this run could not load. Give the user the right"
    " to write, and name the primary server in DESTINATION__POSTGRES__CREDENTIALS."
)

_FACTS = """
    SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
        current_setting('client_encoding'), current_setting('transaction_read_only') = 'on',
        has_database_privilege(current_database(), 'CREATE'),
        (SELECT count(*) FROM pg_namespace WHERE nspname = ANY(%s)),
        (SELECT count(*) FROM pg_namespace WHERE nspname = ANY(%s)
            AND has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE'))
"""

# Only an owner may comment.
_COMMENTS = """
    WITH owned AS (
        SELECT c.oid, c.relname, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v') AND pg_has_role(c.relowner, 'USAGE')
    ), commented AS (
        SELECT oid, relname, kind, 0 AS number, '' AS column_name FROM owned
        UNION ALL SELECT o.oid, relname, 'COLUMN', attnum, attname FROM owned o
            JOIN pg_attribute ON attrelid = o.oid AND attnum > 0 AND NOT attisdropped
    )
    SELECT kind, relname, column_name, description FROM commented
    LEFT JOIN pg_description ON objoid = oid AND classoid = 'pg_class'::regclass
        AND objsubid = number
"""

_DEFINITIONS = """
    SELECT c.relname, CASE c.relkind WHEN 'v' THEN COALESCE(p.prosrc, pg_get_viewdef(c.oid)) END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_proc p ON p.pronamespace = n.oid AND p.proname = c.relname AND p.pronargs = 0
    WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm')
"""

_MERGE = 15_00_00
"""The first version that has MERGE."""


_LOCK_ATTEMPTS = 10
_LOCK_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class ServerFacts:
    """What a Postgres server says of itself and of the connection.

    Attributes:
        version: Like 180006 for 18.6.
        encoding: The database's.
        client_encoding: The connection's.
        only_reads: Whether the connection may not write, as on a replica.
        may_create_schemas: Whether the user has `CREATE` on the database.
        schemas: How many of the dataset's two schemas exist.
        usable_schemas: In how many of these the user may create tables.
    """

    version: int
    encoding: str
    client_encoding: str
    only_reads: bool
    may_create_schemas: bool
    schemas: int
    usable_schemas: int


def problem_of(facts: ServerFacts, schemas: int = 2) -> str:
    """Returns why a load could not work on a server, and what to do; empty when it can.

    Args:
        facts: What the server says.
        schemas: How many schemas a load needs.
    """
    if facts.version < _MERGE:
        return (
            f"This server is Postgres {facts.version // 10_000}, which has no MERGE. Use Postgres"
            " 15 or newer."
        )
    if facts.encoding != "UTF8":
        return (
            f"The encoding of this Postgres database is {facts.encoding}, which cannot hold every"
            " text. Create one with CREATE DATABASE <name> ENCODING 'UTF8' TEMPLATE template0."
        )
    if facts.client_encoding != "UTF8":
        return (
            f"The client_encoding of this Postgres connection is {facts.client_encoding}: ADBC"
            " copies text as UTF-8, which would be garbled. Remove it from the credentials, from"
            " PGCLIENTENCODING and from the user's or database's settings."
        )
    if facts.only_reads:
        return _ONLY_READS
    if facts.usable_schemas < facts.schemas:
        return _MAY_NOT_CREATE
    if facts.schemas < schemas and not facts.may_create_schemas:
        return _MAY_NOT_CREATE
    return ""


class Postgres(Dialect):
    """Postgres. Rows are told apart by `ctid`; text compares by the database's collation."""

    name = "postgres"
    sql = "postgres"
    holds_nul = False
    requires = ("psycopg2", "adbc_driver_postgresql")
    drivers = ("psycopg2", "adbc_driver")
    types: ClassVar[dict[ColumnType, str]] = {"bigint": "BIGINT", "text": "TEXT"}
    definitions_query = _DEFINITIONS
    comments_query = _COMMENTS
    error_advice = (
        (
            r'could not translate host name "[^"]*@',
            _SECOND_AT,
        ),
        (
            r"invalid URI query parameter",
            "The Postgres credentials have a parameter that its drivers do not know, so they cannot"
            f" connect. Remove it from {_CREDENTIALS}.",
        ),
        (
            r"invalid dsn:",
            f"The drivers of Postgres cannot read {_CREDENTIALS}, so they cannot connect."
            f" Write {_URL}.",
        ),
        (
            r"(?:authentication failed for user|no pg_hba\.conf entry for host .*, user"
            r'|role(?= "[^"]*" (?:does not exist|is not permitted to log in))) "([^"]*)"',
            "Postgres refuses the login of \\1. Check user and password in"
            f" {_CREDENTIALS}, and what the server's pg_hba.conf allows.",
        ),
        (
            r"no password supplied",
            f"Postgres asks for a password, and {_CREDENTIALS} has none. Write {_URL}.",
        ),
        (
            r"(?m)^((?:connection to server at|could not translate host name) [^\n]*[^\n.])",
            f"The destination cannot be reached: \\1. Check the address in {_CREDENTIALS}.",
        ),
        (
            r"permission denied for (?:database|schema)",
            _MAY_NOT_CREATE,
        ),
        (
            r"in a read-only transaction",
            _ONLY_READS,
        ),
        (
            r"because other objects depend on it",
            "Postgres cannot drop a table that another view reads, so nothing was changed. Drop"
            " the view, run again, and create the view again.",
        ),
        (
            r"canceling statement due to (?:user request|lock timeout|statement timeout)",
            "Postgres cancelled a statement of this run, because it waited too long for another"
            " session, was stopped, or exceeded a limit of the server. No row is half written. Run"
            " again; if it recurs, end the transaction that keeps the table locked.",
        ),
    )

    def check_credentials(self, client: Client) -> None:
        """Refuses a URL that SQLAlchemy reads, and so dlt, but psycopg2 and ADBC do not."""
        check_credentials(client.config.credentials)

    def check(self, client: Client) -> None:
        """Refuses a server that cannot do our part.

        ADBC copies the rows, psycopg2 does all else. Connecting by ADBC takes a quarter of a
        second, so only a first load tries it.
        """
        if dlt.config.get("disable_adbc_detection", bool):
            raise SettingsError(
                "dlt's setting disable_adbc_detection is true, but without ADBC, empty text would"
                f" become NULL. {_NOTHING_DONE} Remove the setting."
            )
        with client.sql_client as sql:
            datasets = [str(sql.dataset_name), str(sql.staging_dataset_name)]
            facts = ServerFacts(*(sql.execute_sql(_FACTS, datasets, datasets) or ())[0])
            if problem := problem_of(facts):
                raise WarehouseError(f"{problem} {_NOTHING_DONE}")
            if facts.schemas < len(datasets):
                credentials: Any = client.config.credentials
                _connect_by_adbc(credentials.to_native_representation())

    def kept_open(self, client: Client) -> AbstractContextManager[None]:
        """Returns a context in which all statements of a client share one connection."""
        return _connection_kept(client.sql_client)

    def sessions(self, pipeline: dlt.Pipeline) -> AbstractContextManager[Sessions | None]:
        """Returns a context in which this process's sessions are known by their name."""
        return named_sessions(pipeline)

    def one_run(self, client: Client, holder: str) -> AbstractContextManager[None]:
        """Returns a context that holds an advisory lock, which ends with its session."""
        return advisory_lock(client.sql_client)

    def named_obstacle(self, error_text: str) -> str:
        """Returns the object that depends on a table, or the parameter that is unknown."""
        found = re.search(r"(\w+ \S+) depends on|query parameter: (\S+)", error_text)
        return (found[1] or found[2]) if found else ""

    def row_key(self, row: str) -> str:
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
        columns = ", ".join(f"{quote(c.name)} {self.types[c.type]}" for c in view.columns)
        # Postgres has no `IF NOT EXISTS` for views, and replacing one waits for every reader.
        return (
            f"DO $create$ BEGIN IF to_regclass('{name}') IS NULL THEN"
            f" CREATE OR REPLACE FUNCTION {name}()"
            f" RETURNS TABLE ({view.key} {table}.id%TYPE, {columns}) LANGUAGE sql STABLE"
            f" AS $entries$ {self._select_entries(table, view, quote)} $entries$;"
            f" CREATE VIEW {name} AS SELECT * FROM {name}(); END IF; END $create$"
        )

    def replace_view(self, name: str, columns: Mapping[str, str], query: str) -> str:
        """Creates the view over a function, for the reason that `create_view` gives.

        As long as its columns are the same, only the function is replaced: the view keeps its
        rights and what reads it, and no reader is waited for.
        """
        returned = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        create_function = (
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS TABLE ({returned})"
            f" LANGUAGE sql STABLE AS $query$ {query} $query$;"
        )
        return (
            f"DO $replace$ BEGIN BEGIN {create_function}"
            f" EXCEPTION WHEN invalid_function_definition THEN DROP VIEW IF EXISTS {name};"
            f" DROP FUNCTION {name}(); {create_function} END;"
            f" IF to_regclass('{name}') IS NULL THEN"
            f" CREATE VIEW {name} AS SELECT * FROM {name}(); END IF; END $replace$"
        )

    def drop_view(self, name: str) -> Iterator[str]:
        """Yields the statements that drop a view and the function that it reads."""
        yield from super().drop_view(name)
        yield f"DROP FUNCTION IF EXISTS {name}()"

    def create_index(self, table: str, name: str, *columns: str) -> Iterator[str]:
        """Yields a statement that creates an index unless it exists."""
        yield f'CREATE INDEX IF NOT EXISTS "{name}" ON {table} ({", ".join(columns)})'

    def create_key(self, table: str, name: str) -> Iterator[str]:
        """Yields a statement that creates the index by which a merge finds rows by id."""
        yield f'CREATE UNIQUE INDEX IF NOT EXISTS "{name}" ON {table} (id)'

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
        SettingsError: With what to write.
    """
    scheme, plus, driver = credentials.drivername.partition("+")
    if plus:
        raise SettingsError(
            f"{_CREDENTIALS} begins with {scheme}+{driver}://, which its drivers cannot read."
            f" Nothing was changed. Leave out +{driver}: write {_URL}."
        )
    if scheme not in ("postgresql", "postgres"):
        raise SettingsError(
            f"{_CREDENTIALS} begins with {scheme}://, which its drivers cannot read. Nothing was"
            f" changed. Write {_URL}."
        )
    if "@" in (credentials.host or ""):
        raise SettingsError(_SECOND_AT)


def _connect_by_adbc(url: str) -> None:
    """Connects as dlt's copy job does, since ADBC has a client library of its own.

    Raises:
        WarehouseError: When it cannot.
    """
    from adbc_driver_manager import Error, dbapi  # installed with Postgres' extra only

    try:
        dbapi.connect(driver=get_adbc_driver_location(), db_kwargs={"uri": url}).close()
    except Error as error:
        raise WarehouseError(
            "psycopg2 can connect to Postgres, but ADBC cannot, by which the rows are copied:"
            f" {redact(first_line(error))}. {_NOTHING_DONE} Check the parameters of the"
            " credentials, and how many connections the user may have."
        ) from None


@contextmanager
def _connection_kept(sql: SqlClientBase[Any]) -> Iterator[None]:
    """Keeps a connection: to open one takes several round trips, and a run asks eleven times."""
    if not sql.owns_connection:  # it is kept already
        yield
        return
    with sql:
        sql.execute_sql(_KEEP_ALIVE)
        sql.owns_connection = False  # so that dlt neither opens nor closes it
        try:
            yield
        finally:
            sql.owns_connection = True


@contextmanager
def advisory_lock(client: SqlClientBase[Any], place: str = "") -> Iterator[None]:
    """Holds the lock of the dataset in this database, in a session of its own.

    Args:
        client: A client that nothing else uses meanwhile.
        place: Tells datasets of the same name in the database from each other.

    Raises:
        AlreadyRunningError: When another run holds it.
    """
    name = client.dataset_name
    digest = hashlib.sha256(f"protime|{place}{name}".encode()).digest()
    key = int.from_bytes(digest[:8], signed=True)
    with client as sql:
        sql.execute_sql(_KEEP_ALIVE)
        for attempt in range(_LOCK_ATTEMPTS):
            if sql.execute_sql("SELECT pg_try_advisory_lock(%s)", key) == [(True,)]:
                break
            if attempt < _LOCK_ATTEMPTS - 1:
                time.sleep(_LOCK_PAUSE_SECONDS)  # the session of a killed run is about to end
        else:
            raise AlreadyRunningError(
                f"Another run loads into the dataset {name}, from another working folder or another"
                " machine. This one did nothing. It is not needed, or start it again when the other"
                " has ended."
            )
        yield
