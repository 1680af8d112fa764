"""Clockings, at the clock and at the door."""

from __future__ import annotations

from protime_source.catalogue.fields import ACTIVITY_LEVELS, DATE, KEYS, PERSON, levels_view
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
            "Minutes since midnight, -1440..2880; values outside 0..1439 force previous/next day.",
        ),
        column(
            "originalTimeOfDayInMinutes",
            "bigint",
            "Time as first registered; present only after an edit.",
        ),
        column("calculatedTimeOfDayInMinutes", "bigint", "Time after corrections/calculation."),
        column("isGenerated", "bool", "Made by the system."),
        column("terminal.id", "bigint", "Terminal.", refers="terminals"),
        column("geolocation.longitude", "double", "Longitude.", sensitive=True),
        column("geolocation.latitude", "double", "Latitude.", sensitive=True),
        column("kind", "text", "InOut | Reason | Activity | ActivityEnd."),
        column(
            "reason.id",
            "bigint",
            "Only for kind Reason (refers to an absence definition).",
            refers="absence-definitions",
        ),
        column("isOpen", "bool", "Only for kind Reason."),
        ACTIVITY_LEVELS,
        column("status", "text", "Unknown | Active | Deleted (Deleted = soft-deleted)."),
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
        column("timeOfDayInMinutes", "bigint", "0..1439 only."),
        column("terminal.id", "bigint", "Terminal.", refers="terminals"),
        column(
            "status",
            "text",
            "AccessOk | AccessRefused | WrongPinCode | AlarmCode | AntiPassbackError | OutZone"
            " | UnknownBadgeNumber.",
        ),
    ),
)
