"""DuckDB: its SQL, its errors, and how its file is created and kept open."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from dlt.destinations.impl.duckdb.configuration import DuckDbConnectionPool
from dlt.destinations.sql_client import SqlClientBase

from protime_source.errors import SettingsError, WarehouseError
from protime_source.warehouse.dialect import Client, Dialect, json_path

logger = logging.getLogger(__name__)

_FLUSH_SETTINGS = ("allocator_flush_threshold", "allocator_bulk_deallocation_flush_threshold")

_LOCKED = "Could not set lock on file"

_PAUSE_SECONDS = 0.2
"""Between two attempts to open a file that another program has open."""

_SERVICES = ("md:", "motherduck:", "ducklake:")
"""DuckDB connects to these by names that begin so."""

_COMMENTS = """
    SELECT 'COLUMN', table_name, column_name, comment FROM duckdb_columns()
        WHERE database_name = current_database() AND schema_name = $1
    UNION ALL SELECT 'TABLE', table_name, '', comment FROM duckdb_tables()
        WHERE database_name = current_database() AND schema_name = $1
    UNION ALL SELECT 'VIEW', view_name, '', comment FROM duckdb_views()
        WHERE database_name = current_database() AND schema_name = $1
"""

_DEFINITIONS = """
    SELECT view_name, sql FROM duckdb_views()
        WHERE database_name = current_database() AND schema_name = $1
    UNION ALL SELECT table_name, '' FROM duckdb_tables()
        WHERE database_name = current_database() AND schema_name = $1
"""

_NOT_WRITABLE = (
    "The DuckDB file cannot be opened, or not for writing. Check its path and its permissions."
)


class DuckDBSql(Dialect):
    """DuckDB's SQL, wherever the tables lie."""

    sql = "duckdb"
    spares_merge_filter = True
    requires = ("duckdb",)
    drivers = ("duckdb",)
    definitions_query = _DEFINITIONS
    comments_query = _COMMENTS

    def row_key(self, row: str) -> str:
        """Returns the row's number, which differs even between equal rows."""
        return f"{row}.rowid"

    def read_arrow(self, client: SqlClientBase[Any], query: str, schema: pa.Schema) -> pa.Table:
        """Returns the result of a query; DuckDB makes Arrow itself."""
        found = client.native_connection.execute(query).to_arrow_table()
        return found.rename_columns(schema.names).cast(schema)

    def _entries(self, column: str) -> str:
        return f"LATERAL (SELECT UNNEST(TRY_CAST({column} AS JSON[])) AS entry) l"

    def _entry_value(self, path: str, kind: str) -> str:
        return f"TRY_CAST(l.entry ->> '{json_path(path)}' AS {kind})"


