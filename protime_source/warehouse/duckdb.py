"""DuckDB's file: its name, how it comes into being, and how it stays open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import duckdb
from dlt.destinations.impl.duckdb.configuration import DuckDbConnectionPool

from protime_source.errors import WarehouseError

_FLUSHES = ("allocator_flush_threshold", "allocator_bulk_deallocation_flush_threshold")


def check_name(path: Path, dataset: str) -> None:
    """Refuses a file that DuckDB could not tell from the dataset in it.

    Args:
        path: DuckDB's file.
        dataset: Name of the dataset.

    Raises:
        WarehouseError: When file and dataset share their name: DuckDB calls the database after
            its file, so that `protime.assignments` could mean two things and it refuses all SQL.
    """
    if path.stem.lower() == dataset.lower():
        raise WarehouseError(
            f"DuckDB cannot hold a dataset {dataset} in a file {path.name}: the two"
            " names must differ. Name another file in"
            " DESTINATION__DUCKDB__CREDENTIALS or under [destination.duckdb] in .dlt/secrets.toml."
        )


def create(path: Path, creator: str) -> None:
    """Creates a file that is not there yet, so that it appears whole or not at all.

    A kill while DuckDB creates its file leaves one that it refuses ever after.

    Args:
        path: DuckDB's file.
        creator: The pipeline that wants it, which runs once at a time.

    Raises:
        WarehouseError: When it cannot be there.
    """
    unfinished = path.with_name(f".{path.name}.{creator}")
    _remove(unfinished)  # left by a run that was killed here
    if path.exists():
        return
    if not path.parent.is_dir():
        raise WarehouseError(
            f"The DuckDB file {path} cannot be created: there is no such folder. When no file is"
            " named, it is in the folder of the pipeline's first run. Name one in"
            " DESTINATION__DUCKDB__CREDENTIALS."
        )
    try:
        duckdb.connect(str(unfinished)).close()
        _name(unfinished, path)
    finally:
        _remove(unfinished)


@contextmanager
def kept_open(pool: DuckDbConnectionPool) -> Iterator[None]:
    """Keeps the file open: who closes it last writes a checkpoint, and a load closes it often.

    When it cannot be opened, the load says so itself.

    Args:
        pool: dlt's connections to it.
    """
    with ExitStack() as stack:
        with suppress(duckdb.Error):
            connection = pool.borrow_conn()
            stack.callback(pool.return_conn, connection)
            stack.enter_context(_frugal(connection))
        yield


@contextmanager
def _frugal(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """DuckDB gives memory back at once, as it does when it is closed: 90 MB after a large copy."""
    current = ", ".join(f"current_setting('{name}')" for name in _FLUSHES)
    before = connection.execute(f"SELECT {current}").fetchall()[0]
    _set(connection, dict.fromkeys(_FLUSHES, "1MB"))
    try:
        yield
    finally:
        with suppress(duckdb.Error):  # a full disk ends a database: it has no settings any more
            _set(connection, dict(zip(_FLUSHES, before, strict=True)))


def _set(connection: duckdb.DuckDBPyConnection, settings: Mapping[str, str]) -> None:
    for name, value in settings.items():
        connection.execute(f"SET GLOBAL {name} = '{value}'")


def _remove(path: Path) -> None:
    """Asks first: a disk that cannot be written refuses to remove even what is not there."""
    if path.exists():
        path.unlink()


def _name(unfinished: Path, path: Path) -> None:
    """Gives a finished file its name, but not that of a file that has come into being since."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        return
    except OSError:  # no hard links there: on exFAT, and on some network folders
        unfinished.rename(path)
