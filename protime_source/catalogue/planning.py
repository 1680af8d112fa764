"""What people are planned to do, and what they worked on."""

from __future__ import annotations

from protime_source.catalogue.fields import (
    ACTIVITY_LEVELS,
    DATE,
    GUID_KEYS,
    IS_AUTHORIZED,
    KEYS,
    PERSON,
    REQUEST,
    levels_view,
    shift,
    translated,
)
from protime_source.catalogue.model import ArrayView, Collection, column

ASSIGNMENTS = Collection(
    name="assignments",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/assignments/get-list/",
    date_column="from_date",
    references=("people", "activity-definitions"),
    views=(levels_view("assignment_id"),),
    columns=(
        *KEYS,
        column("isRejected", "bool", "Whether the assignment was rejected."),
        column("person.id", "bigint", "The person the assignment is for.", refers="people"),
        column("from", "date", "First day, as a local date of the person.", name="from_date"),
        column("until", "date", "Last day, as a local date of the person.", name="until_date"),
        column(
            "startTimeInMinutes",
            "bigint",
            "Start in minutes since local midnight of the first day, -1440 to 2880.",
        ),
        column(
            "endTimeInMinutes",
            "bigint",
            "End in minutes since local midnight, -1440 to 2880; 1800 is 6:00 of the next day.",
        ),
        column("breakDurationInMinutes", "bigint", "Length of the break in minutes."),
        column("comments", "text", "Free text."),
        ACTIVITY_LEVELS,
    ),
)

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
            (
                column(
                    "id",
                    "bigint",
                    "The counter definition.",
                    name="counter_definition_id",
                    refers="counter-definitions",
                ),
            ),
        ),
    ),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column("durationInMinutes", "bigint", "Duration in minutes."),
        ACTIVITY_LEVELS,
        column(
            "absenceDefinition.id",
            "bigint",
            "The kind of absence, if one is linked.",
            refers="absence-definitions",
        ),
        REQUEST,
        column("counterDefinitions", "json", "Linked counter definitions, as Protime sent them."),
        shift("The shift, if one is linked and not inherited from the schedule."),
        column("status", "text", "Unknown, Auto, Manual or Deleted; Deleted is soft-deleted here."),
        IS_AUTHORIZED,
    ),
)

ACTIVITY_DEFINITIONS = Collection(
    name="activity-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/concepts/activity-structure-model/",
    has_delta=False,
    path_template="activity-structure-versions/{structure_version}/levels/{level}/activity-definitions",
    columns=(
        *GUID_KEYS,
        column("structureVersion", "text", "The activity structure version, a GUID."),
        column("level", "bigint", "Level in the activity structure, from 1."),
        column("canConfigureRestrictions", "bool", "Whether restrictions can be set."),
        *translated("name", "Name in the default language."),
        column("parent.id", "text", "Activity definition one level up; set only at creation."),
        column("shortCode", "text", "Short code."),
        column("dataEntryCode", "text", "Code of up to 16 characters, unique within the level."),
        column(
            "externalReference", "text", "Code of up to 16 characters, unique within the level."
        ),
        column("info", "text", "Notes."),
        column("activeFrom", "date", "First day on which it is active."),
        column("activeUntil", "date", "Last day on which it is active."),
    ),
)

SHIFT_DEFINITIONS = Collection(
    name="shift-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/shift-definitions/get-list/",
    columns=(
        *KEYS,
        *translated("name", "Name of the shift in the default language."),
        column("code", "text", "Code of the shift."),
        *translated("friendlyName", "Name shown to users, in the default language."),
        column("isEnabled", "bool", "Whether the shift is enabled."),
    ),
)
