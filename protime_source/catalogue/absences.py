"""Absences and their kinds."""

from __future__ import annotations

from protime_source.catalogue.fields import DATE, KEYS, PERIOD_TYPE, PERSON, shift, translated
from protime_source.catalogue.model import ArrayView, Collection, column

ABSENCES = Collection(
    name="absences",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/absences/absence-instances/",
    date_column="date",
    references=("people", "shift-definitions", "absence-definitions"),
    columns=(
        *KEYS,
        PERSON,
        column(
            "resultingAbsenceDefinition.id",
            "bigint",
            "The kind of absence that applies in the end.",
            refers="absence-definitions",
        ),
        column(
            "requestedAbsenceDefinition.id",
            "bigint",
            "The kind of absence that was requested.",
            refers="absence-definitions",
        ),
        shift("The shift; empty when it is inherited from the schedule."),
        DATE,
        column("startTimeInMinutes", "bigint", "Start in minutes since midnight."),
        column("durationInMinutes", "bigint", "Duration in minutes."),
        column("calculatedDurationInMinutes", "bigint", "Duration in minutes, after calculation."),
        column("dayPart", "text", "Unknown, First or Second."),
        column("request.id", "text", "The request: {TenantId}-{PersonId}-{RequestId}."),
        column("status", "text", "Unknown, Manual, Auto, BeginOpen, Open, Terminal or Calendar."),
        column(
            "approvalLevel",
            "text",
            "Unknown, AwaitingApproval, Approved, NotApproved, NotApprovedByPriorities or"
            " NotApprovedByCalculations.",
        ),
        column("isLocked", "bool", "Whether the absence can no longer be changed."),
        PERIOD_TYPE,
    ),
)

ABSENCE_DEFINITIONS = Collection(
    name="absence-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/absences/absence-definitions/get/",
    references=("absence-definitions", "absence-groups"),
    views=(
        ArrayView(
            "allowed_durations",
            "absence_definition_id",
            (
                column(
                    "",
                    "text",
                    "Unknown, FullDay, HalfDay, Interval or Duration.",
                    name="allowed_duration",
                ),
            ),
        ),
    ),
    columns=(
        *KEYS,
        *translated("name", "Name of the kind of absence in the default language."),
        column("code", "text", "Code of the kind of absence."),
        *translated("friendlyName", "Name shown to users, in the default language."),
        *translated("friendlyCode", "Code shown to users, in the default language."),
        column(
            "allowedDurations", "json", "Any of Unknown, FullDay, HalfDay, Interval and Duration."
        ),
        column("isEnabled", "bool", "Whether it is enabled in myProtime."),
        column("isReasonForClocking", "bool", "Whether it can be the reason of a clocking."),
        column("absenceGroup.id", "bigint", "The absence group.", refers="absence-groups"),
    ),
)

ABSENCE_GROUPS = Collection(
    name="absence-groups",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/absences/absence-groups/get/",
    columns=(
        *KEYS,
        *translated("name", "Name of the group in the default language."),
        column("type", "text", "Absence, WorkingElsewhere or Unknown."),
    ),
)
