"""What SQL and loading need to know of a destination: the interface of each engine."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Collection as Names
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, cast

import dlt
import pyarrow as pa
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_client import SqlClientBase

from protime_source.catalogue.model import ArrayView, ColumnType
from protime_source.errors import SettingsError, WarehouseError
from protime_source.warehouse.sessions import Sessions

ROW_KEY = ("id", "change_version", "is_deleted", "synced_at")
"""Columns that together differ between all rows of a load package."""

FULL_DISK_ADVICE = "No space is left on the disk. Make room, then run again."

PATIENCE_SECONDS = 300.0
"""How long to wait for a DuckDB file, where no setting is at hand."""

COMMON_ERROR_ADVICE: tuple[tuple[str, str], ...] = (
    (r"No space left on device|could not write all bytes|disk is full", FULL_DISK_ADVICE),
)
"""Error patterns of every engine, and what to do about each."""

Client = SqlJobClientBase
"""dlt's client of a destination."""

Comments = Mapping[tuple[str, str], str]
"""Comments by table and column; the column is empty for the table or view itself."""

Quote = Callable[[str], str]
"""Quotes a column's name for SQL."""


class Dialect(ABC):
    r"""One engine: its SQL, its needs and its errors.

    Attributes:
        name: dlt's short name of the destination.
        sql: sqlglot's name of its SQL.
        json_type: dlt's data type for columns that hold JSON.
        is_file: Whether it is a file, which one program at a time can have open.
        is_billed: Whether each query costs.
        holds_nul: Whether text can contain U+0000.
        requires: Modules that loading needs.
        types: The SQL types of a view's columns.
        timestamp_type: The SQL type of a moment.
        table_hints: dlt's hints for its tables.
        package_factor: How many times as much of a full load it takes at once as others.
        spares_merge_filter: Whether a subquery beside an `OR` costs nothing when that is true.
        definitions_query: Selects the names of all tables and views in a dataset, each with its
            definition, which is empty for a table.
        comments_query: Selects kind, name, column and comment of all that may be commented in a
            dataset; the column is empty for the table or view itself.
        error_advice: Patterns of its error messages, each with what it means and what to do; what
            a pattern's groups match can be named as `\1`.
        drivers: What the names of the modules of its drivers begin with.
    """

    name: ClassVar[str]
    sql: ClassVar[str]
    json_type: ClassVar[ColumnType] = "json"
    is_file: ClassVar[bool] = False
    is_billed: ClassVar[bool] = False
    holds_nul: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]]
    types: ClassVar[dict[ColumnType, str]] = {"bigint": "BIGINT", "text": "VARCHAR"}
    timestamp_type: ClassVar[str] = "TIMESTAMP WITH TIME ZONE"
    table_hints: ClassVar[dict[str, Any]] = {}
    package_factor: ClassVar[int] = 1
    spares_merge_filter: ClassVar[bool] = False
    definitions_query: ClassVar[str] = ""
    comments_query: ClassVar[str] = ""
    error_advice: ClassVar[tuple[tuple[str, str], ...]] = ()
    drivers: ClassVar[tuple[str, ...]]

    def check_credentials(self, client: Client) -> None:  # noqa: B027
        """Refuses credentials that no driver could use, by a `SettingsError`; does not connect."""

    def check(self, client: Client) -> None:  # noqa: B027 - most engines need no check
        """Refuses a destination that cannot work, before the first request to Protime; once a run.

        Args:
            client: dlt's client of the destination.

        Raises:
            SettingsError: When a setting has to be changed first.
            WarehouseError: With what else to do about it.
        """

    def prepare(self, client: Client, pipeline_name: str) -> None:  # noqa: B027
        """Prepares the destination so that a first load can be killed at any moment.

        Args:
            client: dlt's client of the destination.
            pipeline_name: The pipeline, of which one run is active at a time.

        Raises:
            WarehouseError: When the destination cannot be created.
        """

    def kept_open(self, client: Client) -> AbstractContextManager[None]:
        """Returns a context in which the destination stays open, so that connecting is cheap."""
        return nullcontext()

    def sessions(self, pipeline: dlt.Pipeline) -> AbstractContextManager[Sessions | None]:
        """Returns a context in which this process's sessions are known; of None if unneeded.

        Args:
            pipeline: The pipeline, whose destination is of this engine.
        """
        return nullcontext()

    def patient(self, client: Client, patience_seconds: float) -> None:  # noqa: B027
        """Makes a client wait for a file that another program has open.

        Args:
            client: dlt's client of the destination.
            patience_seconds: How long.
        """

    def one_run(self, client: Client, holder: str) -> AbstractContextManager[None]:
        """Returns a context that one run at a time can be in, on however many machines.

        Entering it raises an `AlreadyRunningError` when another run is in it. It is not entered for
        a file.

        Args:
            client: A client of the destination that nothing else uses meanwhile.
            holder: Identifies the working folder, of which one run is active at a time.
        """
        return nullcontext()

    def location(self, client: Client) -> str:
        """Returns where a client loads to, in words."""
        return f"{client.config.data_location()}, dataset {client.sql_client.dataset_name}"

    def reading(self, client: Client) -> AbstractContextManager[None]:
        """Returns a context in which the destination is only read: nothing is created or changed.

        Args:
            client: dlt's client of the destination, which is used for nothing else.
        """
        return nullcontext()

    def probe(self, client: Client) -> None:
        """Connects, and refuses a destination that a run could not write; changes nothing.

        Args:
            client: dlt's client of the destination.

        Raises:
            WarehouseError: With what to do about it.
            DestinationException: When it cannot be reached.
        """
        with client.sql_client as sql:
            sql.execute_sql("SELECT 1")

    def local_file(self, client: Client) -> Path | None:
        """Returns the file on this machine that holds the data; `None` when there is none."""
        return None

    def has_dataset(self, client: Client) -> bool:
        """Returns whether the destination has the dataset; asking creates nothing.

        Args:
            client: dlt's client of the destination.

        Raises:
            DestinationException: When it cannot be reached.
        """
        with client.sql_client as sql:
            return bool(sql.has_dataset())

    def named_obstacle(self, error_text: str) -> str:
        """Returns the file or view that an error message names as the obstacle; else ""."""
        return ""

    @abstractmethod
    def row_key(self, row: str) -> str:
        """Returns an expression that differs between any two staged rows.

        Args:
            row: A table's qualified name or alias.
        """

    def version(self, row: str) -> str:
        """Returns the change version as an expression that compares by code point, as Python."""
        return f"{row}.change_version"

    def timestamp(self, moment: datetime) -> str:
        """Returns a literal."""
        return f"CAST('{moment.isoformat()}' AS TIMESTAMP WITH TIME ZONE)"

    def json_text(self, column: str) -> str:
        """Returns the text of a JSON column as an expression."""
        return f"CAST({column} AS VARCHAR)"

    def read_arrow(self, client: SqlClientBase[Any], query: str, schema: pa.Schema) -> pa.Table:
        """Returns the result of a query.

        Args:
            client: An open client.
            query: It selects the columns of the schema, in their order.
            schema: Names and types of the result.
        """
        rows = client.execute_sql(query) or ()
        columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
        arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
        return pa.table(arrays, schema=schema)

    def create_view(self, name: str, table: str, view: ArrayView, quote: Quote) -> str:
        """Returns a statement that creates a view unless it exists.

        Args:
            name: The view's qualified name.
            table: Qualified name of the table that it reads.
            view: What it shows.
            quote: Quotes a column's name.
        """
        return f"CREATE VIEW IF NOT EXISTS {name} AS {self._select_entries(table, view, quote)}"

    def definitions(self, client: SqlClientBase[Any], names: Names[str]) -> dict[str, str]:
        """Returns the definitions of those tables and views that exist; "" for a table.

        Args:
            client: An open client.
            names: The tables and views to look for.

        Raises:
            DestinationException: When the destination refuses.
        """
        found = client.execute_sql(self.definitions_query, client.dataset_name) or ()
        return {name: text or "" for name, text in found if name in names}

    def replace_view(self, name: str, columns: Mapping[str, str], query: str) -> str:
        """Returns a statement that creates a view over any query, or replaces it at once.

        Args:
            name: The view's qualified name.
            columns: The engine's types of its columns, by name.
            query: The query, in the engine's SQL.
        """
        return f"CREATE OR REPLACE VIEW {name} AS {query}"

    def drop_view(self, name: str) -> Iterator[str]:
        """Yields the statements that drop a view, if it exists.

        Args:
            name: The view's qualified name.
        """
        yield f"DROP VIEW IF EXISTS {name}"

    def write_comments(self, client: SqlClientBase[Any], comments: Comments) -> None:
        """Writes the comments that are missing or differ, of tables and columns that exist.

        Args:
            client: An open client.
            comments: The wanted ones.

        Raises:
            DestinationException: When the destination refuses.
        """
        found = client.execute_sql(self.comments_query, client.dataset_name) or ()
        statements = [
            _comment_on(client, kind, name, column, comments[name, column])
            for kind, name, column, comment in found
            if comments.get((name, column), comment) != comment
        ]
        if statements:
            with client.begin_transaction():
                client.execute_sql("; ".join(statements))

    def create_index(self, table: str, name: str, *columns: str) -> Iterator[str]:
        """Yields a statement that creates an index unless it exists, where the engine needs one.

        Args:
            table: The table's qualified name.
            name: The index's name.
            columns: Its columns.
        """
        yield from ()

    def create_key(self, table: str, name: str) -> Iterator[str]:
        """Yields a statement that creates the index by which a merge finds rows by id.

        Args:
            table: The table's qualified name.
            name: The index's name.
        """
        yield from ()

    def _select_entries(self, table: str, view: ArrayView, quote: Quote) -> str:
        """Each column gets an `AS`: `level` is a keyword of DuckDB."""
        columns = ", ".join(
            f"{self._entry_value(column.path, self.types[column.type])} AS {quote(column.name)}"
            for column in view.columns
        )
        entries = self._entries(f"t.{quote(view.column)}")
        return f"SELECT t.id AS {view.key}, {columns} FROM {table} t, {entries}"

    @abstractmethod
    def _entries(self, column: str) -> str:
        """What to join for one row per entry of an array; no row when the value is no array."""

    @abstractmethod
    def _entry_value(self, path: str, kind: str) -> str:
        """A value in an entry; NULL when it is missing or of another type."""


