"""The dlt source."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import dlt
from dlt.extract import DltResource

from protime_source.api.pages import Part
from protime_source.catalogue import COLLECTIONS
from protime_source.choices import wrong
from protime_source.pipeline import defaults
from protime_source.pipeline.hooks import Keeper
from protime_source.pipeline.package import Job
from protime_source.pipeline.resource import resource
from protime_source.settings import Settings
from protime_source.sync.session import Session

NAME = "protime"


@dlt.source(name=NAME, section=NAME, max_table_nesting=0)
def protime(
    *collections: str,
    max_pages: int | None = None,
    max_bytes: int | None = None,
    full_resync: bool = False,
    **settings: Any,
) -> Iterator[DltResource]:
    """The data of a Protime tenant, kept true by delta.

    The first run loads everything; each later one only what has changed since, deletes
    included. A run that fails changes nothing.

    Args:
        *collections: What to load, `"assignments", "people"` or `"all"`; by the setting
            `collections` when nothing is named, which is `assignments` unless set.
        max_pages: Stop a walk after this many pages; the next run goes on there. A delta
            answer is never split.
        max_bytes: The same, after this much JSON, whatever the size of a page.
        full_resync: Walk from the start, whatever is remembered.
        **settings: Any of `Settings`, in place of dlt's configuration.

    Yields:
        A resource for each collection; those that were not asked for are not selected.

    Raises:
        SettingsError: When a setting is missing or wrong.
    """
    for name, limit in (("max_pages", max_pages), ("max_bytes", max_bytes)):
        if limit is not None and (type(limit) is not int or limit < 1):
            raise wrong(name, limit, "a number from 1")
    if collections:
        settings["collections"] = collections
    resolved = Settings.from_config(**settings)
    yield from _resources(Job(Session(resolved), Part(max_pages, max_bytes), full_resync))


def _resources(job: Job, tables: Iterable[str] = COLLECTIONS) -> Iterator[DltResource]:
    for table in tables:
        yield resource(job.settings.collection(table), job)


source_of = dlt.source(_resources, name=NAME, section=NAME, max_table_nesting=0)
"""The source `protime` for a load that shares its session with others, and of some tables."""


class _TypeDifferenceFilter(logging.Filter):
    """Drops dlt's warning that JSON text goes into a json column: it is meant to."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps all but that."""
        text = record.getMessage()
        return not (
            "when merging arrow schema with dlt schema" in text
            and any(f"resource: {table}," in text for table in COLLECTIONS)
        )


def install() -> None:
    """Makes dlt know this source's defaults, and what to do around its loads."""
    defaults.install()
    logging.getLogger("dlt").addFilter(_TypeDifferenceFilter())
    Keeper(NAME, *COLLECTIONS.values()).install()
