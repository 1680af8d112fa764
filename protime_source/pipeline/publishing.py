"""The copy for readers, which follows a run: `publish_to`."""

from __future__ import annotations

import os
from pathlib import Path

import dlt

from protime_source.errors import PublishError, SettingsError, WarehouseError
from protime_source.settings import Settings
from protime_source.warehouse.dialect import Client, Dialect, client_of, dialect_of
from protime_source.warehouse.duckdb_copy import check_copy, publish_copy


def copy_path(publish_to: str) -> Path:
    """Returns the copy's path, seen from the current folder; a link leads to what it names."""
    return Path(os.path.realpath(publish_to))


def check_publishing(settings: Settings, dialect: Dialect, client: Client) -> None:
    """Refuses a `publish_to` that can never work; what may be mended meanwhile is no reason.

    Args:
        settings: The settings of the run.
        dialect: The destination's.
        client: A client of the destination.

    Raises:
        SettingsError: When it can never work.
    """
    if not settings.publish_to:
        return
    if not dialect.is_file:
        raise SettingsError(
            f"publish_to is set, but the destination is {dialect.name}, and only DuckDB's file is"
            f" copied: {dialect.name} can be read while a run works. Nothing was changed. Remove"
            " publish_to, or set it for the pipeline that loads into DuckDB alone."
        )
    dataset = str(client.sql_client.dataset_name)
    check_copy(dialect.local_file(client), copy_path(settings.publish_to), dataset)


def publish(pipeline: dlt.Pipeline, settings: Settings) -> str:
    """Replaces the copy for readers, and returns its path; "" when none is wanted.

    Args:
        pipeline: The pipeline, whose run has ended.
        settings: The settings of the run.

    Raises:
        PublishError: When there is no new copy; the old one is as it was.
    """
    if not settings.publish_to:
        return ""
    copy = copy_path(settings.publish_to)
    try:
        client = client_of(pipeline, settings.lock_timeout)
        if file := dialect_of(pipeline).local_file(client):
            dataset = str(client.sql_client.dataset_name)
            publish_copy(file, client.config.credentials, copy, pipeline.pipeline_name, dataset)
    except WarehouseError as error:
        raise PublishError(str(error)) from error
    return str(copy)
