"""The states that dlt commits with the load packages, in the destination and here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

import dlt
from dlt.common.pipeline import TPipelineState
from dlt.common.versioned_state import compress_state, decompress_state
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.pipeline.state_sync import (
    generate_pipeline_state_version_hash,
    migrate_state_to_current,
)

from protime_source.sync.bookmark import Bookmark
from protime_source.warehouse.dialect import Client

NAME = "protime"
"""dlt's name of the source and its schema."""


STATES_KEPT = 100
"""The newest states of a pipeline that stay in the destination; dlt would keep them all."""

STAGED = "protime_staged"
"""The key of what a resource's state says of the rows that were last put into a staging table."""

TAKEN_BACK = "protime_taken_back"
"""The key of a mark, in a source's state and in these: what the loads did was taken back."""


@dataclass(frozen=True)
class StoredState:
    """A pipeline's state in the destination.

    Attributes:
        load_id: dlt's id of the load package that committed the newest.
        newest: The newest one.
        count: How many there are.
    """

    load_id: str
    newest: dict[str, Any]
    count: int


def stored_states(client: Client) -> dict[str, StoredState]:
    """Returns the committed states of all pipelines of the dataset, by pipeline name.

    The newest are those with the highest version. dlt goes by the time of the load, and so takes a
    run for the newest whose machine had its clock ahead.
    """
    name, state, load_id, committed, newest_first = _committed(client)
    query = (
        f"SELECT {name}, {load_id}, {state}, stored FROM (SELECT s.{name}, s.{load_id}, s.{state},"
        f" COUNT(*) OVER (PARTITION BY s.{name}) AS stored,"
        f" ROW_NUMBER() OVER (PARTITION BY s.{name} {newest_first}) AS newest_first {committed})"
        " AS n WHERE newest_first = 1"
    )
    with client.sql_client as sql:
        try:
            rows = sql.execute_sql(query) or []
        except DatabaseUndefinedRelation:
            rows = []
    return {
        str(pipeline): StoredState(str(loaded_by), decompress_state(text), count)
        for pipeline, loaded_by, text, count in rows
    }


def _committed(client: Client) -> tuple[str, str, str, str, str]:
    """What a query for committed states is made of: a state counts only with the load's record.

    Returns:
        The columns of the pipeline, the state and the load; then from `FROM` on, the states as `s`;
        then how the newest come first.
    """
    sql, schema = client.sql_client, client.schema
    states = sql.make_qualified_table_name(schema.state_table_name)
    loads = sql.make_qualified_table_name(schema.loads_table_name)
    name, state, version, state_load, load, status = client._norm_and_escape_columns(
        "pipeline_name", "state", "version", "_dlt_load_id", "load_id", "status"
    )
    joined = f"FROM {states} AS s JOIN {loads} AS l ON l.{load} = s.{state_load}"
    newest_first = f"ORDER BY s.{version} DESC, s.{state_load} DESC"
    return name, state, state_load, f"{joined} WHERE l.{status} = 0", newest_first


def committed_state(
    pipeline: dlt.Pipeline, states: Mapping[str, StoredState]
) -> TPipelineState | None:
    """Returns the newest state that the destination has; `None` when dlt keeps none there.

    Args:
        pipeline: The pipeline.
        states: The destination's states.
    """
    if not pipeline.config.restore_from_destination:
        return None
    return last_committed(pipeline, states)[1]


def last_committed(
    pipeline: dlt.Pipeline, states: Mapping[str, StoredState]
) -> tuple[str, TPipelineState]:
    """Returns dlt's id of the load package that committed the newest state, and the state.

    Args:
        pipeline: The pipeline.
        states: The destination's states.
    """
    name = pipeline.pipeline_name
    if found := states.get(name):
        return found.load_id, migrate_state_to_current(name, found.newest)
    return "", TPipelineState()


def other_states(
    pipeline_name: str, states: Mapping[str, StoredState]
) -> dict[str, dict[str, Any]]:
    """Returns the newest states of all other pipelines of the dataset, by pipeline name.

    Args:
        pipeline_name: The pipeline that is left out.
        states: The destination's states.
    """
    return {name: found.newest for name, found in states.items() if name != pipeline_name}


