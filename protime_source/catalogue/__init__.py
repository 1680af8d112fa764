"""Every collection that can be loaded. One more is a few lines in the module it belongs to."""

from __future__ import annotations

from types import ModuleType

from protime_source.catalogue import (
    absences,
    activities,
    assignments,
    breaks,
    clockings,
    counters,
    histories,
    organisation,
    people,
    shifts,
    totals,
)
from protime_source.catalogue.assignments import ASSIGNMENTS
from protime_source.catalogue.model import Collection


def _collections(*modules: ModuleType) -> dict[str, Collection]:
    """What the modules define, by table."""
    found = [each for module in modules for each in vars(module).values()]
    return {each.table: each for each in found if isinstance(each, Collection)}


COLLECTIONS: dict[str, Collection] = _collections(
    assignments,
    activities,
    clockings,
    people,
    absences,
    totals,
    breaks,
    counters,
    shifts,
    organisation,
    histories,
)
"""All collections by the name of their table; the order of the documentation's table."""

__all__ = ["ASSIGNMENTS", "COLLECTIONS"]
