"""Uses of a resource, and settings of dlt, that would load a table wrong: refused before a request.

All are checked where a resource is extracted.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection as Names
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import dlt
from dlt.common.configuration import with_config
from dlt.common.data_writers.writers import count_rows_in_items
from dlt.common.schema.typing import TTableSchema
from dlt.extract import DltResource, Incremental
from dlt.extract.incremental import IncrementalResourceWrapper
from dlt.extract.items_transform import (
    FilterItem,
    LimitItem,
    MapItem,
    MetricsItem,
    ValidateItem,
    YieldMapItem,
)

from protime_source.catalogue import COLLECTIONS
from protime_source.errors import OtherTenantError, SettingsError
from protime_source.pipeline.states import NAME
from protime_source.settings import Settings
from protime_source.sync.bookmark import Bookmark

logger = logging.getLogger(__name__)

_EXTRACTED = "protime_extracted"
"""The key of tables that are or were extracted into a load package."""

_CHECKED = "protime_checked"
"""The key of tables whose resources are checked: dlt takes 8 ms to put a schema together."""

_POOL = "dlt-pool-"
"""dlt extracts what is parallelized in threads whose names begin with this."""

_TENANT = "tenant"

_ROW_DROPPING_STEPS: dict[type, str] = {
    FilterItem: "add_filter",
    LimitItem: "add_limit",
    YieldMapItem: "add_yield_map",
    Incremental: "an incremental hint",
    IncrementalResourceWrapper: "an incremental hint",
    ValidateItem: "a model that validates",
}
"""dlt's steps of a resource that can drop rows, and what adds them."""

_HARMLESS_STEPS = (MapItem, MetricsItem)


def check_usage(table_name: str) -> None:
    """Refuses uses of the resource that is about to be extracted.

    Args:
        table_name: The table that it is meant for.

    Raises:
        SettingsError: With what to do instead.
    """
    extracted, checked = _tables(_EXTRACTED), _tables(_CHECKED)
    resources = {table_name: dlt.current.resource()}
    if not extracted:
        # The first one checks all, so that nothing is asked of Protime before.
        selected = dlt.current.source().resources.selected
        resources = {n: r for n, r in selected.items() if n in COLLECTIONS} | resources
    problems = [_misuse(table_name, extracted)]
    problems += [_wrong_definition(n, r) for n, r in resources.items() if n not in checked]
    if problem := next(filter(None, problems), ""):
        raise SettingsError(f"{problem} Nothing of this run was loaded.")
    check_schema_name(dlt.current.source_schema().name)
    extracted.append(table_name)
    checked.extend(resources)
    pipe: Any = dlt.current.pipe()
    pipe.steps[:] = [
        _CheckedMap(table_name, s) if isinstance(s, MapItem) else s for s in pipe.steps
    ]


class _CheckedMap(MapItem):
    """Somebody's `add_map`, which must return all rows that it is given.

    The bookmark moves past the rows of a batch, so that no later run would bring what is missing.

    Args:
        table_name: The table that the rows are meant for.
        step: The step to check.
    """

    def __init__(self, table_name: str, step: MapItem) -> None:
        super().__init__(step._f if step._f is not None else step._f_meta)
        self._table_name = table_name

    def __call__(self, item: Any, meta: Any = None) -> Any:
        """Returns what the map returns.

        Raises:
            SettingsError: When it does not return as many rows as it was given.
        """
        given = _count_rows(item)
        result = super().__call__(item, meta)
        if _count_rows(result) != given:
            raise SettingsError(
                f"{self._table_name}: a function given to add_map returned"
                f" {_described(result)} for {given} rows, so that rows would be lost. Nothing of"
                " this run was loaded. Return the whole table, and filter in the warehouse."
            )
        return result


