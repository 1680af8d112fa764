"""Protime in Airflow: one task that loads what has changed, twice a day.

Put this file into the folder of DAGs. One task loads all collections, because those of a tenant
share one pipeline, of which one run at a time is allowed.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException


@dag(
    schedule="17 5,17 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,  # one run brings all that has changed since the last success
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=10)},
)
def protime() -> None:
    """Keeps the warehouse true to Protime."""

    @task
    def load_changes() -> None:
        """Loads; what would end the same again is not retried."""
        # Imported here, because Airflow reads this file every 30 seconds.
        import dlt

        from protime_source import RefusedCollectionsError, SettingsError, VanishedRowsError, load

        pipeline = dlt.pipeline("protime", dataset_name="protime_data")
        try:
            print(load(pipeline))
        except (RefusedCollectionsError, SettingsError, VanishedRowsError) as error:
            raise AirflowFailException(str(error)) from error

    load_changes()


protime()
