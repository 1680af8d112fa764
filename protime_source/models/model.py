"""What a model is: a view for analysts, with what a row and each column means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ModelColumnType = Literal["bigint", "text", "bool", "date", "double", "timestamp"]


@dataclass(frozen=True)
class ModelColumn:
    """A column of a model.

    Attributes:
        name: Its name.
        type: dlt's data type.
        description: What it means, in one line, with its unit.
        refers: The table whose id it holds.
    """

    name: str
    type: ModelColumnType
    description: str
    refers: str = ""


@dataclass(frozen=True)
class Model:
    """A view for analysts.

    Attributes:
        name: The view's name.
        grain: What a row is, in one line.
        columns: What the query selects, in its order.
        needs: The tables, views and other models that it cannot be without.
        uses: The tables that it reads when they are loaded; without them, what it takes from them
            is empty.
        assumptions: How it reads what Protime's documentation leaves open, a sentence each.
        question: A question that it answers.
        example: The SQL that answers it, in the dataset.
        query: Its SQL, in BigQuery's dialect: the engine that no test can run for real gets what
            was written for it, and sqlglot translates it for the others. A column of a table in
            `uses` is qualified.
    """

    name: str
    grain: str
    columns: tuple[ModelColumn, ...]
    needs: tuple[str, ...]
    uses: tuple[str, ...]
    assumptions: tuple[str, ...]
    question: str
    example: str
    query: str


TIME_ZONE = "Europe/Brussels"
"""The zone of today, and of local times beside a moment; Protime's documentation names none."""

TODAY = f"CAST(DATETIME(CURRENT_TIMESTAMP(), '{TIME_ZONE}') AS DATE)"
"""The present day: the same for every reader, whatever zone the server or the session has."""

ASSIGNMENT = ModelColumn("assignment_id", "bigint", "The assignment.", refers="assignments")
PERSON = ModelColumn("person_id", "bigint", "The person.", refers="people")
ACTIVITY = (
    ModelColumn(
        "activity_definition_id",
        "text",
        "The activity on the deepest level that is given; empty without one.",
        refers="activity_definitions",
    ),
    ModelColumn(
        "activity", "text", "Name of the activity; empty unless activity_definitions is loaded."
    ),
)
"""Columns that several models share."""
