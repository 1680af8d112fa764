"""The analysts' models: views in the dataset over the tables that are loaded."""

from __future__ import annotations

from protime_source.models import absences, changes, clocked, planning
from protime_source.models.model import Model

MODELS: dict[str, Model] = {
    each.name: each
    for each in (
        planning.CURRENT_ASSIGNMENTS,
        planning.ASSIGNMENT_DAYS,
        planning.PLANNED_DAYS,
        planning.COVERAGE,
        absences.ABSENCE_DAYS,
        absences.ABSENCE_SPELLS,
        absences.BRADFORD_FACTOR,
        clocked.PLANNED_VS_CLOCKED,
        changes.SHORT_NOTICE_CHANGES,
    )
}
"""All models by name; each comes after those that it reads."""

__all__ = ["MODELS"]
