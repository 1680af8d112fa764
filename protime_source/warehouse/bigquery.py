"""BigQuery: its SQL, without row ids and with JSON as text."""

from __future__ import annotations

import warnings
from collections.abc import Collection as Names
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, ClassVar

from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.sql_client import SqlClientBase

from protime_source.catalogue.model import ColumnType
from protime_source.warehouse.dialect import ROW_KEY, Client, Comments, Dialect, json_path
from protime_source.warehouse.lease import Lease


class BigQuery(Dialect):
    """BigQuery. It has no row id, and takes no JSON from Parquet, so JSON is stored as text."""

    name = "bigquery"
    sql = "bigquery"
    json_type = "text"
    is_billed = True
    requires = ("google.cloud.bigquery",)
    drivers = ("google.",)
    types: ClassVar[dict[ColumnType, str]] = {"bigint": "INT64", "text": "STRING"}
    timestamp_type = "TIMESTAMP"
    table_hints: ClassVar[dict[str, Any]] = {"x-bigquery-cluster-columns": ["id"]}
    package_factor = 8  # each merge is billed the whole table

    def check(self, client: Client) -> None:
        """Silences Google's warning that its client reads results over REST; refuses nothing."""
        warnings.filterwarnings("ignore", "Cannot create BigQuery Storage client")

    def one_run(self, client: Client, holder: str) -> AbstractContextManager[None]:
        """Returns a context that holds a lease on the dataset."""
        return Lease(client, holder).held()

    def location(self, client: Client) -> str:
        """Returns the project and its dataset, because dlt's location is only the region."""
        project = client.sql_client.project_id
        return f"project {project}, dataset {client.sql_client.dataset_name}"

    def definitions(self, client: SqlClientBase[Any], names: Names[str]) -> dict[str, str]:
        """Returns the definitions, from the service's lists: a query would be billed."""
        # Imported here because it is only there where BigQuery is the destination.
        from google.api_core.exceptions import GoogleAPIError

        service = client.native_connection
        dataset = client.fully_qualified_dataset_name(quote=False)
        try:
            found = [each for each in service.list_tables(dataset) if each.table_id in names]
            return {
                each.table_id: (
                    service.get_table(each.reference).view_query or ""
                    if each.table_type == "VIEW"
                    else ""
                )
                for each in found
            }
        except GoogleAPIError as error:
            raise DatabaseTransientException(error) from error

    def write_comments(self, client: SqlClientBase[Any], comments: Comments) -> None:
        """Writes those that differ with one update for each table.

        BigQuery allows five updates of a table in ten seconds, and bills a query of its schema.
        """
        # Imported here because it is only there where BigQuery is the destination.
        from google.api_core.exceptions import GoogleAPIError

        try:
            for name in {name for name, _ in comments}:
                _describe(client, name, comments)
        except GoogleAPIError as error:
            raise DatabaseTransientException(error) from error

    def row_key(self, row: str) -> str:
        """Returns the columns that differ between all rows of a load package.

        A load job is never repeated: its id is its file's name, and BigQuery refuses a duplicate.
        A table's path cannot qualify a column, so the statement calls the table by its last part.
        """
        table_name = row.rpartition(".")[2]
        fields = ", ".join(f"{table_name}.{name} AS {name}" for name in ROW_KEY)
        return f"TO_JSON_STRING(STRUCT({fields}))"

    def timestamp(self, moment: datetime) -> str:
        """Returns a literal."""
        return f"TIMESTAMP '{moment.isoformat()}'"

    def json_text(self, column: str) -> str:
        """Returns the column, which is text."""
        return column

    def _entries(self, column: str) -> str:
        array = f"JSON_QUERY_ARRAY(SAFE.PARSE_JSON({column}, wide_number_mode => 'round'))"
        return f"UNNEST({array}) AS entry"

    def _entry_value(self, path: str, kind: str) -> str:
        return f"SAFE_CAST(JSON_VALUE(entry, '{json_path(path)}') AS {kind})"


def _describe(client: SqlClientBase[Any], name: str, comments: Comments) -> None:
    """Sets descriptions of a table or view, unless it does not exist or has them."""
    from google.api_core.exceptions import NotFound

    service = client.native_connection
    try:
        table = service.get_table(client.make_qualified_table_name(name, quote=False))
    except NotFound:
        return
    fields = [
        type(field).from_api_repr({**field.to_api_repr(), "description": description})
        if (description := comments.get((name, field.name), field.description))
        else field
        for field in table.schema
    ]
    text = comments.get((name, ""), table.description)
    if (table.description, table.schema) != (text, fields):
        table.description, table.schema = text, fields
        service.update_table(table, ["description", "schema"])
