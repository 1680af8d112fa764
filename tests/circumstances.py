"""What is true of one run's process alone: its clock, and the size of its packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest import mock

import pendulum
from dlt.common.storages import load_package
from dlt.common.time import increasing_precise_time

_now = pendulum.now


@dataclass(frozen=True)
class Circumstances:
    """The circumstances of a run.

    Attributes:
        clock_hours: How far its clock is ahead.
        package_bytes: JSON of a full load in one package; with it, each page is a batch.
    """

    clock_hours: int = 0
    package_bytes: int | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Makes them true as long as the context lasts."""
        replaced: dict[str, object] = {}
        if hours := self.clock_hours:
            replaced["pendulum.now"] = lambda tz=None: _now(tz).add(hours=hours)
            replaced[f"{load_package.__name__}.increasing_precise_time"] = lambda: (
                increasing_precise_time() + 3600 * hours
            )
        if self.package_bytes is not None:
            replaced["protime_source.pipeline.load.PACKAGE_BYTES"] = self.package_bytes
            replaced["protime_source.sync.prefetch.BATCH_BYTES"] = 1
        with ExitStack() as stack:
            for name, value in replaced.items():
                stack.enter_context(mock.patch(name, value))
            yield