def forget_old_states(
    client: Client, pipeline_name: str, stored: Mapping[str, StoredState]
) -> None:
    """Deletes states that were replaced long ago, now and then, so that no run reads them all.

    dlt's records of the loads that committed them go with them: there is one for each run, and a
    listener does hundreds a day.

    Args:
        client: A client of the destination.
        pipeline_name: The pipeline.
        stored: Those of all pipelines.

    Raises:
        DestinationException: When the destination refuses.
    """
    own = stored.get(pipeline_name)
    if own is None or own.count <= 2 * STATES_KEPT:
        return
    sql = client.sql_client
    states = sql.make_qualified_table_name(client.schema.state_table_name)
    loads = sql.make_qualified_table_name(client.schema.loads_table_name)
    name, version, state_load, load = client._norm_and_escape_columns(
        "pipeline_name", "version", "_dlt_load_id", "load_id"
    )
    old = f"FROM {states} WHERE {name} = %s AND {version} <= %s"
    newest_old = (pipeline_name, own.newest["_state_version"] - STATES_KEPT)
    with sql:
        sql.execute_sql(
            f"DELETE FROM {loads} WHERE {load} IN (SELECT {state_load} {old})", *newest_old
        )
        sql.execute_sql(f"DELETE {old}", *newest_old)


def forget_schemas(client: Client, sources: Iterable[str], *, in_staging: bool = False) -> None:
    """Has dlt create missing tables: it does so only for a schema that it has not stored there.

    Args:
        client: A client of the destination.
        sources: The sources' names in dlt.
        in_staging: Whether tables of the staging dataset are meant.

    Raises:
        DestinationException: When the destination refuses.
    """
    [name] = client._norm_and_escape_columns("schema_name")
    with client.sql_client as sql, sql.with_staging_dataset() if in_staging else nullcontext():
        versions = sql.make_qualified_table_name(client.schema.version_table_name)
        for source in sources:
            with suppress(DatabaseUndefinedRelation):
                sql.execute_sql(f"DELETE FROM {versions} WHERE {name} = %s", source)


