"""Clockings, and what Protime calculates from them: totals, presences, breaks and counters."""

from __future__ import annotations

from protime_source.catalogue.fields import (
    ACTIVITY_LEVELS,
    DATE,
    IS_AUTHORIZED,
    KEYS,
    PERIOD_TYPE,
    PERSON,
    REQUEST,
    levels_view,
    shift,
    translated,
)
from protime_source.catalogue.model import Collection, column

CLOCKINGS = Collection(
    name="clockings",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/clockings/",
    date_column="date",
    references=("people", "terminals", "activity-definitions", "absence-definitions"),
    deleted_status="Deleted",
    views=(levels_view("clocking_id"),),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column(
            "timeOfDayInMinutes",
            "bigint",
            "Minutes since midnight, -1440 to 2880; below 0 is the day before, above 1439 the day"
            " after.",
        ),
        column(
            "originalTimeOfDayInMinutes",
            "bigint",
            "Time as first registered, in minutes since midnight; only set after an edit.",
        ),
        column(
            "calculatedTimeOfDayInMinutes",
            "bigint",
            "Time after corrections and calculation, in minutes since midnight.",
        ),
        column("isGenerated", "bool", "Whether the system made the clocking."),
        column("terminal.id", "bigint", "The terminal.", refers="terminals"),
        column("geolocation.longitude", "double", "Longitude.", sensitive=True),
        column("geolocation.latitude", "double", "Latitude.", sensitive=True),
        column("kind", "text", "InOut, Reason, Activity or ActivityEnd."),
        column(
            "reason.id",
            "bigint",
            "The kind of absence that is the reason; only for kind Reason.",
            refers="absence-definitions",
        ),
        column("isOpen", "bool", "Whether the clocking is open; only for kind Reason."),
        ACTIVITY_LEVELS,
        column("status", "text", "Unknown, Active or Deleted; Deleted is soft-deleted here."),
    ),
)

ACCESS_CLOCKINGS = Collection(
    name="access-clockings",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/access-clockings/get-list/",
    date_column="date",
    references=("people", "terminals"),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column("timeOfDayInMinutes", "bigint", "Minutes since midnight, 0 to 1439."),
        column("terminal.id", "bigint", "The terminal.", refers="terminals"),
        column(
            "status",
            "text",
            "AccessOk, AccessRefused, WrongPinCode, AlarmCode, AntiPassbackError, OutZone or"
            " UnknownBadgeNumber.",
        ),
    ),
)

CALCULATED_TOTALS = Collection(
    name="calculated-totals",
    documentation="https://documentation.myprotime.eu/protimeapi/collections/calculated-totals/calculated-totals/get-list/",
    date_column="date",
    references=("people",),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column("normalTimeDurationInMinutes", "bigint", "Scheduled normal time in minutes."),
        column("timePresentDurationInMinutes", "bigint", "Time present in minutes."),
        column(
            "calculatedPresenceDurationInMinutes",
            "bigint",
            "Presence in minutes, after the rules are applied.",
        ),
        column(
            "weeklyHours1DurationInMinutes",
            "bigint",
            "Weekly hours of type 1 in minutes; the tenant configures the type.",
        ),
        column("weeklyHours2DurationInMinutes", "bigint", "Weekly hours of type 2 in minutes."),
        column("weeklyHours3DurationInMinutes", "bigint", "Weekly hours of type 3 in minutes."),
        column("payPeriodHoursDurationInMinutes", "bigint", "Hours of the pay period, in minutes."),
        column("flextimeDurationInMinutes", "bigint", "Flextime of the day in minutes."),
        column("flextimeBalanceInMinutes", "bigint", "Flextime balance in minutes, after the day."),
        shift("The shift that results from the rules."),
    ),
)

PAID_PRESENCES = Collection(
    name="paid-presences",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/calculated-totals/paid-presences/get-list/",
    date_column="date",
    scopes=("calculated-totals",),
    references=("people", "shift-definitions"),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column("durationInMinutes", "bigint", "Paid time in minutes."),
        shift("The shift; empty without one."),
    ),
)

BREAKS = Collection(
    name="breaks",
    documentation="https://documentation.myprotime.eu/protimeapi/collections/breaks/breaks/get/",
    date_column="date",
    references=("people",),
    columns=(
        *KEYS,
        PERSON,
        column("breakDefinition.id", "bigint", "The break definition.", refers="break-definitions"),
        DATE,
        column("calculatedDurationInMinutes", "bigint", "Calculated length in minutes."),
        column("clockedDurationInMinutes", "bigint", "Clocked length in minutes."),
        column(
            "startTimeInMinutes",
            "bigint",
            "Earliest start by the definition, in minutes since midnight.",
        ),
        column(
            "endTimeInMinutes", "bigint", "Latest end by the definition, in minutes since midnight."
        ),
        column("isBreakTaken", "bool", "Whether the break was taken."),
    ),
)

BREAK_DEFINITIONS = Collection(
    name="break-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/breaks/break-definitions/get/",
    columns=(
        *KEYS,
        *translated("name", "Name of the break in the default language."),
        *translated("friendlyName", "Name shown to users, in the default language."),
        column("paidDurationInMinutes", "bigint", "Paid part in minutes."),
        column("minimumDurationInMinutes", "bigint", "Shortest length in minutes."),
        column("maximumDurationInMinutes", "bigint", "Longest length in minutes."),
        column(
            "ifNotClockedDurationInMinutes",
            "bigint",
            "Minutes that count when the break was not taken.",
        ),
        column("hasToBeTakenUninterrupted", "bool", "Whether it must be taken in one piece."),
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
        column("durationInMinutes", "bigint", "Length in minutes."),
        column("startTimeInMinutes", "bigint", "Start in minutes since midnight."),
        column("endTimeInMinutes", "bigint", "End in minutes since midnight."),
    ),
)

COUNTERS = Collection(
    name="counters",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/counters/counter-instances/get-list/",
    date_column="date",
    references=("people", "counter-definitions"),
    columns=(
        *KEYS,
        shift("The shift, if one is linked and not inherited from the schedule."),
        column("numberOfInstances", "bigint", "Number of instances."),
        REQUEST,
        column("status", "text", "Unknown, Auto, Manual or Calendar."),
        IS_AUTHORIZED,
        PERSON,
        PERIOD_TYPE,
        column(
            "counterDefinition.id",
            "bigint",
            "The counter definition.",
            refers="counter-definitions",
        ),
        DATE,
        column("startTimeInMinutes", "bigint", "Start in minutes since midnight."),
        column("endTimeInMinutes", "bigint", "End in minutes since midnight."),
        column("durationInMinutes", "bigint", "Duration in minutes."),
    ),
)

COUNTER_DEFINITIONS = Collection(
    name="counter-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/counters/counter-definitions/get/",
    references=("counter-definitions",),
    columns=(
        *KEYS,
        *translated("name", "Name of the counter in the default language."),
        column("code", "text", "Code of the counter."),
        *translated("friendlyName", "Name shown to users, in the default language."),
        *translated("friendlyCode", "Code shown to users, in the default language."),
        column("isEnabled", "bool", "Whether the counter is enabled."),
        column("counterGroup.id", "bigint", "The counter group.", refers="counter-groups"),
        column("unit", "text", "Unknown, Interval, Duration or Instance."),
    ),
)

COUNTER_GROUPS = Collection(
    name="counter-groups",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/counters/counter-groups/get/",
    columns=(
        *KEYS,
        *translated("name", "Name of the group in the default language."),
    ),
)
