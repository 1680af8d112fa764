"""The listener: one loop that keeps the webhooks alive and starts run after run."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from protime_source.errors import (
    AlreadyRunningError,
    AuthenticationError,
    OtherTenantError,
    ProtimeError,
    PublishError,
    RefusedCollectionsError,
    SettingsError,
    VanishedRowsError,
    causes,
)
from protime_source.pipeline.failures import Failure, explain
from protime_source.pipeline.summary import Summary
from protime_source.webhooks.memory import Memory
from protime_source.webhooks.metrics import Metrics
from protime_source.webhooks.registration import Registration
from protime_source.webhooks.schedule import Due, Schedule
from protime_source.webhooks.server import Server, doorbell
from protime_source.webhooks.signature import Signatures

logger = logging.getLogger(__name__)

INTERVALS_UNTIL_OUTDATED = 3
"""A table is outdated when this many intervals have passed since its last success."""

_SHORTEST_PAUSE_SECONDS = 0.5

_PARTLY_LOADED = (RefusedCollectionsError, VanishedRowsError)

_NEVER_HEALS = (AuthenticationError, OtherTenantError)
"""What only a person can change, so that a listener that meets it in its first run ends."""

_WRITTEN = ("inserted", "updated", "soft_deleted")

Load = Callable[[Due], Summary]
"""Loads the tables of a run, as `protime run` does."""


class Listener:
    """Runs at once when a webhook rings, and at a fixed interval besides.

    Args:
        tables: The tables to keep up to date.
        load: Does a run, on the thread that calls `listen`.
        registration: The webhooks at Protime.
        memory: What is remembered of them.
        every: Seconds between two runs of all tables.
        pause: Seconds at least between the starts of two runs.
        host: The address to bind.
        port: The TCP port; 0 takes a free one.

    Attributes:
        port: The port that it listens on.

    Raises:
        ProtimeError: When the port cannot be used.
    """

    def __init__(
        self,
        tables: tuple[str, ...],
        load: Load,
        registration: Registration,
        memory: Memory,
        *,
        every: float,
        pause: float,
        host: str,
        port: int,
    ) -> None:
        self._load, self._registration, self._every = load, registration, every
        self._schedule = Schedule(tables, every=every, pause=pause)
        self._metrics = Metrics(tables, max_age=INTERVALS_UNTIL_OUTDATED * every)
        signatures = Signatures(lambda: memory.webhooks)
        application = doorbell(memory.path, tables, self._schedule.ring, signatures, self._metrics)
        self._server = Server(application, host, port)
        self.port = self._server.port

    def listen(self) -> Failure | None:
        """Serves and loads until `stop` is called.

        Returns:
            Why the first run failed, when only a person can change that: a wrong setting, wrong
            credentials, another tenant's rows. Nothing else ends it.
        """
        register_at = -math.inf
        with self._server:
            logger.info("Listening on port %d.", self.port)
            while not self._schedule.is_stopped:
                if time.monotonic() >= register_at:
                    register_at = self._register()
                due = self._schedule.wait(register_at)
                if due is None:
                    continue
                if failure := self._run(due):
                    return failure
        return None

    def stop(self) -> None:
        """Makes `listen` return when the run that is under way has ended."""
        self._schedule.stop()

    def _register(self) -> float:
        """Keeps the webhooks alive, and returns when to do it again (`time.monotonic`)."""
        try:
            # Protime may hold what these changed before they had a webhook.
            self._schedule.ring(self._registration.sync())
        except ProtimeError as error:
            logger.warning("The webhooks could not be kept alive: %s", error)
        self._metrics.listening = self._registration.listening
        until_renewal = max(self._registration.renew_at - time.time(), _SHORTEST_PAUSE_SECONDS)
        return time.monotonic() + min(self._every, until_renewal)

    def _run(self, due: Due) -> Failure | None:
        """Loads, tells what came of it, and returns why the listener ends, if it does."""
        self._metrics.begun(due.cause)
        started = time.monotonic()
        failure, summary, again, is_last = None, None, due.tables, False
        try:
            summary = self._load(due)
        except PublishError as error:
            failure = explain(error)  # the tables count as failed, because readers do not see them
        except _PARTLY_LOADED as error:
            # Only a person can change that, so it waits for the interval.
            failure, summary, again = explain(error), error.summary, ()
        except Exception as error:
            failure = explain(error)
            is_setting = failure.exit_code == SettingsError.exit_code
            never_heals = is_setting or any(isinstance(e, _NEVER_HEALS) for e in causes(error))
            is_last = due.cause == "start" and never_heals
        seconds = time.monotonic() - started
        tables = summary.tables if summary else {}
        loaded = {
            name: (sum(table.counts[each] for each in _WRITTEN), table.live_rows)
            for name, table in tables.items()
        }
        skipped = failure is not None and failure.exit_code == AlreadyRunningError.exit_code
        self._metrics.ended(
            due.cause,
            "skipped" if skipped else "failed" if failure else "succeeded",
            seconds,
            loaded=loaded,
            failed=() if skipped else [name for name in due.tables if name not in loaded],
        )
        if is_last:
            return failure
        if failure is None:
            self._schedule.succeeded()
        else:
            backoff = self._schedule.failed(again)
            when = f"Tried again in {backoff:.0f} s." if again else "Tried again at the interval."
            logger.warning("%s %s", failure.message, when)
        if summary:
            extra = {"event": "summary", "cause": due.cause, **summary.as_json()}
            logger.info("%s: %s in %.1f s", due.cause, _changes(summary), seconds, extra=extra)
        return None


def _changes(summary: Summary) -> str:
    """What a run wrote, in a line."""
    found = []
    for name, table in summary.tables.items():
        counts = (f"{table.counts[each]:,} {each}" for each in _WRITTEN if table.counts[each])
        if text := ", ".join(counts).replace("soft_deleted", "deleted"):
            found.append(f"{name} {text}")
    names = [*summary.tables]
    nothing = f"no changes in {names[0] if len(names) == 1 else f'{len(names)} tables'}"
    return "; ".join(found) or nothing
