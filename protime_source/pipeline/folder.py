"""A pipeline's working folder: what damages and dead runs have left in it."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt

logger = logging.getLogger(__name__)

PACKAGES_KEPT = 10
"""The newest loaded packages whose folders stay when dlt is set to delete what is loaded."""

_PENDING = (("normalize", "extracted"), ("load", "normalized"))
"""Where dlt keeps load packages that are not loaded yet."""

_UNFINISHED = re.compile(r"[0-9a-f]{16}")
"""dlt's names of folders for what is being received."""

_IN_A_PACKAGE = (
    "schema.json",
    "schema_updates.json",
    "load_package_state.json",
    "new_jobs/*",
    "started_jobs/*",
)
"""What dlt reads of these; a package's other files are marks, whatever their names end with."""


def discard_if_damaged(working_dir: str) -> bool:
    """Removes a working folder that dlt cannot read, with a warning.

    Nothing is lost: the destination has the state, and a bookmark is committed with its rows, so
    what was received but not loaded is asked for again.

    Args:
        working_dir: The pipeline's working folder, which need not exist. Nobody else uses it.

    Returns:
        Whether it was damaged.
    """
    path = damaged_file(working_dir)
    if path is None:
        return False
    folder = Path(working_dir)
    if folder.is_dir():
        shutil.rmtree(folder)
    else:
        folder.unlink()
    logger.warning(
        "dlt's working folder was damaged and is discarded, because %s cannot be read. Nothing is"
        " lost: what was not loaded yet is asked for again. A DuckDB file that is not named in the"
        " configuration is looked for in %s from now on.",
        path,
        os.getcwd(),
    )
    return True


def remove_unfinished(working_dir: str) -> None:
    """Removes what runs that failed or were killed have received in part.

    dlt leaves a folder for each, with the rows of one that was killed. Nothing can go on from it: a
    run asks for all of it again.

    Args:
        working_dir: The pipeline's working folder. Nobody else uses it.
    """
    folder = Path(working_dir) / "normalize"
    for path in folder.iterdir() if folder.is_dir() else ():
        if _UNFINISHED.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def advice_on_damage(working_dir: str) -> str:
    """Returns what is damaged in a working folder and what to do; empty when nothing is.

    Args:
        working_dir: The pipeline's working folder.
    """
    path = damaged_file(working_dir)
    if path is None:
        return ""
    return (
        f"dlt's working folder is damaged: {path} cannot be read. Nothing was changed. Delete the"
        f" folder {working_dir} and run again: nothing is lost, because the destination has the"
        " state."
    )


def damaged_file(working_dir: str) -> Path | None:
    """Returns the first file that dlt needs and cannot read; `None` when all is well.

    Args:
        working_dir: The pipeline's working folder, which need not exist.
    """
    folder = Path(working_dir)
    if folder.exists() and not folder.is_dir():
        return folder
    if not (folder / "state.json").exists():
        return None  # dlt empties such a folder
    return next((path for path in _needed(folder) if not _is_readable(path)), None)


def _needed(folder: Path) -> Iterator[Path]:
    yield folder / "state.json"
    names = _schema_names(_json(folder / "state.json"))
    yield from (folder / "schemas" / f"{name}.schema.json" for name in sorted(names))
    for storage, packages in _PENDING:
        version = folder / storage / ".version"
        if version.exists():
            yield version
        for pattern in _IN_A_PACKAGE:
            yield from (folder / storage / packages).glob(f"*/{pattern}")


def _is_readable(path: Path) -> bool:
    """Whether a file's content is whole; one that may not be opened is an error, not damage."""
    try:
        match path:
            case Path(name="state.json"):
                return "_state_engine_version" in (state := _json(path)) and all(
                    isinstance(name, str) for name in _schema_names(state)
                )
            case Path(suffix=".json"):
                json.loads(path.read_bytes())
            case Path(suffix=".parquet"):
                from pyarrow import parquet  # most runs find no such file

                parquet.read_metadata(path)
            case Path(suffix=".gz"):
                gzip.decompress(path.read_bytes())
            case Path(name=".version"):
                return re.match(r"\d+\.\d+\.\d+", path.read_text()) is not None
    except (ValueError, TypeError, RecursionError, EOFError, zlib.error, FileNotFoundError):
        return False
    except OSError as error:
        if error.errno is not None:
            raise
        return False  # gzip's and Arrow's way to say that a file is broken
    return True


def _schema_names(state: dict[str, Any]) -> set[str]:
    """The names of the schemas that a working folder's state tells of."""
    return {*(state.get("schema_names") or ()), state.get("default_schema_name")} - {None}


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no object")
    return found


def forget_loaded_packages(pipeline: dlt.Pipeline) -> None:
    """Deletes the folders of old loaded packages, if dlt is set to delete what is loaded.

    dlt deletes only the rows in them, and leaves a schema and eight folders for each run.

    Args:
        pipeline: The pipeline that loaded them.
    """
    storage = pipeline._get_load_storage()
    if storage.config.delete_completed_jobs:
        for load_id in storage.list_loaded_packages()[:-PACKAGES_KEPT]:
            if not storage.list_failed_jobs_in_loaded_package(load_id):
                storage.delete_loaded_package(load_id)
