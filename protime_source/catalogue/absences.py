"""Absences, and what kinds of them there are."""

from __future__ import annotations

from protime_source.catalogue.fields import DATE, KEYS, PERSON, translated
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
            "Absence definition that applies in the end.",
            refers="absence-definitions",
        ),
        column(
            "requestedAbsenceDefinition.id",
            "bigint",
            "Absence definition first requested.",
            refers="absence-definitions",
        ),
        column(
            "shiftDefinition.id",
            "bigint",
            "Shift; left out when inherited from the schedule.",
            refers="shift-definitions",
        ),
        DATE,
        column("startTimeInMinutes", "bigint", "Start, minutes since midnight."),
        column("durationInMinutes", "bigint", "Duration."),
        column("calculatedDurationInMinutes", "bigint", "Calculated duration."),
        column("dayPart", "text", "Unknown | First | Second."),
        column("request.id", "text", "The request, {TenantId}-{PersonId}-{RequestId}."),
        column(
            "status", "text", "Unknown | Manual | Auto | BeginOpen | Open | Terminal | Calendar."
        ),
        column(
            "approvalLevel",
            "text",
            "Unknown | AwaitingApproval | Approved | NotApproved | NotApprovedByPriorities"
            " | NotApprovedByCalculations.",
        ),
        column("isLocked", "bool", "Cannot be changed."),
        column("periodType", "text", "Unknown | Day | Week | PayPeriod."),
    ),
)

ABSENCE_DEFINITIONS = Collection(
    name="absence-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/absences/absence-definitions/get/",
    references=("absence-definitions", "absence-groups"),
    views=(
        ArrayView(
            "allowed_durations", "absence_definition_id", (("allowed_duration", "", "text"),)
        ),
    ),
    columns=(
        *KEYS,
        *translated("name", "Default name of the definition."),
        column("code", "text", "Absence code."),
        *translated("friendlyName", "Name shown to users."),
        *translated("friendlyCode", "Code shown to users."),
        column("allowedDurations", "json", "Unknown | FullDay | HalfDay | Interval | Duration."),
        column("isEnabled", "bool", "Enabled in myProtime."),
        column("isReasonForClocking", "bool", "Usable as clocking reason."),
        column("absenceGroup.id", "bigint", "Absence group.", refers="absence-groups"),
    ),
)

ABSENCE_GROUPS = Collection(
    name="absence-groups",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/absences/absence-groups/get/",
    columns=(
        *KEYS,
        *translated("name", "Default name of the group."),
        column("type", "text", "Absence | WorkingElsewhere | Unknown."),
    ),
)