def states_beside(
    client: Client, pipeline_name: str, load_ids: Sequence[str], *, limit: int | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Returns the committed states of a pipeline but for those of some loads, newest first.

    Args:
        client: A client of the destination.
        pipeline_name: The pipeline.
        load_ids: dlt's ids of the loads that are left out.
        limit: How many at most.
    """
    return _states(client, pipeline_name, "NOT IN", load_ids, limit)


def _states(
    client: Client, pipeline_name: str, among: str, load_ids: Sequence[str], limit: int | None
) -> list[tuple[str, dict[str, Any]]]:
    name, state, load_id, committed, newest_first = _committed(client)
    query = (
        f"SELECT s.{load_id}, s.{state} {committed} AND s.{name} = %s"
        f" AND s.{load_id} {among} ({', '.join(['%s'] * len(load_ids))})"
        f" {newest_first}" + (f" LIMIT {limit}" if limit else "")
    )
    with client.sql_client as sql:
        rows = sql.execute_sql(query, pipeline_name, *load_ids) or []
    return [(str(loaded_by), decompress_state(text)) for loaded_by, text in rows]


def uncommit(
    client: Client,
    pipeline_name: str,
    load_ids: Sequence[str],
    source: str,
    *,
    restarts: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Takes back the states that some packages committed, so that the state before them counts.

    The newest of them becomes that state, with a mark; the others are deleted.

    Args:
        client: A client of the destination.
        pipeline_name: The pipeline.
        load_ids: dlt's ids of the packages.
        source: The source's name in dlt.
        restarts: Whether no earlier bookmark counts, and full loads follow.

    Returns:
        The newest of the states that were taken back, and the one before them; empty if none.
    """
    newest = _states(client, pipeline_name, "IN", load_ids, 1)
    before = [*states_beside(client, pipeline_name, load_ids, limit=1), ("", {})][0][1]
    sql = client.sql_client
    states = sql.make_qualified_table_name(client.schema.state_table_name)
    name, load, text, version_hash = client._norm_and_escape_columns(
        "pipeline_name", "_dlt_load_id", "state", "version_hash"
    )
    of_load = f"WHERE {name} = %s AND {load} = %s"
    with sql:
        for load_id, state in newest:
            marked: Any = taken_back(load_ids, state, before, source, restarts=restarts)
            marked["_version_hash"] = generate_pipeline_state_version_hash(marked)
            sql.execute_sql(
                f"UPDATE {states} SET {text} = %s, {version_hash} = %s {of_load}",
                compress_state(marked),
                marked["_version_hash"],
                pipeline_name,
                load_id,
            )
        for load_id in set(load_ids).difference(load_id for load_id, _ in newest):
            sql.execute_sql(f"DELETE FROM {states} {of_load}", pipeline_name, load_id)
    return (newest[0][1] if newest else {}), before


def taken_back(
    load_ids: Sequence[str],
    state: Mapping[str, Any],
    before: Mapping[str, Any],
    source: str,
    *,
    restarts: bool = False,
) -> dict[str, Any]:
    """Returns the state that counts once loads are taken back: the one before them, with a mark.

    What they have merged stays in the table. So a package that was received before, and rests on
    the state without the mark, does not know those rows, and must not be loaded. And where they
    began a full load, what led to it may be seen no more: the table has the column again that it
    lacked. So the bookmark before it does not count.

    Args:
        load_ids: dlt's ids of the loads.
        state: The newest state that they committed.
        before: The state before all of theirs.
        source: The source's name in dlt.
        restarts: Whether no earlier bookmark counts, and full loads follow.
    """
    sources = before.get("sources", {})
    resources = resource_states(before, source)
    later = resource_states(state, source)
    for table, resource in resources.items():
        bookmark, newer = Bookmark.read(resource), Bookmark.read(later.get(table, {}))
        if bookmark is None:
            continue
        began = newer and newer.full_load_started_at != bookmark.full_load_started_at
        if restarts or began:
            bookmark = bookmark.invalidated()
        replace(bookmark, live_rows=None).write(resource)
    for resource in resources.values():
        if STAGED in resource:
            resource[STAGED] = {**resource[STAGED], TAKEN_BACK: True}
    marked = {**sources.get(source, {}), "resources": resources, TAKEN_BACK: sorted(load_ids)}
    return {**state, "sources": {**sources, source: marked}}


def resource_states(state: Mapping[str, Any], source: str) -> dict[str, dict[str, Any]]:
    """Returns the states of a source's resources, by table."""
    found: Any = state
    for name in ("sources", source, "resources"):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {table: dict(each) for table, each in found.items() if isinstance(each, Mapping)}


def read_bookmark(pipeline: dlt.Pipeline, table: str) -> Bookmark | None:
    """Returns the bookmark that a pipeline last committed for a table, if it has one."""
    return read_bookmarks(pipeline, [table])[table]


def read_bookmarks(pipeline: dlt.Pipeline, tables: Iterable[str]) -> dict[str, Bookmark | None]:
    """Returns the same for some tables; dlt reads a file each time that it is asked."""
    states = resource_states(pipeline.state, NAME)
    return {table: Bookmark.read(states.get(table, {})) for table in tables}


def restore_committed_state(
    state: dict[str, Any],
    committed: TPipelineState,
    local: TPipelineState,
    source: str,
    table: str,
) -> bool:
    """Returns to the state that the destination has, where the working folder has another.

    Nothing is pending when they are compared, so they differ only when the working folder was used
    for another destination since, or when a warehouse was put back to an older copy, which dlt does
    not notice. The committed link is older, and so brings what is missing.

    Args:
        state: The resource's state in the working folder; changed in place.
        committed: The pipeline's state in the destination.
        local: The pipeline's state in the working folder.
        source: The source's name in dlt.
        table: The resource's table.

    Returns:
        Whether they differed, and the destination's is the older one.
    """
    remembered = resource_states(committed, source).get(table, {})
    if state == remembered:
        return False
    state.clear()
    state.update(remembered)
    return committed.get("_state_version", 0) < local["_state_version"]
