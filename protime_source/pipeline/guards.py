"""Uses of a resource, and of dlt, that would load a table wrong."""

from __future__ import annotations

import threading

import dlt
from dlt.common.configuration import with_config
from dlt.extract import DltResource

from protime_source.catalogue.model import Collection
from protime_source.errors import SettingsError

_EXTRACTED = "protime_extracted"
_POOL = "dlt-pool-"
"""What the names of threads begin with in which dlt extracts what is parallelized."""


def check_usage(collection: Collection) -> None:
    """Refuses them, before anything is asked of Protime; called where a resource is extracted.

    Args:
        collection: The collection that is about to be extracted.

    Raises:
        SettingsError: With what to do instead.
    """
    if problem := _problem(collection, dlt.current.resource()):
        raise SettingsError(f"{problem} Nothing of this run was loaded.")
    _extracted().append(collection.table)


@with_config(sections=("load",))
def check_loading(has_trace: bool, raise_on_failed_jobs: bool = True) -> None:
    """Checks that dlt stops at what it cannot load; else the bookmark would run ahead of the rows.

    Args:
        has_trace: Whether dlt tells what it does, as it does unless it is told not to.
        raise_on_failed_jobs: From dlt's configuration.

    Raises:
        SettingsError: When dlt is told to go on, or to be silent.
    """
    untouched = "Nothing was asked of Protime and nothing was changed. Take the setting away."
    if not raise_on_failed_jobs:
        raise SettingsError(
            "dlt's setting load.raise_on_failed_jobs is false: rows that the destination refuses"
            f" would count as loaded, and no later run would bring them. {untouched}"
        )
    if not has_trace:
        raise SettingsError(
            "dlt's setting enable_runtime_trace is false: then nothing tells this source when a"
            f" load has ended, so that its views are not created. {untouched}"
        )


def _problem(collection: Collection, resource: DltResource) -> str:
    table = collection.table
    if threading.current_thread().name.startswith(_POOL):
        return (
            f"{table} is parallelized. Leave that out: collections wait for their answers together"
            " anyway, and dlt's clients are for one thread."
        )
    if table in _extracted():
        return f"{table} is twice in this run: its rows are read once. Name it once."
    if resource.table_name != table:
        return (
            f"{table} cannot be loaded into another table: what is there decides what is merged."
            " Take table_name or the other name away; another dataset can be named."
        )
    if keys := sorted(_keys(resource) - {"id"}):
        return f"{table} cannot have the key {', '.join(keys)}: its rows are told apart by id."
    if fed := sorted(_fed_by(table)):
        return (
            f"{table} cannot feed {', '.join(fed)}: its rows are changes to its own table, and no"
            " complete set. Load it, and read the table."
        )
    return ""


def _extracted() -> list[str]:
    """The tables of the load package that are or were extracted, by any source object."""
    state: dict[str, list[str]] = dlt.current.load_package_state()["state"]  # type: ignore[assignment]
    return state.setdefault(_EXTRACTED, [])


def _keys(resource: DltResource) -> set[str]:
    columns = resource.compute_table_schema()["columns"]
    return {name for name, column in columns.items() if column.get("primary_key")}


def _fed_by(table: str) -> set[str]:
    """The transformers that a resource feeds."""
    resources = dlt.current.source().resources
    pipes = ((name, each._pipe.parent) for name, each in resources.items())
    return {name for name, parent in pipes if parent is not None and parent.name == table}