class DuckDB(DuckDBSql):
    """DuckDB, in a file."""

    name = "duckdb"
    is_file = True
    error_advice = (
        (
            _LOCKED,
            "The DuckDB file is open in another program, often a notebook, so it could not be"
            " opened here. Close it there, then run again.",
        ),
        (
            r"Cannot open file|read-only mode|Is a directory",
            _NOT_WRITABLE,
        ),
        (
            r"not a valid DuckDB database file",
            "The file is broken or no DuckDB file, so it could not be opened. Check"
            " DESTINATION__DUCKDB__CREDENTIALS. If the file is the right one, move it away and run"
            " again: everything is loaded again, except what was deleted in Protime before.",
        ),
        (
            r"Ambiguous reference to catalog or schema",
            "DuckDB cannot hold a dataset in a file of the same name. Name another file in"
            " DESTINATION__DUCKDB__CREDENTIALS.",
        ),
    )

    def check(self, client: Client) -> None:
        """Refuses what is no file, a file with the dataset's name, and one that is only read."""
        credentials: Any = client.config.credentials
        if _is_elsewhere(credentials):
            raise SettingsError(
                "The DuckDB credentials name MotherDuck, DuckLake or another server, which dlt"
                " would take for the name of a file. Nothing was asked of Protime."
                " Write the path of a file, or give an open connection of duckdb."
            )
        if credentials.read_only:
            raise SettingsError(
                "The DuckDB credentials say read_only, so this run could load nothing. Nothing was"
                " asked of Protime. Remove read_only."
            )
        if file := _file(client):
            check_file_name(file, client.sql_client.dataset_name)

    def prepare(self, client: Client, pipeline_name: str) -> None:
        """Creates the file, unless the connection is somebody else's."""
        if file := _file(client):
            create_file(file, pipeline_name)

    def kept_open(self, client: Client) -> AbstractContextManager[None]:
        """Returns a context in which the file stays open, if it exists; enter it to wait for it.

        Others may read while Protime is asked, so no run is in it then. Of two runs that overlap,
        the later one throws away what it received.
        """
        credentials: Any = client.config.credentials
        file = _file(client)
        is_missing = file is not None and not file.exists()
        return nullcontext() if is_missing else _file_kept_open(credentials.conn_pool)

    def patient(self, client: Client, patience_seconds: float) -> None:
        """Makes a client wait for the file while another program has it open."""
        credentials: Any = client.config.credentials
        if _file(client) is not None:
            credentials.conn_pool = _PatientPool(credentials, patience_seconds)

    def location(self, client: Client) -> str:
        """Returns the file, or that there is none."""
        if _file(client) is None:
            return f"DuckDB in memory, dataset {client.sql_client.dataset_name}"
        return super().location(client)

    def reading(self, client: Client) -> AbstractContextManager[None]:
        """Returns a context in which the file is open for reading, beside others who read it."""
        file = _file(client)
        credentials: Any = client.config.credentials
        return _file_only_read(credentials) if file and file.exists() else nullcontext()

    def probe(self, client: Client) -> None:
        """Refuses a file that cannot be opened or written, or that could not be created."""
        if (file := _file(client)) is None:
            return
        if not file.exists():
            _check_folder(file)
        if not os.access(file if file.exists() else file.parent, os.W_OK):
            raise WarehouseError(f"{_NOT_WRITABLE} It is {file}.")
        with self.reading(client):
            if file.exists():
                super().probe(client)

    def local_file(self, client: Client) -> Path | None:
        """Returns the file, which need not exist; `None` for a connection that was given."""
        file = _file(client)
        return file and file.absolute()

    def has_dataset(self, client: Client) -> bool:
        """Returns whether there is the dataset; a missing file would be created by opening it."""
        file = _file(client)
        return (file is None or file.exists()) and super().has_dataset(client)

    def named_obstacle(self, error_text: str) -> str:
        """Returns the file; for a file that is being created, the name that it will have.

        A path before `, line` is a Python file in a stack trace.
        """
        pattern = r'"(/[^"]*/)(?:\.([^"/]+)\.[^."/]+|([^."/][^"/]*))"(?!, line)'
        found = re.search(pattern, error_text)
        return f"{found[1]}{found[2] or found[3]}" if found else ""


def check_file_name(path: Path, dataset: str) -> None:
    """Refuses a file whose name DuckDB could not tell from the dataset in it.

    DuckDB names the database after its file. In a file `protime.duckdb` with a dataset `protime`,
    `protime.assignments` has two meanings, and DuckDB refuses every statement.

    Args:
        path: DuckDB's file.
        dataset: Name of the dataset.

    Raises:
        SettingsError: When file and dataset have the same name.
    """
    if path.stem.lower() == dataset.lower():
        raise SettingsError(
            f"DuckDB cannot hold a dataset {dataset} in a file {path.name}: the two"
            " names must differ. Nothing was changed. Name another file in"
            " DESTINATION__DUCKDB__CREDENTIALS or under [destination.duckdb] in .dlt/secrets.toml."
        )


