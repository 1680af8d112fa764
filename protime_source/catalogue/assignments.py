"""What people are planned to do."""

from __future__ import annotations

from protime_source.catalogue.fields import KEYS, levels_view
from protime_source.catalogue.model import Collection, column

ASSIGNMENTS = Collection(
    name="assignments",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/assignments/get-list/",
    date_column="from_date",
    references=("people", "activity-definitions"),
    views=(levels_view("assignment_id"),),
    columns=(
        *KEYS,
        column("isRejected", "bool", "Whether it was rejected."),
        column("person.id", "bigint", "The person the assignment is for.", refers="people"),
        column("from", "date", "First day, local date of the person.", name="from_date"),
        column("until", "date", "Last day, local date of the person.", name="until_date"),
        column(
            "startTimeInMinutes", "bigint", "Start in minutes since local midnight, -1440 to 2880."
        ),
        column("endTimeInMinutes", "bigint", "End in minutes since local midnight, -1440 to 2880."),
        column("breakDurationInMinutes", "bigint", "Length of the break in minutes."),
        column("comments", "text", "Free text."),
        column(
            "activityLevels",
            "json",
            "Activity definition per level of the activity structure, as Protime sent it.",
        ),
    ),
)