def check_schema_name(name: str) -> None:
    """Refuses a renamed source or another schema.

    Args:
        name: The name of the schema that the rows would belong to.

    Raises:
        SettingsError: When it is not the source's own.
    """
    if name != NAME:
        raise SettingsError(
            f"The schema of this source is called {NAME}, not {name}: by that name its views and"
            " bookmarks are found. Nothing of this run was loaded. Leave out the other name or"
            f" schema, and pass a source, {NAME}(), rather than its resources. For a second tenant"
            f' use another section, {NAME}.with_args(section="beta"), and another dataset.'
        )


@with_config(sections=("load",))
def check_dlt_settings(enable_runtime_trace: bool, raise_on_failed_jobs: bool = True) -> None:
    """Refuses settings of dlt with which the bookmark would run ahead of the rows.

    Args:
        enable_runtime_trace: dlt's setting (default: true).
        raise_on_failed_jobs: From dlt's configuration.

    Raises:
        SettingsError: With the setting to remove.
    """
    untouched = "Nothing was asked of Protime and nothing was changed. Remove the setting."
    if not raise_on_failed_jobs:
        raise SettingsError(
            "dlt's setting load.raise_on_failed_jobs is false: rows that the destination refuses"
            f" would count as loaded, and no later run would bring them. {untouched}"
        )
    if not enable_runtime_trace:
        raise SettingsError(
            "dlt's setting enable_runtime_trace is false: then this source does not learn when a"
            f" load has ended, and cannot create its views. {untouched}"
        )


