"""The data model as an ER diagram in Mermaid's notation."""

from __future__ import annotations

from protime_source.exports.schema import described_schema
from protime_source.settings import Settings


def er_diagram(settings: Settings) -> str:
    """Returns the diagram: tables and views with their columns, and an edge for each reference.

    Args:
        settings: Those of a run; tenant and credentials may be missing.
    """
    return described_schema(settings).to_mermaid(include_dlt_tables=False)
