"""dlt's state of a pipeline, and what the destination has of it."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.common.pipeline import TPipelineState
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.pipeline.state_sync import load_pipeline_state_from_destination

from protime_source.warehouse.dialect import Client


def resource_state(state: TPipelineState, source: str, table: str) -> dict[str, Any]:
    """The part of a pipeline's state that one resource has; empty when it has none."""
    found: dict[str, Any] = state.get("sources", {}).get(source, {})
    return dict(found.get("resources", {}).get(table, {}))


def committed(pipeline: dlt.Pipeline, client: Client) -> TPipelineState | None:
    """The state that the destination holds; `None` when dlt is told to keep none there."""
    if not pipeline.config.restore_from_destination:
        return None
    with client:
        try:
            found = load_pipeline_state_from_destination(pipeline.pipeline_name, client)
        except DatabaseUndefinedRelation:
            found = None
    return found or TPipelineState()


def confirm(state: dict[str, Any], stored: dict[str, Any]) -> bool:
    """Goes back to the state that the destination holds, where the working folder has another.

    Nothing is pending when it is compared, so they differ only when the working folder was used
    for another destination since, or when a warehouse was put back to an older copy, which dlt does
    not see. The link there is older, and so brings what is missing.

    Args:
        state: The resource's state in the working folder.
        stored: The same in the destination.

    Returns:
        Whether it had another.
    """
    if state == stored:
        return False
    state.clear()
    state.update(stored)
    return True
