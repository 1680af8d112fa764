"""DuckLake: DuckDB's SQL on Parquet files, which a catalog in Postgres or SQLite lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlt.destinations.sql_client import SqlClientBase
from filelock import FileLock, Timeout

from protime_source.errors import AlreadyRunningError, SettingsError, WarehouseError
from protime_source.warehouse.dialect import Client
from protime_source.warehouse.duckdb import DuckDBSql

if TYPE_CHECKING:
    from protime_source.warehouse.ducklake_catalog import Catalog

_CATALOG = "[destination.ducklake.credentials] catalog"

_FORMS = (
    "sqlite:////<path of a file> for runs on one machine, or"
    " postgresql://<user>:<password>@<host>:5432/<database>"
)

# DuckLake refuses comments on a view's columns.
_COMMENTS = """
    SELECT 'COLUMN', c.table_name, column_name, c.comment
        FROM duckdb_columns() c JOIN duckdb_tables() t
            USING (database_name, schema_name, table_name)
        WHERE database_name = current_database() AND schema_name = $1
    UNION ALL SELECT 'TABLE', table_name, '', comment FROM duckdb_tables()
        WHERE database_name = current_database() AND schema_name = $1
    UNION ALL SELECT 'VIEW', view_name, '', comment FROM duckdb_views()
        WHERE database_name = current_database() AND schema_name = $1
"""


class DuckLake(DuckDBSql):
    """A lake. A statement is one snapshot; snapshots are made one after the other."""

    name = "ducklake"
    comments_query = _COMMENTS
    error_advice = (
        (
            r'(?:download|install) extension "(\w+)"|Extension "[^"]*/(\w+)\.duckdb_extension" not',
            "DuckDB lacks its extension \\1\\2, and could not download it. Let this machine reach"
            " extensions.duckdb.org once, as the user that runs this, or install it from a file.",
        ),
        (
            r"DATA_PATH parameter \S+ does not match existing data path in the catalog (\S+)\.",
            "This DuckLake keeps its files in \\1, and the settings name another place. Nothing was"
            " changed. Name that one in [destination.ducklake.credentials] storage.",
        ),
        (
            r"(?s)DuckLake.*(?:[Cc]onflict|database is locked)",
            "Another program has changed the lake while this run was writing to it, so DuckLake"
            " refused a statement of this run. No row is half written. Run again, and compact or"
            " expire files when no run is at work.",
        ),
        (
            r'(?s)DuckLake.*Postgres at "[^"]*": (connection to server[^\n]*[^\n.])',
            f"The catalog of the DuckLake cannot be opened: \\1. Check {_CATALOG}.",
        ),
        (
            r"(?s)DuckLake.*permission denied",
            "The Postgres user may not create or change the catalog of the DuckLake, so this run"
            " stopped. Ask an administrator to run GRANT CREATE ON DATABASE <database> TO <user>,"
            " or for the rights on the catalog's schema and tables.",
        ),
        (
            r"(?m)(Failed to [^\n]*DuckLake[^\n]*[^\n.])",
            f"The DuckLake cannot be used: \\1. Check {_CATALOG} and storage.",
        ),
    )

    def check_credentials(self, client: Client) -> None:
        """Refuses a catalog that cannot be shared by several connections, or was never tried."""
        credentials: Any = client.config.credentials
        kind = credentials.catalog.drivername
        if kind == "duckdb":
            raise SettingsError(
                f"{_CATALOG} is a DuckDB file, which one connection at a time can have open, and a"
                f" run needs several. Nothing was changed. Write {_FORMS}."
            )
        if kind not in ("sqlite", "postgres", "postgresql"):
            raise SettingsError(
                f"{_CATALOG} begins with {kind}://, which is not supported. Nothing was changed."
                f" Write {_FORMS}."
            )
        if kind != "sqlite" and find_spec("psycopg2") is None:
            raise WarehouseError(
                "A DuckLake with its catalog in Postgres needs psycopg2, which is not installed:"
                ' pip install "dlt-source-protime[ducklake]".'
            )

    def check(self, client: Client) -> None:
        """Refuses a lake that is called like the dataset, and a catalog that cannot be opened."""
        credentials: Any = client.config.credentials
        dataset = client.sql_client.dataset_name
        if credentials.ducklake_name.lower() == dataset.lower():
            raise SettingsError(
                f"DuckDB cannot tell a DuckLake {credentials.ducklake_name} from the dataset"
                f" {dataset} in it: the two names must differ. Nothing was changed. Set"
                " ducklake_name in [destination.ducklake.credentials]."
            )
        file = _catalog_file(client)
        if file is None:
            with _catalog(client):
                return
        if not file.parent.is_dir():
            raise WarehouseError(
                f"The catalog {file} cannot be created, because its folder does not exist. Name"
                f" another file in {_CATALOG}."
            )

    def kept_open(self, client: Client) -> AbstractContextManager[None]:
        """Returns a context in which all statements of a client share one connection."""
        return _connection_kept(client.sql_client)

    def one_run(self, client: Client, holder: str) -> AbstractContextManager[None]:
        """Returns a context that holds a lock where the catalog is."""
        if file := _catalog_file(client):
            return _file_locked(file, client.sql_client.dataset_name)
        return _catalog(client).lock()

    def location(self, client: Client) -> str:
        """Returns the catalog, without user and password."""
        return f"DuckLake {super().location(client)}"

    def probe(self, client: Client) -> None:
        """Refuses a lake that cannot be opened; opening one that is missing would create it."""
        self.check(client)
        if _exists(client):
            super().probe(client)

    def has_dataset(self, client: Client) -> bool:
        """Returns whether there is the dataset; a missing lake would be created by opening it."""
        return _exists(client) and super().has_dataset(client)


def _catalog_file(client: Client) -> Path | None:
    """The file of a catalog in SQLite."""
    credentials: Any = client.config.credentials
    is_file = credentials.catalog.drivername == "sqlite"
    return Path(credentials.catalog.database).absolute() if is_file else None


def _catalog(client: Client) -> Catalog:
    """A catalog in Postgres."""
    # Imported here because it needs psycopg2, which a catalog in SQLite does not.
    from protime_source.warehouse.ducklake_catalog import Catalog

    return Catalog(client)


def _exists(client: Client) -> bool:
    """Whether there is a lake."""
    if file := _catalog_file(client):
        return file.exists()
    return _catalog(client).exists()


@contextmanager
def _connection_kept(sql: SqlClientBase[Any]) -> Iterator[None]:
    """Keeps a connection: opening one takes half a second, in which DuckDB loads extensions."""
    if not sql.owns_connection:  # it is kept already
        yield
        return
    with sql:
        sql.owns_connection = False  # so that dlt neither opens nor closes it
        try:
            yield
        finally:
            sql.owns_connection = True


@contextmanager
def _file_locked(catalog: Path, dataset: str) -> Iterator[None]:
    """Holds a lock beside a catalog in SQLite, which ends with its process."""
    lock = FileLock(catalog.with_name(f".{catalog.name}.{dataset}.lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise AlreadyRunningError(
            f"Another run loads into the dataset {dataset}, from another working folder. This one"
            " did nothing. It is not needed, or start it again when the other has ended."
        ) from None
    try:
        yield
    finally:
        lock.release()
