"""Counters, and what they count."""

from __future__ import annotations

from protime_source.catalogue.fields import DATE, KEYS, PERSON, translated
from protime_source.catalogue.model import Collection, column

COUNTERS = Collection(
    name="counters",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/counters/counter-instances/get-list/",
    date_column="date",
    references=("people", "counter-definitions"),
    columns=(
        *KEYS,
        column(
            "shiftDefinition.id",
            "bigint",
            "Shift, if linked and not inherited.",
            refers="shift-definitions",
        ),
        column("numberOfInstances", "bigint", "Number of instances."),
        column("request.id", "text", "If requested."),
        column("status", "text", "Unknown | Auto | Manual | Calendar."),
        column("isAuthorized", "bool", "Authorised."),
        PERSON,
        column("periodType", "text", "Unknown | Day | Week | PayPeriod."),
        column("counterDefinition.id", "bigint", "Definition.", refers="counter-definitions"),
        DATE,
        column("startTimeInMinutes", "bigint", "Start."),
        column("endTimeInMinutes", "bigint", "End."),
        column("durationInMinutes", "bigint", "Duration."),
    ),
)

COUNTER_DEFINITIONS = Collection(
    name="counter-definitions",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/counters/counter-definitions/get/",
    references=("counter-definitions",),
    columns=(
        *KEYS,
        *translated("name", "Default name of the definition."),
        column("code", "text", "Counter code."),
        *translated("friendlyName", "Name shown to users."),
        *translated("friendlyCode", "Code shown to users."),
        column("isEnabled", "bool", "Enabled."),
        column("counterGroup.id", "bigint", "Group.", refers="counter-groups"),
        column("unit", "text", "Unknown | Interval | Duration | Instance."),
    ),
)

COUNTER_GROUPS = Collection(
    name="counter-groups",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/counters/counter-groups/get/",
    columns=(
        *KEYS,
        *translated("name", "Default name of the group."),
    ),
)