def create_file(path: Path, creator: str) -> None:
    """Creates a missing file atomically.

    A kill while DuckDB creates its file leaves one that DuckDB refuses from then on.

    Args:
        path: DuckDB's file.
        creator: The pipeline that creates it, of which one run is active at a time.

    Raises:
        WarehouseError: When its folder does not exist.
    """
    unfinished = path.with_name(f".{path.name}.{creator}")
    _remove(unfinished)  # left by a run that was killed here
    if path.exists():
        return
    _check_folder(path)
    try:
        duckdb.connect(str(unfinished)).close()
        _rename_unless_exists(unfinished, path)
    finally:
        _remove(unfinished)


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise WarehouseError(
            f"The DuckDB file {path} cannot be created, because its folder does not exist. Without"
            " a setting, the file is in the folder of the pipeline's first run. Name another file"
            " in DESTINATION__DUCKDB__CREDENTIALS."
        )


@contextmanager
def _file_only_read(credentials: Any) -> Iterator[None]:
    """Opens the file for reading, which neither waits for other readers nor changes it.

    When this process has the file open for writing, DuckDB opens it only in the same way.
    """
    pool: DuckDbConnectionPool = credentials.conn_pool
    credentials.read_only = True
    try:
        connection = pool.borrow_conn()
    except duckdb.ConnectionException:
        credentials.read_only = False
        yield
        return
    try:
        yield
    finally:
        pool.return_conn(connection)


@contextmanager
def _file_kept_open(pool: DuckDbConnectionPool) -> Iterator[None]:
    """Keeps the file open, because to open it takes 20 ms, and each last close a checkpoint."""
    connection = pool.borrow_conn()
    try:
        with _memory_released_at_once(connection):
            yield
    finally:
        pool.return_conn(connection)


class _PatientPool(DuckDbConnectionPool):
    """Waits for a file that another program has open.

    Args:
        credentials: dlt's credentials.
        patience_seconds: How long.
    """

    def __init__(self, credentials: Any, patience_seconds: float) -> None:
        super().__init__(credentials)
        self._patience_seconds = patience_seconds

    def borrow_conn(self, *args: Any, **kwargs: Any) -> duckdb.DuckDBPyConnection:
        """Returns a connection, once no other program has the file open."""
        give_up_at, is_said = time.monotonic() + self._patience_seconds, False
        while True:
            try:
                return super().borrow_conn(*args, **kwargs)
            except duckdb.IOException as error:
                left = give_up_at - time.monotonic()
                if left <= 0 or _LOCKED not in str(error):
                    raise
                if not is_said:
                    logger.warning(
                        "waiting up to %.0f s for the DuckDB file %s, which another program has"
                        " open: often a notebook, or another run. Close it there.",
                        left,
                        self.credentials._conn_str(),
                    )
                    is_said = True
                time.sleep(min(left, _PAUSE_SECONDS))


@contextmanager
def _memory_released_at_once(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Makes DuckDB release memory at once, as closing would: 90 MB after a large copy."""
    current = ", ".join(f"current_setting('{name}')" for name in _FLUSH_SETTINGS)
    before = connection.execute(f"SELECT {current}").fetchall()[0]
    _set(connection, dict.fromkeys(_FLUSH_SETTINGS, "1MB"))
    try:
        yield
    finally:
        with suppress(duckdb.Error):  # a full disk invalidates the database and its settings
            _set(connection, dict(zip(_FLUSH_SETTINGS, before, strict=True)))


def _set(connection: duckdb.DuckDBPyConnection, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        connection.execute(f"SET GLOBAL {name} = '{value}'")


def _remove(path: Path) -> None:
    """Checks first, because a read-only disk refuses to remove even a missing file."""
    if path.exists():
        path.unlink()


def _rename_unless_exists(unfinished: Path, path: Path) -> None:
    """Gives a finished file its name, unless another process has created that file since."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        return
    except OSError:  # no hard links on exFAT and on some network folders
        unfinished.rename(path)


def _file(client: Client) -> Path | None:
    """The file; `None` for a database in memory, on a connection that the caller opened."""
    location = str(client.config.data_location())
    return None if location.startswith(":external:") else Path(location)


def _is_elsewhere(credentials: Any) -> bool:
    """Whether dlt makes a path of something that DuckDB itself would not open as a file."""
    name = Path(str(credentials.database)).name
    return credentials.drivername != "duckdb" or name.startswith(_SERVICES)
