"""Every collection that can be loaded."""

from __future__ import annotations

from protime_source.catalogue import absences, organisation, people, planning, time
from protime_source.catalogue.model import Collection
from protime_source.catalogue.planning import ASSIGNMENTS

COLLECTIONS: dict[str, Collection] = {
    each.table: each
    for each in (
        ASSIGNMENTS,
        planning.ACTIVITY_DURATIONS,
        planning.ACTIVITY_DEFINITIONS,
        time.CLOCKINGS,
        time.ACCESS_CLOCKINGS,
        people.PEOPLE,
        people.CONTRACTS,
        absences.ABSENCES,
        absences.ABSENCE_DEFINITIONS,
        absences.ABSENCE_GROUPS,
        time.CALCULATED_TOTALS,
        time.PAID_PRESENCES,
        time.BREAKS,
        time.BREAK_DEFINITIONS,
        time.WORK_INTERRUPTIONS,
        time.COUNTERS,
        time.COUNTER_DEFINITIONS,
        time.COUNTER_GROUPS,
        planning.SHIFT_DEFINITIONS,
        organisation.DEPARTMENTS,
        organisation.EMPLOYERS,
        organisation.JOBS,
        organisation.JOB_CATEGORIES,
        organisation.SECTORS,
        organisation.WORK_LOCATIONS,
        people.DEPARTMENT_HISTORIES,
        people.EMPLOYER_HISTORIES,
        people.JOB_HISTORIES,
        people.JOB_CATEGORY_HISTORIES,
        people.SECTOR_HISTORIES,
        people.WORK_LOCATION_HISTORIES,
    )
}
"""All collections by the name of their table, in the order of the documentation."""

__all__ = ["ASSIGNMENTS", "COLLECTIONS"]