def check_tenant(settings: Settings, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a dataset that holds the rows of another tenant, or of another API address.

    Args:
        settings: The tenant to load.
        states: The states of the source's resources in this dataset, by table.

    Raises:
        OtherTenantError: Naming both tenants.
    """
    present = tenant_of(settings)
    for table_name, state in states.items():
        if state.get(_TENANT, present) != present:
            raise OtherTenantError(
                f"The dataset holds rows of another tenant: {table_name} was loaded from"
                f" {state[_TENANT]}, and this run is for {present}. Nothing was read or changed."
                " Name another dataset or database for this tenant. To replace the rows, drop them"
                " first: `protime reset all`."
            )


def check_other_pipelines(
    settings: Settings, states: Mapping[str, Mapping[str, Any]], location: str
) -> None:
    """Refuses a dataset that another pipeline loads from another tenant.

    Args:
        settings: The tenant to load.
        states: The states of the other pipelines of the dataset, by pipeline name.
        location: Where the dataset is, in words.

    Raises:
        OtherTenantError: Naming both tenants and the pipeline.
    """
    present, alive = tenant_of(settings), set()
    for pipeline_name, table_name, state in _loaded_tables(states):
        if state[_TENANT] != present:
            raise OtherTenantError(
                f"The dataset holds rows of another tenant: the pipeline {pipeline_name} loaded"
                f" {table_name} from {state[_TENANT]}, and this run is for {present}. Nothing was"
                " read or changed. Name another dataset or database for this tenant. To replace the"
                " rows, drop them first: `protime reset all`."
            )
        bookmark = Bookmark.read(dict(state))
        if bookmark is not None and bookmark.expires > datetime.now(UTC):
            alive.add(pipeline_name)
    if alive:
        _warn_of_other_pipelines(location, ", ".join(sorted(alive)))


@cache
def _warn_of_other_pipelines(location: str, pipeline_names: str) -> None:
    """Once for each dataset, and not for each load package."""
    logger.warning(
        "%s is also loaded by another pipeline of the same tenant: %s. Each follows a delta of its"
        " own, and with one client Protime keeps only one for a collection, so that they force each"
        " other into full loads. Load a dataset with one pipeline.",
        location,
        pipeline_names,
    )


def _loaded_tables(
    states: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each table that has a tenant: the pipeline's name, its own name and its resource's state."""
    for pipeline_name, state in states.items():
        for source in state.get("sources", {}).values():
            for table_name, resource in source.get("resources", {}).items():
                if table_name in COLLECTIONS and _TENANT in resource:
                    yield pipeline_name, table_name, resource


def write_tenant(settings: Settings, state: dict[str, Any]) -> None:
    """Notes in a resource's state whose rows its table holds."""
    state[_TENANT] = tenant_of(settings)


def tenant_of(settings: Settings) -> str:
    """Returns the tenant and its API address, as they are noted and shown."""
    return f"{settings.tenant} at {settings.api_origin}"


def _misuse(table_name: str, extracted: Names[str]) -> str:
    """What is wrong with how a resource is extracted, in words."""
    if threading.current_thread().name.startswith(_POOL):
        return (
            f"{table_name} is parallelized. Leave that out: collections wait for their answers"
            " together anyway, and dlt's clients are for one thread."
        )
    return f"{table_name} is selected twice. Select it once." if table_name in extracted else ""


def _wrong_definition(table_name: str, resource: DltResource) -> str:
    """What is wrong with a resource, in words."""
    if resource.table_name != table_name:
        return (
            f"{table_name} cannot be loaded into another table, because the stored rows decide what"
            " is merged. Remove table_name or the other name, or name another dataset."
        )
    table = resource.compute_table_schema()
    if keys := sorted(_keys(table) - {"id"}):
        return f"{table_name} cannot have the key {', '.join(keys)}: its key is id."
    if fed := sorted(_fed_by(table_name)):
        return (
            f"{table_name} cannot feed {', '.join(fed)}: its rows are changes to its own table, and"
            " not a complete set. Load it, and read the table."
        )
    if added := sorted(_row_dropping_steps(resource)):
        return (
            f"{table_name} cannot have {', '.join(added)}: rows that it drops are never brought"
            " again, because the bookmark moves past them. Leave it out, and filter in the"
            " warehouse."
        )
    if contract := _row_dropping_contract(table_name, table):
        return (
            f"{table_name} cannot have the schema contract {contract}: what it discards is never"
            " brought again, because the bookmark moves past it. Use evolve, or freeze, which fails"
            " the run instead."
        )
    return ""


def _tables(key: str) -> list[str]:
    """Tables of the load package, by any source object; more can be added."""
    state: dict[str, list[str]] = dlt.current.load_package_state()["state"]  # type: ignore[assignment]
    return state.setdefault(key, [])


def _keys(table: TTableSchema) -> set[str]:
    return {name for name, column in table["columns"].items() if column.get("primary_key")}


def _row_dropping_steps(resource: DltResource) -> set[str]:
    """What was added to a resource and may drop rows, in words."""
    # A transformer that it feeds is a step too, and is named before.
    added = [step for step in resource._pipe.steps if step is not resource._pipe.gen]
    return {
        next((text for kind, text in _ROW_DROPPING_STEPS.items() if isinstance(step, kind)), "")
        or f"the step {getattr(step, '__name__', type(step).__name__)}"
        for step in added
        if type(step) not in _HARMLESS_STEPS
    }


def _row_dropping_contract(table_name: str, table: TTableSchema) -> str:
    """The part of a resource's schema contract that drops rows or values; "" when none does."""
    schema = dlt.current.source_schema()
    contract: Mapping[str, Any] = schema.resolve_contract_settings_for_table(table_name, table)
    dropping = {k: v for k, v in contract.items() if str(v).startswith("discard_")}
    return ", ".join(f"{entity}={mode}" for entity, mode in sorted(dropping.items()))


def _count_rows(items: Any) -> int | None:
    """How many rows dlt would write; None for what is no table: dlt might write none of it."""
    is_counted = isinstance(items, list) or hasattr(items, "shape")
    return count_rows_in_items(items) if is_counted else None


def _described(result: Any) -> str:
    count = _count_rows(result)
    return "nothing" if result is None else type(result).__name__ if count is None else str(count)


def _fed_by(table_name: str) -> set[str]:
    """The transformers that a resource feeds."""
    resources = dlt.current.source().resources
    pipes = ((name, each._pipe.parent) for name, each in resources.items())
    return {name for name, parent in pipes if parent is not None and parent.name == table_name}
