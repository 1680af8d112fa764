"""What each destination does its own way: DuckDB, Postgres, BigQuery."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, cast

import dlt
from dlt.destinations.job_client_impl import SqlJobClientBase

from protime_source.catalogue.model import ArrayView, ColumnType
from protime_source.errors import WarehouseError
from protime_source.warehouse import duckdb as duckdb_file

ROW_KEY = ("id", "change_version", "is_deleted", "synced_at")
"""Columns in which all rows of a package differ."""

Client = SqlJobClientBase
"""dlt's client of a destination."""

Quote = Callable[[str], str]
"""Makes a column's name safe in SQL."""


class Dialect(ABC):
    """What SQL and loading need to know of an engine.

    Attributes:
        name: dlt's short name of the destination.
        json_type: dlt's data type for columns that hold JSON.
        holds_nul: Whether its text can hold U+0000.
        requires: Modules that loading needs.
        types: Names of types in its SQL.
        table_hints: dlt's hints for its tables.
    """

    name: ClassVar[str]
    json_type: ClassVar[ColumnType] = "json"
    holds_nul: ClassVar[bool] = True
    requires: ClassVar[tuple[str, ...]]
    types: ClassVar[dict[ColumnType, str]] = {"bigint": "BIGINT", "text": "VARCHAR"}

    table_hints: ClassVar[dict[str, Any]] = {}

    def check(self, client: Client) -> None:  # noqa: B027 - most need none
        """Refuses a configuration that cannot work, before anything is asked of Protime.

        Args:
            client: dlt's client of the destination.

        Raises:
            WarehouseError: With what to do about it.
        """

    def prepare(self, client: Client, pipeline_name: str) -> None:  # noqa: B027
        """Makes sure that a first load can be killed at any moment.

        Raises:
            WarehouseError: When there is no place for the data.
        """

    def kept_open(self, client: Client) -> AbstractContextManager[None]:
        """While it lasts, to connect costs little, and nobody else can come in between.

        Args:
            client: dlt's client of the destination.
        """
        return nullcontext()

    def place(self, client: Client) -> str:
        """Where a client loads to, in words."""
        return f"{client.config.data_location()}, dataset {client.sql_client.dataset_name}"

    @abstractmethod
    def row_key(self, row: str, columns: Sequence[str] = ROW_KEY) -> str:
        """What tells two staged rows apart.

        Args:
            row: A table, or what it is called in the statement.
            columns: What differs, where an engine knows no better.
        """

    def version(self, row: str) -> str:
        """The change version, so that it compares by code point, as in Python."""
        return f"{row}.change_version"

    def timestamp(self, moment: datetime) -> str:
        """A literal."""
        return f"CAST('{moment.isoformat()}' AS TIMESTAMP WITH TIME ZONE)"

    def json_text(self, column: str) -> str:
        """The text of a JSON column."""
        return f"CAST({column} AS VARCHAR)"

    def create_view(self, name: str, table: str, view: ArrayView, quote: Quote) -> str:
        """Creates the view unless it is there.

        Args:
            name: Its qualified name.
            table: Qualified name of the table below it.
            view: What it shows.
            quote: Makes a column's name safe.
        """
        return f"CREATE VIEW IF NOT EXISTS {name} AS {self._levels(table, view, quote)}"

    def after_load(self, table: str, index: str, key: str) -> Iterator[str]:
        """Statements that leave everything as it is when they were executed before.

        Args:
            table: Qualified name of a loaded table.
            index: A name for its index.
            key: The column that its rows are found by.
        """
        yield from ()

    def _levels(self, table: str, view: ArrayView, quote: Quote) -> str:
        """Each column gets its `AS`: `level` is a keyword to DuckDB."""
        columns = ", ".join(
            f"{self._entry_value(path, self.types[kind])} AS {quote(name)}"
            for name, path, kind in view.columns
        )
        entries = self._entries(f"t.{quote(view.column)}")
        return f"SELECT t.id AS {view.key}, {columns} FROM {table} t, {entries}"

    @abstractmethod
    def _entries(self, column: str) -> str:
        """What to join for one row per entry of an array; none when it is no array."""

    @abstractmethod
    def _entry_value(self, path: str, kind: str) -> str:
        """A value in an entry, NULL when it is not there or of another type."""


class DuckDB(Dialect):
    """DuckDB, whose file needs some care."""

    name = "duckdb"
    requires = ("duckdb",)

    def check(self, client: Client) -> None:
        """Refuses a file that is called like the dataset."""
        duckdb_file.check_name(_file(client), client.sql_client.dataset_name)

    def prepare(self, client: Client, pipeline_name: str) -> None:
        """Creates the file."""
        duckdb_file.create(_file(client), pipeline_name)

    def kept_open(self, client: Client) -> AbstractContextManager[None]:
        """Keeps the file open."""
        credentials: Any = client.config.credentials
        return duckdb_file.kept_open(credentials.conn_pool)

    def row_key(self, row: str, columns: Sequence[str] = ROW_KEY) -> str:
        """Its number, also when all values are the same."""
        return f"{row}.rowid"

    def _entries(self, column: str) -> str:
        return f"LATERAL (SELECT UNNEST(TRY_CAST({column} AS JSON[])) AS entry) l"

    def _entry_value(self, path: str, kind: str) -> str:
        return f"TRY_CAST(l.entry ->> '{_json_path(path)}' AS {kind})"


