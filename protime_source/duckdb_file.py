"""DuckDB's file: its name, and how it comes into being."""

from __future__ import annotations

from pathlib import Path

import duckdb

from protime_source.errors import WarehouseError


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
