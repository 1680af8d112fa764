"""Protime in Dagster: an asset for each table, loaded twice a day by one step.

    dagster dev -f dagster_definitions.py

All tables are loaded by one step because the collections of a tenant share one pipeline, of which
one run at a time is allowed. Dagster can still materialize any of them alone.
"""

# Without `from __future__ import annotations`: Dagster reads the type of `context`.
from collections.abc import Iterator

import dagster as dg
import dlt

from protime_source import RefusedCollectionsError, SettingsError, VanishedRowsError, load, protime

DATASET = "protime_data"
# What the setting `collections` names; nothing is asked of Protime, and no secret is needed.
TABLES = tuple(protime().selected_resources)


@dg.multi_asset(
    specs=[dg.AssetSpec([DATASET, table], kinds={"dlt"}) for table in TABLES],
    can_subset=True,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=600),
)
def protime_tables(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    """Loads what has changed in Protime since the last run."""
    pipeline = dlt.pipeline("protime", dataset_name=DATASET)  # into dlt's `destination_type`
    wanted = {key.path[-1] for key in context.selected_asset_keys}
    failure = None
    try:
        summary = load(pipeline, collections=[table for table in TABLES if table in wanted])
    except SettingsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    except (RefusedCollectionsError, VanishedRowsError) as error:
        # All others are loaded, and another try would end the same.
        summary, failure = error.summary, dg.Failure(str(error), allow_retries=False)
    for table, done in summary.tables.items():
        yield dg.MaterializeResult(
            asset_key=[DATASET, table],
            metadata={"dagster/row_count": done.live_rows, **done.counts},
        )
    if failure:
        raise failure


twice_a_day = dg.define_asset_job("protime", [protime_tables])

defs = dg.Definitions(
    assets=[protime_tables],
    jobs=[twice_a_day],
    schedules=[
        dg.ScheduleDefinition(
            job=twice_a_day,
            cron_schedule="17 5,17 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
        )
    ],
)
