"""What a collection of Protime is: its name, scope, columns and filters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal
from urllib.parse import quote

API_PATH = "/connector/protimeapi/api/v1"

ColumnType = Literal["bigint", "text", "bool", "date", "json"]


@dataclass(frozen=True)
class Column:
    """A column, and the field of Protime's that fills it.

    Attributes:
        name: The column's name in the warehouse.
        path: The field in the JSON record, with dots between levels: `person.id`.
        type: dlt's data type; `json` keeps an array or object as Protime sent it.
        description: One line, which becomes the column's comment where the destination has them.
        writable: Whether a create or update takes it.
    """

    name: str
    path: str
    type: ColumnType
    description: str
    writable: bool = True


@dataclass(frozen=True)
class LevelsView:
    """A view with one row for each entry of an array column.

    Attributes:
        name: The view's name.
        column: The array column it unfolds.
        key: What the table's `id` is called in the view.
        columns: The view's columns: name, path in the entry, type.
    """

    name: str
    column: str
    key: str
    columns: tuple[tuple[str, str, ColumnType], ...]


@dataclass(frozen=True)
class Collection:
    """One collection of the API that offers a delta.

    Attributes:
        name: Protime's name, kebab-case, as it stands in paths and scopes.
        columns: The documented fields; `id` and `change_version` are always among them.
        date_column: The date column that the delta's date filter looks at.
        views: The views over its array columns.
        documentation: The page that the columns come from.
    """

    name: str
    columns: tuple[Column, ...]
    date_column: str
    views: tuple[LevelsView, ...] = ()
    documentation: str = ""

    @property
    def table(self) -> str:
        """Name of the table in the warehouse."""
        return self.name.replace("-", "_")

    @property
    def path(self) -> str:
        """Path of the list on the API host."""
        return f"{API_PATH}/{self.name}"

    @property
    def read_scope(self) -> str:
        """The scope that list, get and delta need (documentation: concepts/oauth2-scope-model)."""
        return f"connector-protimeapi-{self.name}.read"

    @property
    def write_scope(self) -> str:
        """The scope that create, update and delete need."""
        return f"connector-protimeapi-{self.name}.write"

    def delta_start(self, start: date) -> str:
        """The link that starts a delta (documentation: how-to/track-changes-with-delta).

        No end date: the window stays open into the future.
        """
        condition = quote(f"date ge '{start.isoformat()}'")
        return f"{self.path}?filter={condition}&delta"


ASSIGNMENTS = Collection(
    name="assignments",
    documentation="https://documentation.myprotime.eu/protimeapi/reference/collections/assignments/get-list/",
    date_column="from_date",
    columns=(
        Column("id", "id", "bigint", "Protime's id of the assignment.", writable=False),
        Column(
            "change_version",
            "changeVersion",
            "text",
            "Orders changes: compares as text, higher is newer.",
            writable=False,
        ),
        Column("is_rejected", "isRejected", "bool", "Whether it was rejected.", writable=False),
        Column("person_id", "person.id", "bigint", "The person the assignment is for."),
        Column("from_date", "from", "date", "First day, local date of the person."),
        Column("until_date", "until", "date", "Last day, local date of the person."),
        Column(
            "start_time_in_minutes",
            "startTimeInMinutes",
            "bigint",
            "Start in minutes since local midnight, -1440 to 2880.",
        ),
        Column(
            "end_time_in_minutes",
            "endTimeInMinutes",
            "bigint",
            "End in minutes since local midnight, -1440 to 2880.",
        ),
        Column(
            "break_duration_in_minutes",
            "breakDurationInMinutes",
            "bigint",
            "Length of the break in minutes.",
        ),
        Column("comments", "comments", "text", "Free text."),
        Column(
            "activity_levels",
            "activityLevels",
            "json",
            "Activity definition per level of the activity structure, as Protime sent it.",
        ),
    ),
    views=(
        LevelsView(
            name="assignments__activity_levels",
            column="activity_levels",
            key="assignment_id",
            columns=(
                ("level", "level", "bigint"),
                ("activity_definition_id", "activityDefinition.id", "text"),
            ),
        ),
    ),
)