def json_path(path: str) -> str:
    """Returns the JSONPath of a field by its dotted path; of the value itself for an empty one."""
    return f"$.{path}" if path else "$"


def _comment_on(client: SqlClientBase[Any], kind: str, name: str, column: str, comment: str) -> str:
    target = client.make_qualified_table_name(name)
    if column:
        kind, target = "COLUMN", f"{target}.{client.escape_column_name(column)}"
    escaped = comment.replace("'", "''")
    return f"COMMENT ON {kind} {target} IS '{escaped}'"


def dialects() -> dict[str, Dialect]:
    """Returns the supported destinations by name: the ones that the tests run on."""
    # Imported here because each of these modules imports this one.
    from protime_source.warehouse.bigquery import BigQuery
    from protime_source.warehouse.duckdb import DuckDB
    from protime_source.warehouse.ducklake import DuckLake
    from protime_source.warehouse.postgres import Postgres

    return {each.name: each for each in (DuckDB(), DuckLake(), Postgres(), BigQuery())}


def dialect_of(pipeline: dlt.Pipeline) -> Dialect:
    """Returns the dialect of a pipeline's destination.

    Raises:
        SettingsError: When it has none, or one that is not supported.
        WarehouseError: When it lacks a package.
    """
    if pipeline.destination is None:
        raise SettingsError(
            f"The pipeline {pipeline.pipeline_name} has no destination. Nothing was changed. Name"
            ' one in dlt.pipeline(..., destination="duckdb"), or in the setting destination_type,'
            " in the environment DESTINATION_TYPE."
        )
    supported = dialects()
    kind = str(pipeline.destination.destination_type).rpartition(".")[2]
    if kind not in supported:
        raise SettingsError(
            f"The destination {kind} is not supported, only {', '.join(supported)}. Nothing was"
            " changed."
        )
    dialect = supported[kind]
    if missing := [module for module in dialect.requires if not _is_installed(module)]:
        raise WarehouseError(
            f"The destination {kind} needs {' and '.join(missing)}, which is not installed:"
            f' pip install "dlt-source-protime[{kind}]".'
        )
    return dialect


