"""Load packages that are thrown away, because what they hold must be asked for again."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dlt
from dlt.common.pipeline import TPipelineState
from dlt.common.versioned_state import json_encode_state
from dlt.pipeline.state_sync import mark_state_extracted

from protime_source.catalogue import COLLECTIONS
from protime_source.pipeline.lock import run_client
from protime_source.pipeline.packages import (
    Package,
    PendingPackage,
    Snapshot,
    pending_packages,
    to_discard,
)
from protime_source.pipeline.states import (
    committed_state,
    forget_schemas,
    resource_states,
    stored_states,
)
from protime_source.sync.bookmark import Bookmark
from protime_source.warehouse.dialect import Client, column_names
from protime_source.warehouse.staging import drop_staging_tables, read_staged_rows

logger = logging.getLogger(__name__)

_REFUSED = "the destination refused it twice. If it refuses the rows again, the error says why."


def discard_refused(pipeline: dlt.Pipeline, patience_seconds: float) -> bool:
    """Throws away what the destination refused twice, and its staging tables.

    dlt calls many an error transient that is not, so that the first refusal does not count.

    Args:
        pipeline: The pipeline.
        patience_seconds: How long to wait for a DuckDB file that another program has open.

    Returns:
        Whether nothing is pending any more.
    """
    packages = list(pending_packages(pipeline))
    if not any(package.refusals > 1 for package in packages):
        return False
    _drop_staging_tables(run_client(pipeline, patience_seconds), packages)
    return discard_all(pipeline, patience_seconds, _REFUSED)


def _drop_staging_tables(client: Client, packages: Sequence[PendingPackage]) -> None:
    """Has dlt create the staging tables of some packages anew: a hand may have changed them."""
    drop_staging_tables(client, {name for package in packages for name in package.staged})
    forget_schemas(client, {package.source for package in packages}, in_staging=True)


def discard_outdated(pipeline: dlt.Pipeline, patience_seconds: float) -> None:
    """Throws away pending packages that must not be loaded, see `to_discard`.

    Args:
        pipeline: The pipeline that they belong to.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
    """
    if not (packages := list(pending_packages(pipeline))):
        return
    client, committed = _destination(pipeline, patience_seconds)
    if committed is None:
        return
    discarded, reason = to_discard(
        packages, committed, pipeline.state, lambda names: read_staged_rows(client, names)
    )
    if discarded:
        discard(pipeline, discarded, committed, reason)


def _destination(
    pipeline: dlt.Pipeline, patience_seconds: float
) -> tuple[Client, TPipelineState | None]:
    """A client of the pipeline's destination, and the committed state that it has."""
    client = run_client(pipeline, patience_seconds)
    return client, committed_state(pipeline, stored_states(client))


def discard_edited(pipeline: dlt.Pipeline, patience_seconds: float) -> None:
    """Throws away pending packages whose table somebody has emptied or taken a column from.

    A package holds only what differs from the rows that the table had, and no later run could see
    that others are missing.

    Args:
        pipeline: The pipeline that they belong to.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
    """
    if not (packages := list(pending_packages(pipeline))):
        return
    client, committed = _destination(pipeline, patience_seconds)
    if committed is not None and any(
        _is_edited(pipeline, client, committed, each) for each in packages
    ):
        if any(package.refusals for package in packages):
            # The refusals are forgotten with the packages.
            _drop_staging_tables(client, packages)
        reason = "its table has lost its rows or a column since."
        discard(pipeline, packages, committed, reason)


def _is_edited(
    pipeline: dlt.Pipeline, client: Client, committed: TPipelineState, package: PendingPackage
) -> bool:
    """Whether a table of a package is empty although it had rows, or lacks a column that it had."""
    schema = pipeline.schemas.get(package.source)
    if schema is None:
        return False
    with client.sql_client as sql:
        for name in tables_with_rows(committed, package):
            table = sql.make_qualified_table_name(name)
            loaded = schema.tables[name]["columns"] if name in schema.tables else {}
            documented = {column.name for column in COLLECTIONS[name].columns} & loaded.keys()
            if not documented <= set(column_names(sql, table)):
                return True
            if not sql.execute_sql(f"SELECT 1 FROM {table} LIMIT 1"):
                return True
    return False


def tables_with_rows(committed: Mapping[str, Any], package: Package) -> set[str]:
    """Returns the tables that had rows when a package was received, as far as it depends on them.

    Also those of a run that died before it could commit a state, if the package has met them.

    Args:
        committed: The state that the destination has.
        package: The package.
    """
    states = resource_states(committed, package.source)
    bookmarks = {name: Bookmark.read(state) for name, state in states.items()}
    with_rows = {name for name, found in bookmarks.items() if found and found.has_rows}
    return with_rows | package.incomplete_tables


def discard_all(pipeline: dlt.Pipeline, patience_seconds: float, reason: str) -> bool:
    """Throws away all pending packages of the source.

    Args:
        pipeline: The pipeline that they belong to.
        patience_seconds: How long to wait for a DuckDB file that another program has open.
        reason: Why, as a sentence.

    Returns:
        Whether nothing is pending any more.
    """
    if packages := list(pending_packages(pipeline)):
        _, committed = _destination(pipeline, patience_seconds)
        discard(pipeline, packages, committed, reason)
    return not pipeline.has_pending_data


def discard(
    pipeline: dlt.Pipeline,
    packages: Sequence[PendingPackage],
    committed: TPipelineState | None,
    reason: str,
) -> None:
    """Deletes pending packages, and returns the working folder to the state before them.

    Args:
        pipeline: The pipeline that they belong to.
        packages: The packages; none to return to the committed state alone.
        committed: The state that the destination has; `None` when dlt keeps none there.
        reason: Why, as a sentence.
    """
    before = _committed_snapshot(pipeline, committed) if committed else None
    if packages:
        logger.warning(
            "What an earlier run received is thrown away (load package %s): %s No row is lost: all"
            " changes since the warehouse's state are fetched again.",
            ", ".join(package.load_id for package in packages),
            reason,
        )
        before = before or packages[0].snapshot()
        for package in packages:
            package.delete()
    if before is not None:
        pipeline._restore_from_snapshot(*before)


def _committed_snapshot(pipeline: dlt.Pipeline, committed: TPipelineState) -> Snapshot:
    """The committed state and its schemas, as dlt writes them into the working folder."""
    state = TPipelineState(**{**committed, "_local": pipeline.state["_local"]})
    mark_state_extracted(state, state["_version_hash"])
    names = state["schema_names"] or []
    schemas = pipeline._get_schemas_from_destination(names, always_download=True)
    texts = {schema.name: json.dumps(schema.to_dict()) for schema in schemas}
    return json_encode_state(state), texts
