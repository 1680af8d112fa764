"""Columns that several collections share."""

from __future__ import annotations

from protime_source.catalogue.model import ArrayView, Column, column, column_name

_VERSION = column(
    "changeVersion", "text", "Version of the record. Compares as text; a higher one is newer."
)
KEYS = (column("id", "bigint", "Protime's id; primary key."), _VERSION)
GUID_KEYS = (column("id", "text", "Protime's id, a GUID; primary key."), _VERSION)
PERSON = column("person.id", "bigint", "The person.", refers="people")
DATE = column("date", "date", "The day, as a local date of the person.")
PERIOD = (
    column("from", "date", "First day.", name="from_date"),
    column("until", "date", "Last day; empty while the period has no end.", name="until_date"),
)
PERIOD_TYPE = column("periodType", "text", "Unknown, Day, Week or PayPeriod.")
REQUEST = column("request.id", "text", "The request behind the record, if there was one.")
IS_AUTHORIZED = column("isAuthorized", "bool", "Whether it is authorised.")
ACTIVITY_LEVELS = column(
    "activityLevels",
    "json",
    "Activity definition for each level of the activity structure, as Protime sent it.",
)


def shift(description: str) -> Column:
    """The column of a shift definition."""
    return column("shiftDefinition.id", "bigint", description, refers="shift-definitions")


def translated(field: str, description: str) -> tuple[Column, Column]:
    """A text in the default language, and its translations by language code."""
    text = column(f"{field}.default", "text", description, name=column_name(field))
    translations = column(
        f"{field}.translations", "json", f"Translations of `{text.name}` by language code (en-GB)."
    )
    return text, translations


def levels_view(key: str) -> ArrayView:
    """The view over `activity_levels`, with one row per level."""
    return ArrayView(
        "activity_levels",
        key,
        (
            column("level", "bigint", "The level in the activity structure."),
            column(
                "activityDefinition.id",
                "text",
                "The activity definition on this level.",
                refers="activity-definitions",
            ),
        ),
    )
