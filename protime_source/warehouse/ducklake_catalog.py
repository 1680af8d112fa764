"""The catalog of a DuckLake in Postgres, asked without DuckDB."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from dlt.destinations.impl.postgres.configuration import PostgresCredentials
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient

from protime_source.api.redaction import redact
from protime_source.errors import WarehouseError, first_line
from protime_source.warehouse.dialect import Client
from protime_source.warehouse.postgres import advisory_lock

SETTING = "[destination.ducklake.credentials] catalog"


class Catalog(Psycopg2SqlClient):
    """A connection to the database that has the catalog.

    Args:
        client: dlt's client of the DuckLake.
    """

    def __init__(self, client: Client) -> None:
        lake: Any = client.config.credentials
        sql = client.sql_client
        super().__init__(
            sql.dataset_name,
            sql.staging_dataset_name,
            PostgresCredentials(lake.catalog.to_native_representation()),
            sql.capabilities,
        )
        self._schema = str(lake.metadata_schema or lake.ducklake_name)

    def open_connection(self) -> Any:
        """Returns an open connection.

        Raises:
            WarehouseError: When there is none, with the setting to look at.
        """
        try:
            return super().open_connection()
        except psycopg2.Error as error:
            reason = redact(first_line(error)).strip().rstrip(".")
            raise WarehouseError(
                f"The catalog of the DuckLake cannot be opened: {reason}. Nothing was asked of"
                f" Protime. Check {SETTING}."
            ) from None

    def exists(self) -> bool:
        """Returns whether the database has a catalog; asking creates nothing."""
        with self:
            table = f'"{self._schema}".ducklake_metadata'
            return self.execute_sql("SELECT to_regclass(%s) IS NOT NULL", table) == [(True,)]

    def lock(self) -> AbstractContextManager[None]:
        """Returns a context that one run at a time on the dataset can be in."""
        return advisory_lock(self, f"{self._schema}|")
