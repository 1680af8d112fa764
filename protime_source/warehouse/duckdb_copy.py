"""A read-only copy of DuckDB's file for readers, who cannot open the file itself during a run."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from protime_source.errors import SettingsError, WarehouseError
from protime_source.warehouse.ledger import TABLE

_MAGIC = slice(8, 12), b"DUCK"
"""Where a DuckDB file says that it is one, and what stands there."""

_LONGEST_PAUSE = timedelta(minutes=1)
"""How long nothing may be written into a copy that is being made."""

_NO_COPY = "there is a DuckDB file already that no run has put there, so it is not replaced"

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_copy(warehouse: Path | None, copy: Path, dataset: str) -> None:
    """Refuses a place where there can be no copy, before anything is loaded.

    Args:
        warehouse: DuckDB's file, which need not exist; `None` when there is none.
        copy: Where the copy is meant to be.
        dataset: Name of the dataset.

    Raises:
        SettingsError: When it is refused.
    """
    if problem := _problem_of_place(warehouse, copy, dataset):
        raise SettingsError(f"publish_to is {copy}, but {problem} Nothing was changed.")


def _problem_of_place(warehouse: Path | None, copy: Path, dataset: str) -> str:
    if warehouse is None:
        return (
            "this pipeline loads through an open connection of duckdb, so there is no file to"
            " copy. Remove publish_to, or name a file as the destination."
        )
    if _is_same(warehouse, copy):
        return "that is the warehouse itself. Name another file."
    if copy.stem.lower() == dataset.lower():
        return (
            f"DuckDB cannot tell a file of that name from the dataset {dataset} in it. Name"
            " another file."
        )
    if copy.is_dir():
        return "that is a folder. Name a file in it, like protime_copy.duckdb."
    with suppress(OSError), copy.open("rb") as found:
        head = found.read(_MAGIC[0].stop)
        if head and head[_MAGIC[0]] != _MAGIC[1]:
            return "that file is there already and no DuckDB file. Name another one."
        with suppress(duckdb.Error):  # it is written: looked at when it is replaced
            if head and not _is_copy(copy, dataset):
                return f"{_NO_COPY}. Name another file, or remove that one."
    return ""


def _is_copy(file: Path, dataset: str) -> bool:
    """Whether a run made the file: nobody may write it, or it has the dataset with its ledger."""
    if not file.stat().st_mode & 0o222:
        return True
    with closing(duckdb.connect(str(file), read_only=True)) as connection:
        query = "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?"
        return bool(connection.execute(query, [dataset, TABLE]).fetchall())


def publish_copy(warehouse: Path, credentials: Any, copy: Path, creator: str, dataset: str) -> None:
    """Replaces the copy at once; whoever has the old one open keeps it.

    Args:
        warehouse: DuckDB's file.
        credentials: dlt's credentials of it, which are used for nothing else.
        copy: Where the copy is; its folder also holds the new one until it is whole.
        creator: The pipeline that writes it, of which one run is active at a time.
        dataset: Name of the dataset.

    Raises:
        WarehouseError: When there is no new copy. The old one is as it was, and so is the file.
    """
    unfinished = _unfinished(copy, creator)  # also what a killed run left
    try:
        _check_replaceable(copy, dataset)
        try:
            with _at_rest(warehouse, credentials):
                _write(warehouse, unfinished)
            _allow_reading(unfinished, copy if copy.exists() else warehouse)
            _wal(copy).unlink(missing_ok=True)  # of somebody who wrote into the old copy
            os.replace(unfinished, copy)
            _sync_folder(copy.parent)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
    except (OSError, duckdb.Error) as error:
        raise WarehouseError(_failure(error, copy)) from error


def _check_replaceable(copy: Path, dataset: str) -> None:
    try:
        is_replaceable = not copy.exists() or _is_copy(copy, dataset)
    except duckdb.Error as error:
        raise OSError(
            errno.EBUSY, "a program has the old one open for writing. Close it"
        ) from error
    if not is_replaceable:
        raise OSError(errno.EEXIST, _NO_COPY)


@contextmanager
def _at_rest(warehouse: Path, credentials: Any) -> Iterator[None]:
    """Opens the file for reading, so that no other program can write it meanwhile.

    Nothing else in this process may have it open: closing the file after it was copied ends the
    locks of the whole process.
    """
    pool = credentials.conn_pool
    if _wal(warehouse).exists():  # opening it for writing moves what is in there into the file
        pool.return_conn(pool.borrow_conn())
    credentials.read_only = True
    connection = pool.borrow_conn()
    try:
        if _wal(warehouse).exists():
            raise OSError(errno.EBUSY, "another program is writing the warehouse")
        yield
    finally:
        pool.return_conn(connection)


def _write(warehouse: Path, unfinished: Path) -> None:
    """Writes a whole copy that only its owner can read yet."""
    unfinished.unlink(missing_ok=True)
    with (
        warehouse.open("rb") as source,
        open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target,
    ):
        shutil.copyfileobj(source, target, 2**20)
        target.flush()
        os.fsync(target.fileno())


def _allow_reading(unfinished: Path, model: Path) -> None:
    """Lets those read it who could read the old copy, and nobody write it."""
    now = time.time()
    os.utime(unfinished, (now, now))  # a file server's clock may differ from the ledger's
    with suppress(PermissionError):  # some network folders have no modes
        unfinished.chmod(model.stat().st_mode & 0o444)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network folders cannot; the file itself is synced
            os.fsync(handle)
    finally:
        os.close(handle)


def published_at(copy: Path) -> datetime | None:
    """Returns when a copy was made (UTC); `None` when there is none."""
    try:
        return datetime.fromtimestamp(copy.stat().st_mtime, UTC)
    except OSError:
        return None


def is_being_made(copy: Path, creator: str, now: datetime) -> bool:
    """Whether a run is writing a new copy at this moment (UTC); what a killed run left is old."""
    written_at = published_at(_unfinished(copy, creator))
    return written_at is not None and now - written_at < _LONGEST_PAUSE


def _unfinished(copy: Path, creator: str) -> Path:
    return copy.with_name(f".{copy.name}.{creator}")


def _failure(error: OSError | duckdb.Error, copy: Path) -> str:
    """What happened, what it means for readers, and what to do."""
    made = published_at(copy)
    readers = f"the old copy, of {made:%Y-%m-%d %H:%M} UTC, stays" if made else "readers have none"
    return (
        f"The copy for readers {copy} could not be made: {_reason(error, copy)} All that was"
        f" loaded is in the warehouse; {readers}. The next run tries again."
    )


def _reason(error: OSError | duckdb.Error, copy: Path) -> str:
    code = error.errno if isinstance(error, OSError) else None
    if isinstance(error, duckdb.ConnectionException):
        return "this Python process has the warehouse open itself. Close that connection first."
    if isinstance(error, duckdb.Error):
        return "another program has the warehouse open for writing. Close it there."
    if code == errno.ENOENT and not copy.parent.is_dir():
        return "its folder does not exist. Create it, or name another file in publish_to."
    if code in _NO_ROOM:
        return "its disk needs room for the old copy and the new one. Make room."
    if code in _NO_RIGHT:
        return f"{copy.parent} cannot be written. Give this user the right to."
    return f"{error.strerror or error}."


def _is_same(warehouse: Path, copy: Path) -> bool:
    if warehouse.exists() and copy.exists():
        return warehouse.samefile(copy)
    return os.path.realpath(warehouse) == os.path.realpath(copy)


def _wal(file: Path) -> Path:
    """Where DuckDB keeps what is not in the file yet."""
    return file.with_name(f"{file.name}.wal")
