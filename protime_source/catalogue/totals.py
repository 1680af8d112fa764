"""What Protime calculates per person and day."""

from __future__ import annotations

from protime_source.catalogue.fields import DATE, KEYS, PERSON
from protime_source.catalogue.model import Collection, column

CALCULATED_TOTALS = Collection(
    name="calculated-totals",
    documentation="https://documentation.myprotime.eu/protimeapi/collections/calculated-totals/calculated-totals/get-list/",
    date_column="date",
    references=("people",),
    columns=(
        *KEYS,
        PERSON,
        DATE,
        column("normalTimeDurationInMinutes", "bigint", "Scheduled normal time."),
        column("timePresentDurationInMinutes", "bigint", "Time present."),
        column("calculatedPresenceDurationInMinutes", "bigint", "Presence after rules."),
        column("weeklyHours1DurationInMinutes", "bigint", "Weekly hours type 1 (configurable)."),
        column("weeklyHours2DurationInMinutes", "bigint", "Weekly hours type 2."),
        column("weeklyHours3DurationInMinutes", "bigint", "Weekly hours type 3."),
        column("payPeriodHoursDurationInMinutes", "bigint", "Pay period hours."),
        column("flextimeDurationInMinutes", "bigint", "Flextime of the day."),
        column("flextimeBalanceInMinutes", "bigint", "Flextime balance after the day."),
        column(
            "shiftDefinition.id", "bigint", "Final shift after rules.", refers="shift-definitions"
        ),
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
        column("durationInMinutes", "bigint", "Paid minutes."),
        column(
            "shiftDefinition.id",
            "bigint",
            "Optional; left out if no shift.",
            refers="shift-definitions",
        ),
    ),
)