def client_of(pipeline: dlt.Pipeline, patience_seconds: float = PATIENCE_SECONDS) -> Client:
    """Returns a client of a pipeline's destination. Making one costs more than most statements.

    Args:
        pipeline: The pipeline.
        patience_seconds: How long it waits for a DuckDB file that another program has open.

    Raises:
        SettingsError: When no driver could use its credentials.
    """
    client = cast(Client, pipeline.destination_client())
    dialect = dialect_of(pipeline)
    dialect.check_credentials(client)
    dialect.patient(client, patience_seconds)
    return client


def column_names(client: SqlClientBase[Any], name: str) -> list[str]:
    """Returns the columns of a table or view by its qualified name; none when it is missing."""
    try:
        with client.execute_query(f"SELECT * FROM {name} WHERE FALSE LIMIT 0") as cursor:
            return [column[0] for column in cursor.description]
    except DatabaseUndefinedRelation:
        return []


def advice_on(error_text: str) -> str | None:
    """Returns what an engine's error message means and what to do; None when it is unknown."""
    engines = dialects().values()
    known = (each for engine in engines for each in engine.error_advice)
    for pattern, advice in (*COMMON_ERROR_ADVICE, *known):
        if found := re.search(pattern, error_text):
            advice = found.expand(advice)
            named = next(filter(None, (e.named_obstacle(error_text) for e in engines)), "")
            return f"{advice} It is {named}." if named else advice
    return None


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False
