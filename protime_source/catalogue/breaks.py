"""Breaks and interruptions."""

from __future__ import annotations

from protime_source.catalogue.fields import DATE, KEYS, PERSON, translated
from protime_source.catalogue.model import Collection, column

BREAKS = Collection(
    name="breaks",
    documentation="https://documentation.myprotime.eu/protimeapi/collections/breaks/breaks/get/",
    date_column="date",
    references=("people",),
    columns=(
        *KEYS,
        PERSON,
        column("breakDefinition.id", "bigint", "Break definition.", refers="break-definitions"),
        DATE,
        column("calculatedDurationInMinutes", "bigint", "Calculated length."),
        column("clockedDurationInMinutes", "bigint", "Clocked length."),
        column("startTimeInMinutes", "bigint", "Earliest start per definition."),
        column("endTimeInMinutes", "bigint", "Latest end per definition."),
        column("isBreakTaken", "bool", "Break was taken."),
    ),
)

BREAK_DEFINITIONS = Collection(
    name="break-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/breaks/break-definitions/get/",
    columns=(
        *KEYS,
        *translated("name", "Default name of the break definition."),
        *translated("friendlyName", "Name shown to users."),
        column("paidDurationInMinutes", "bigint", "Paid part."),
        column("minimumDurationInMinutes", "bigint", "Minimum."),
        column("maximumDurationInMinutes", "bigint", "Maximum."),
        column("ifNotClockedDurationInMinutes", "bigint", "Counted if no break is taken."),
        column("hasToBeTakenUninterrupted", "bool", "In one piece."),
    ),
)

WORK_INTERRUPTIONS = Collection(
    name="work-interruptions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/breaks/work-interruptions/get-list/",
    date_column="date",
    references=("people",),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column("durationInMinutes", "bigint", "Length."),
        column("startTimeInMinutes", "bigint", "Start."),
        column("endTimeInMinutes", "bigint", "End."),
    ),
)