class Postgres(Dialect):
    """Postgres. Rows are told apart by `ctid`; text compares by the database's collation."""

    name = "postgres"
    holds_nul = False
    requires = ("psycopg2", "adbc_driver_postgresql")

    def row_key(self, row: str, columns: Sequence[str] = ROW_KEY) -> str:
        """The physical place of the row."""
        return f"{row}.ctid"

    def version(self, row: str) -> str:
        """`COLLATE "C"`: most databases sort like a dictionary, where `a` is less than `B`."""
        return f'{row}.change_version COLLATE "C"'

    def create_view(self, name: str, table: str, view: ArrayView, quote: Quote) -> str:
        """Postgres has no `IF NOT EXISTS` here, and replacing would wait for every reader."""
        sql = f"CREATE VIEW {name} AS {self._levels(table, view, quote)}"
        return (
            f"DO $levels$ BEGIN IF to_regclass('{name}') IS NULL THEN {sql}; END IF; END $levels$"
        )

    def after_load(self, table: str, index: str, key: str) -> Iterator[str]:
        """The index that a merge of a few rows finds them by."""
        yield f'CREATE UNIQUE INDEX IF NOT EXISTS "{index}" ON {table} ({key})'

    def _entries(self, column: str) -> str:
        array = f"CASE WHEN json_typeof({column}) = 'array' THEN {column} ELSE '[]' END"
        return f"LATERAL json_array_elements({array}) AS l(entry)"

    def _entry_value(self, path: str, kind: str) -> str:
        """A cast that fails would fail for all rows: what is no small integer is NULL."""
        text = f"l.entry #>> '{{{path.replace('.', ',')}}}'"
        if kind != "BIGINT":
            return f"({text})"
        return f"CASE WHEN {text} ~ '^-?[0-9]{{1,18}}$' THEN CAST({text} AS BIGINT) END"


class BigQuery(Dialect):
    """BigQuery. It has no row id, and takes no JSON from Parquet: JSON is text there."""

    name = "bigquery"
    json_type = "text"
    requires = ("google.cloud.bigquery",)
    types: ClassVar[dict[ColumnType, str]] = {"bigint": "INT64", "text": "STRING"}
    table_hints: ClassVar[dict[str, Any]] = {"x-bigquery-cluster-columns": ["id"]}

    def check(self, client: Client) -> None:
        """Nothing to refuse; Google's client need not say that it reads results over REST."""
        warnings.filterwarnings("ignore", "Cannot create BigQuery Storage client")

    def place(self, client: Client) -> str:
        """The project and its dataset; dlt's location is only the region."""
        project = client.sql_client.project_id
        return f"project {project}, dataset {client.sql_client.dataset_name}"

    def row_key(self, row: str, columns: Sequence[str] = ROW_KEY) -> str:
        """Different for all rows of a package, see `Walk`; load jobs are never done twice.

        A load job's id is its file's name, so that a repeated one is refused as a duplicate. A
        table's path cannot qualify a column: in the statement it is called by its last part.
        """
        called = row.rpartition(".")[2]
        fields = ", ".join(f"{called}.{name} AS {name}" for name in columns)
        return f"TO_JSON_STRING(STRUCT({fields}))"

    def timestamp(self, moment: datetime) -> str:
        """A literal."""
        return f"TIMESTAMP '{moment.isoformat()}'"

    def json_text(self, column: str) -> str:
        """It is text."""
        return column

    def _entries(self, column: str) -> str:
        array = f"JSON_QUERY_ARRAY(SAFE.PARSE_JSON({column}, wide_number_mode => 'round'))"
        return f"UNNEST({array}) AS entry"

    def _entry_value(self, path: str, kind: str) -> str:
        return f"SAFE_CAST(JSON_VALUE(entry, '{_json_path(path)}') AS {kind})"


def _json_path(path: str) -> str:
    return f"$.{path}" if path else "$"


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect for dialect in (DuckDB(), Postgres(), BigQuery())
}
"""The destinations that are supported: those that the tests run on."""


def dialect_of(pipeline: dlt.Pipeline) -> Dialect:
    """The dialect of a pipeline's destination.

    Raises:
        WarehouseError: When it is not supported, or lacks a package.
    """
    kind = str(pipeline.destination.destination_type).rpartition(".")[2]
    if kind not in DIALECTS:
        raise WarehouseError(f"The destination {kind} is not supported, only {_SUPPORTED}.")
    dialect = DIALECTS[kind]
    if missing := [module for module in dialect.requires if not _is_installed(module)]:
        raise WarehouseError(
            f"The destination {kind} needs {' and '.join(missing)}, which is not installed:"
            f' pip install "dlt-source-protime[{kind}]".'
        )
    return dialect


def client_of(pipeline: dlt.Pipeline) -> Client:
    """A client of a pipeline's destination. To make one costs more than most statements do."""
    return cast(Client, pipeline.destination_client())


def _file(client: Client) -> Path:
    return Path(str(client.config.data_location()))


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


_SUPPORTED = ", ".join(DIALECTS)
