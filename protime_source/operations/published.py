"""What is known of the copy for readers: whether it follows the runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dlt

from protime_source.configuration import ConfigSections
from protime_source.operations.lines import minute
from protime_source.pipeline.publishing import copy_path
from protime_source.warehouse.duckdb_copy import is_being_made, published_at


@dataclass(frozen=True)
class PublishedCopy:
    """The copy for readers.

    Attributes:
        path: Where it is.
        made_at: When it was made (UTC); `None` when there is none.
        problem: Why it is not as new as the warehouse; empty when it is.
    """

    path: str
    made_at: datetime | None
    problem: str

    def as_json(self) -> dict[str, Any]:
        """Returns all but the problem, with the moment as text."""
        made_at = self.made_at and self.made_at.isoformat(timespec="seconds")
        return {"path": self.path, "made_at": made_at}


def published_copy(
    pipeline: dlt.Pipeline, successes: Iterable[datetime | None], now: datetime
) -> PublishedCopy | None:
    """Returns the copy that the setting `publish_to` asks for; `None` when it asks for none.

    Args:
        pipeline: The pipeline.
        successes: When runs of each collection have last succeeded (UTC).
        now: The moment to look at it (UTC).
    """
    publish_to = ConfigSections(pipeline_name=pipeline.pipeline_name).value("publish_to")
    if not publish_to:
        return None
    copy = copy_path(str(publish_to))
    made_at = published_at(copy)
    newest = max((each for each in successes if each), default=None)
    problem = ""
    is_older = newest is not None and (made_at is None or made_at < newest)
    if newest is not None and is_older and not is_being_made(copy, pipeline.pipeline_name, now):
        of = f"is of {minute(made_at)}" if made_at else "does not exist"
        problem = (
            f"the copy for readers {of}, and the last success is of {minute(newest)}. The end of"
            " that run says why there is no newer copy."
        )
    return PublishedCopy(str(copy), made_at, problem)
