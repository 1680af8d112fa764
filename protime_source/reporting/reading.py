"""Reads the models of a dataset without creating them: each query carries their SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import dlt
import sqlglot
from dlt.destinations.sql_client import SqlClientBase

from protime_source.api.redaction import redacted_errors
from protime_source.catalogue import COLLECTIONS
from protime_source.errors import WarehouseError
from protime_source.models import MODELS
from protime_source.models.model import TIME_ZONE
from protime_source.models.render import render
from protime_source.models.views import missing_tables
from protime_source.warehouse.dialect import Dialect, client_of, dialect_of
from protime_source.warehouse.ledger import TABLE, LedgerTable

Row = dict[str, Any]

OF_PEOPLE = ("assignments", "clockings", "absences")
"""The tables of which a selection of people takes a part."""

_WEEKS_BEFORE, _WEEKS_AFTER = 8, 4


def day_of(moment: datetime) -> date:
    """Returns the day that the models call today at a moment (with a zone)."""
    return moment.astimezone(ZoneInfo(TIME_ZONE)).date()


@dataclass(frozen=True)
class Selection:
    """What is looked at.

    Attributes:
        first_day: The first day.
        last_day: The last day.
        person_id: One person alone.
        department_id: The people alone who were in a department on one of the days.
    """

    first_day: date
    last_day: date
    person_id: int | None = None
    department_id: int | None = None

    @classmethod
    def around(cls, today: date) -> Selection:
        """Returns the week of a day with the eight weeks before it and the four after it."""
        monday = today - timedelta(days=today.weekday())
        first_day = monday - timedelta(weeks=_WEEKS_BEFORE)
        return cls(first_day, monday + timedelta(weeks=_WEEKS_AFTER, days=6))

    @property
    def days(self) -> str:
        """A condition of SQL on the column `day`."""
        return f"day BETWEEN DATE '{self.first_day}' AND DATE '{self.last_day}'"


@dataclass(frozen=True)
class Dataset:
    """A dataset that is only read.

    Attributes:
        name: Its name.
        engine: Sqlglot's name of the engine's SQL.
        tables: The tables and views that it has, of those that are read here.
        last_success: When each table was last loaded successfully (UTC).
    """

    name: str
    engine: str
    tables: frozenset[str]
    last_success: dict[str, datetime]
    _client: SqlClientBase[Any]
    _dialect: Dialect

    def missing(self, model: str) -> tuple[str, ...]:
        """Returns the tables without which there is no model, as far as they are not loaded."""
        return missing_tables(MODELS[model], {*self.tables})

    def qualified(self, table: str) -> str:
        """Returns the quoted, qualified name of a table."""
        return self._client.make_qualified_table_name(table)

    def moment(self, day: date) -> str:
        """Returns the beginning of a day (UTC) for SQL."""
        return self._dialect.timestamp(datetime.fromisoformat(f"{day}T00:00:00+00:00"))

    def query(self, model: str, text: str, selection: Selection) -> str:
        """Returns a query on a model as one that needs no view: each model is a part of it.

        Args:
            model: The model that it reads.
            text: The query, in SQL that all engines understand.
            selection: Its people; the days are a matter of the text.
        """
        people = self.people(selection)
        parts = [
            f"{table} AS (SELECT * FROM {self.qualified(table)} WHERE {people})"
            for table in OF_PEOPLE
            if people and table in self.tables
        ]
        inner = {*OF_PEOPLE} if people else set[str]()
        existing = {*self.tables}
        for name in _read_by(model):
            if self.missing(name):
                continue
            rendered = render(
                MODELS[name],
                self.engine,
                existing,
                lambda table: table if table in inner else self.qualified(table),
            )
            parts.append(f"{name} AS ({rendered.query})")
            existing.add(name)
            inner.add(name)
        return self.formatted(f"WITH {', '.join(parts)} {text}")

    def people_by_name(self) -> dict[str, int]:
        """Returns the ids of the live people by their names; none unless people is loaded."""
        if "people" not in self.tables:
            return {}
        found = self.rows(
            f"SELECT id, last_name, first_name FROM {self.qualified('people')} WHERE NOT is_deleted"
        )
        return _by_name(
            (" ".join(filter(None, (row["last_name"], row["first_name"]))), row["id"])
            for row in found
        )

    def departments_by_name(self) -> dict[str, int]:
        """Returns the ids of the live departments by their names; none unless they are loaded."""
        if not {"departments", "department_histories"} <= self.tables:
            return {}
        found = self.rows(
            f"SELECT id, name FROM {self.qualified('departments')} WHERE NOT is_deleted"
        )
        return _by_name((row["name"], row["id"]) for row in found)

    def people(self, selection: Selection, column: str = "person_id") -> str:
        """Returns the condition that a column holds one of the people; "" when all are meant."""
        conditions = []
        if selection.person_id is not None:
            conditions.append(f"{column} = {selection.person_id}")
        if selection.department_id is not None:
            conditions.append(
                f"{column} IN (SELECT h.person_id"
                f" FROM {self.qualified('department_histories')} AS h"
                f" WHERE NOT h.is_deleted AND h.department_id = {selection.department_id}"
                f" AND h.from_date <= DATE '{selection.last_day}'"
                f" AND (h.until_date IS NULL OR h.until_date >= DATE '{selection.first_day}'))"
            )
        return " AND ".join(conditions)

    def formatted(self, query: str) -> str:
        """Returns a query in lines, as a person reads it and as it is run."""
        return sqlglot.parse_one(query, read=self.engine).sql(self.engine, pretty=True)

    def rows(self, query: str) -> list[Row]:
        """Returns the rows of a query; whole numbers as such on every engine.

        Raises:
            DestinationException: When the destination refuses.
        """
        with self._client.execute_query(query) as cursor:
            names = [column[0] for column in cursor.description]
            return [
                {
                    name: int(value) if isinstance(value, Decimal) else value
                    for name, value in zip(names, values, strict=True)
                }
                for values in cursor.fetchall()
            ]


@contextmanager
def open_dataset(pipeline: dlt.Pipeline) -> Iterator[Dataset]:
    """Opens the dataset of a pipeline for reading; nothing is created or changed.

    Args:
        pipeline: The pipeline that the warehouse is loaded with.

    Raises:
        WarehouseError: When there is no dataset, or its destination is not supported or installed.
        DestinationException: When the destination refuses; `explain` says why.
    """
    dialect, client = dialect_of(pipeline), client_of(pipeline)
    with redacted_errors(), dialect.reading(client):
        if not dialect.has_dataset(client):
            raise WarehouseError(
                f"There is nothing to draw: {dialect.location(client)} does not exist. Nothing was"
                " written. Run `protime run` first."
            )
        entries = LedgerTable(client, dialect).newest_by_outcome()
        with client.sql_client as sql:
            read = {name for each in MODELS.values() for name in (*each.needs, *each.uses)}
            names = (read | COLLECTIONS.keys() | {TABLE}) - MODELS.keys()
            yield Dataset(
                name=str(sql.dataset_name),
                engine=dialect.sql,
                tables=frozenset(dialect.definitions(sql, names)),
                last_success={
                    each["table_name"]: each["ended_at"]
                    for each in entries
                    if each["outcome"] == "succeeded" and each["ended_at"]
                },
                _client=sql,
                _dialect=dialect,
            )


def _by_name(found: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    """In the order of the names; two of one name are told apart by their ids."""
    pairs = sorted((name or "", id_) for name, id_ in found)
    names = Counter(name for name, _ in pairs)
    return {
        name if name and names[name] == 1 else f"{name} ({id_})".strip(): id_ for name, id_ in pairs
    }


def _read_by(model: str) -> list[str]:
    """A model and all that it reads, each after those that it reads."""
    names = {model}
    for name, each in reversed(MODELS.items()):
        if name in names:
            names |= {*each.needs, *each.uses}
    return [name for name in MODELS if name in names]
