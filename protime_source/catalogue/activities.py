"""What was worked on, and what can be."""

from __future__ import annotations

from protime_source.catalogue.fields import (
    ACTIVITY_LEVELS,
    DATE,
    GUID_KEYS,
    KEYS,
    PERSON,
    levels_view,
    translated,
)
from protime_source.catalogue.model import ArrayView, Collection, column

ACTIVITY_DURATIONS = Collection(
    name="activity-durations",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/activities/activity-durations/get-list/",
    date_column="date",
    references=("people", "activity-definitions", "absence-definitions", "counter-definitions"),
    has_version=False,
    deleted_status="Deleted",
    views=(
        levels_view("activity_duration_id"),
        ArrayView(
            "counter_definitions",
            "activity_duration_id",
            (("counter_definition_id", "id", "bigint"),),
        ),
    ),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column("durationInMinutes", "bigint", "Duration."),
        ACTIVITY_LEVELS,
        column(
            "absenceDefinition.id",
            "bigint",
            "If an absence is linked.",
            refers="absence-definitions",
        ),
        column("request.id", "text", "If requested."),
        column("counterDefinitions", "json", "Linked counter definitions, as Protime sent them."),
        column(
            "shiftDefinition.id",
            "bigint",
            "If linked and not inherited from the schedule.",
            refers="shift-definitions",
        ),
        column("status", "text", "Unknown | Auto | Manual."),
        column("isAuthorized", "bool", "Authorised."),
    ),
)

ACTIVITY_DEFINITIONS = Collection(
    name="activity-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/concepts/activity-structure-model/",
    has_delta=False,
    path_template="activity-structure-versions/{structure_version}/levels/{level}/activity-definitions",
    columns=(
        *GUID_KEYS,
        column("structureVersion", "text", "Activity structure version, a GUID."),
        column("level", "bigint", "Level in the structure, from 1."),
        column("canConfigureRestrictions", "bool", "Whether restrictions can be set."),
        *translated("name", "Default name."),
        column("parent.id", "text", "Parent at the level above; only settable at creation."),
        column("shortCode", "text", "Short code."),
        column(
            "dataEntryCode",
            "text",
            "At most 16 characters, unique in structure and level.",
        ),
        column("externalReference", "text", "At most 16 characters, unique in structure+level."),
        column("info", "text", "Notes."),
        column("activeFrom", "date", "Active from, YYYY-MM-DD."),
        column("activeUntil", "date", "Active until, YYYY-MM-DD."),
    ),
)
