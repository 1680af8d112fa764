"""Where wanted rows come from: dicts, anything that Arrow reads, files, and queries."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.destinations.exceptions import DatabaseException

from protime_source.errors import SettingsError, causes, first_line
from protime_source.warehouse.dialect import client_of, dialect_of

Rows = Iterable[Mapping[str, Any]] | str | Any
"""Dicts, an Arrow table or what becomes one (DuckDB, pandas, polars, a dlt relation), or SQL."""

RawRow = Mapping[str, Any]

BEYOND = "a value beyond the last column"
"""The column of what a line of CSV has too much."""

_OF_THE_QUERY = ("ProgrammingError", "DataError", "NotSupportedError", "BadRequest", "NotFound")
"""Errors of a query and not of the destination, by Python's names for all drivers and Google's."""


def read_rows(rows: Rows, pipeline: dlt.Pipeline) -> list[RawRow]:
    """Returns the rows as dicts.

    Args:
        rows: What the caller gave; a text is a query for the pipeline's destination.
        pipeline: The pipeline.

    Raises:
        SettingsError: When there are no rows in it.
        DestinationException: When the destination cannot be asked.
    """
    if isinstance(rows, str):
        return query_rows(rows, pipeline)
    if hasattr(rows, "__arrow_c_stream__"):
        try:
            return list(pa.table(rows).to_pylist())
        except (ValueError, OverflowError) as error:  # a day that Python does not hold
            reason = " ".join(str(error).split())
            raise SettingsError(f"The rows cannot be read: {reason}. Nothing was sent.") from error
    if callable(to_arrow := getattr(rows, "arrow", None)):
        return read_rows(to_arrow(), pipeline)
    if isinstance(rows, Iterable) and not isinstance(rows, Mapping):
        found = list(rows)
        if all(isinstance(row, Mapping) for row in found):
            return found
    raise SettingsError(
        "A push needs rows: dicts, an Arrow table, a relation or frame that Arrow can read, or a"
        " query as text. Nothing was sent."
    )


def query_rows(query: str, pipeline: dlt.Pipeline) -> list[RawRow]:
    """Returns the rows of a query on the warehouse; names without a dataset are in the pipeline's.

    Args:
        query: The query.
        pipeline: The pipeline.

    Raises:
        SettingsError: When the dataset does not exist, the destination does not understand the
            query, or it returns no rows.
        DestinationException: When the destination cannot be asked.
    """
    dialect, client = dialect_of(pipeline), client_of(pipeline)
    if not dialect.has_dataset(client):
        raise SettingsError(
            f"There is no {dialect.location(client)} to ask for rows. Nothing was sent."
        )
    try:
        with client.sql_client as sql, sql.execute_query(query) as cursor:
            if not cursor.description:
                raise SettingsError("The query returns no rows, not even none. Nothing was sent.")
            names = [str(column[0]) for column in cursor.description]
            return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    except DatabaseException as error:
        chain = list(causes(error))
        if not any(each.__name__ in _OF_THE_QUERY for e in chain for each in type(e).__mro__):
            raise
        reason = " ".join(first_line(chain[-1]).split()).rstrip(".! ")
        raise SettingsError(
            f"The rows cannot be read from {dialect.location(client)}: {reason}. Nothing was sent."
            " Correct the table or query."
        ) from error


def table_query(name: str, pipeline: dlt.Pipeline) -> str:
    """Returns the query for all rows of a table or view.

    Args:
        name: Its name in the pipeline's dataset, or with that of another dataset.
        pipeline: The pipeline.
    """
    sql = client_of(pipeline).sql_client
    return f"SELECT * FROM {name if '.' in name else sql.make_qualified_table_name(name)}"


def read_file(path: Path) -> list[RawRow]:
    """Returns the rows of a file: of Parquet by its name, else of CSV with a line of names.

    In CSV, `,`, `;` or a tab separates, and an empty value is no value.

    Args:
        path: The file.

    Raises:
        SettingsError: When it cannot be read.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return list(pq.read_table(path).to_pylist())
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max(",;\t", key=first.count)
            return [_without_blanks(row) for row in csv.DictReader(file, delimiter=separator)]
    # Arrow holds days that Python does not.
    except (OSError, ValueError, OverflowError, csv.Error, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise SettingsError(f"{path} cannot be read: {reason}. Nothing was sent.") from None


def _without_blanks(row: Mapping[str | None, Any]) -> RawRow:
    """A row of CSV; `None` names what is beyond the last column, which is said like any other."""
    return {BEYOND if name is None else name.strip(): value or None for name, value in row.items()}
