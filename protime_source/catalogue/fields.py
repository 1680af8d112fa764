"""Columns that many collections share."""

from __future__ import annotations

from protime_source.catalogue.model import ArrayView, Column, column

_VERSION = Column(
    "change_version", "changeVersion", "text", "Orders changes: compares as text, higher is newer."
)
KEYS = (Column("id", "id", "bigint", "Protime's id."), _VERSION)
GUID_KEYS = (Column("id", "id", "text", "Protime's id, a GUID."), _VERSION)
PERSON = column("person.id", "bigint", "The person.", refers="people")
DATE = column("date", "date", "The day, local date of the person.")
PERIOD = (
    column("from", "date", "First day.", name="from_date"),
    column("until", "date", "Last day; empty while it goes on.", name="until_date"),
)
ACTIVITY_LEVELS = column(
    "activityLevels",
    "json",
    "Activity definition per level of the activity structure, as Protime sent it.",
)


def translated(field: str, description: str) -> tuple[Column, Column]:
    """A text in the default language, and its translations by language code."""
    text = column(f"{field}.default", "text", description, name=column(field, "text", "").name)
    return text, column(f"{field}.translations", "json", "The same by language code, like en-GB.")


def levels_view(key: str) -> ArrayView:
    """The view over `activity_levels`."""
    columns = (("level", "level", "bigint"), ("activity_definition_id", _DEFINITION, "text"))
    return ArrayView("activity_levels", key, columns)  # type: ignore[arg-type]


_DEFINITION = "activityDefinition.id"
