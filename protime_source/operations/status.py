"""What the destination says of the warehouse: rows, last runs, and when each delta expires."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dlt
import pendulum

from protime_source.api.redaction import redacted_errors
from protime_source.catalogue import COLLECTIONS
from protime_source.errors import UnhealthyError
from protime_source.operations.lines import minute
from protime_source.operations.published import PublishedCopy, published_copy
from protime_source.pipeline.states import (
    NAME,
    committed_state,
    other_states,
    resource_states,
    stored_states,
)
from protime_source.pipeline.text import text_table, wrap
from protime_source.settings import invalid_setting
from protime_source.sync.bookmark import Bookmark
from protime_source.warehouse.dialect import Client, Dialect, client_of, dialect_of
from protime_source.warehouse.ledger import LedgerTable
from protime_source.warehouse.own_table import Entry
from protime_source.warehouse.table import count_rows

_OUTCOMES = ("failed", "refused", "running", "succeeded")
"""From the worst to the best; a run has the worst of its collections."""

_MODES = ("first load", "full load", "changes", "snapshot")
"""From the most thorough to the least."""


@dataclass(frozen=True)
class CollectionStatus:
    """What the destination says of one collection.

    Attributes:
        collection: Protime's name.
        table_name: Its table.
        live_rows: Rows that are not soft-deleted; `None` when the table does not exist.
        deleted_rows: Soft-deleted rows; `None` when the table does not exist.
        last_success_at: When the last successful run of it ended (UTC).
        last_outcome: `succeeded`, `failed` or `refused`, of the last run that has ended; `running`
            while the first one runs.
        last_error: Why that run failed.
        delta_expires_at: When the delta expires unless a run uses it before (UTC).
        hours_left: Hours until then, negative after it; `None` without a delta.
        problem: Why it is unhealthy and what to do, without its name; empty when it is healthy.
    """

    collection: str
    table_name: str
    live_rows: int | None
    deleted_rows: int | None
    last_success_at: datetime | None
    last_outcome: str | None
    last_error: str | None
    delta_expires_at: datetime | None
    hours_left: float | None
    problem: str

    def as_json(self) -> dict[str, Any]:
        """Returns all but the problem, with moments as text."""
        return {name: _as_json(value) for name, value in vars(self).items() if name != "problem"}


@dataclass(frozen=True)
class PastRun:
    """What the ledger says of one run.

    Attributes:
        started_at: When it began (UTC).
        ended_at: When it ended (UTC); `None` while it runs.
        mode: How it loaded: the most thorough mode of its collections; empty if none began.
        outcome: The worst outcome of its collections.
        errors: Why collections were not loaded, each reason once.
        succeeded: Its collections that succeeded.
        collections: All its collections.
        counts: Records received and rows written, by column of the ledger.
    """

    started_at: datetime
    ended_at: datetime | None
    mode: str
    outcome: str
    errors: tuple[str, ...]
    succeeded: int
    collections: int
    counts: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """Returns all of it, with moments as text."""
        return {name: _as_json(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Status:
    """What the destination says of the warehouse.

    Attributes:
        destination: dlt's short name of the destination.
        dataset: The dataset.
        place: Both, in words.
        collections: Each collection that was ever loaded or asked for.
        pending_packages: Load packages that an earlier run left in this machine's working folder.
        runs: The last runs, newest first, if they were asked for.
        published: The copy for readers; `None` when the setting `publish_to` asks for none.
    """

    destination: str
    dataset: str
    place: str
    collections: tuple[CollectionStatus, ...]
    pending_packages: int
    runs: tuple[PastRun, ...] = ()
    published: PublishedCopy | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it is unhealthy, and what to do."""
        if not self.collections:
            return ("Nothing has been loaded yet. Run the pipeline.",)
        names: dict[str, list[str]] = {}
        for each in self.collections:
            if each.problem:
                names.setdefault(each.problem, []).append(each.table_name)
        found = [f"{', '.join(tables)}: {problem}" for problem, tables in names.items()]
        if self.published and self.published.problem:
            found.append(f"{self.published.path}: {self.published.problem}")
        return tuple(found)

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def exit_code(self) -> int:
        """The command's exit code: 0, or 7 when it is unhealthy."""
        return 0 if self.healthy else UnhealthyError.exit_code

    def raise_if_unhealthy(self) -> None:
        """Raises an error unless all is well.

        Raises:
            UnhealthyError: With all that is wrong.
        """
        if not self.healthy:
            raise UnhealthyError(" ".join(self.problems), self)

    def as_json(self) -> dict[str, Any]:
        """Returns it for `json.dumps`, with keys that stay as they are."""
        return {
            "destination": self.destination,
            "dataset": self.dataset,
            "healthy": self.healthy,
            "pending_packages": self.pending_packages,
            "published": self.published and self.published.as_json(),
            "collections": [each.as_json() for each in self.collections],
            "problems": [*self.problems],
            "runs": [run.as_json() for run in self.runs],
        }

    def __str__(self) -> str:
        """Returns tables to read at a glance, and what to do."""
        lines = [*wrap(f"In {self.place}.")]
        if self.published and self.published.made_at:
            made_at = minute(self.published.made_at)
            lines += wrap(f"Copy for readers {self.published.path}, of {made_at} UTC.")
        if self.collections:
            lines += ["", *self._table()]
        if self.runs:
            lines += ["", *self._past_runs()]
        lines.append("")
        if self.pending_packages:
            packages = "1 load package" if self.pending_packages == 1 else "load packages"
            count = "" if self.pending_packages == 1 else f"{self.pending_packages} "
            lines += wrap(f"An earlier run left {count}{packages}; the next run loads it first.")
        for problem in self.problems or ("Healthy.",):
            lines += wrap(problem)
        return "\n".join(lines)

    def _table(self) -> list[str]:
        rows = [["", "live rows", "deleted", "last success UTC", "outcome", "h left"]]
        for each in self.collections:
            counts = (each.live_rows, each.deleted_rows)
            rows.append(
                [
                    each.table_name,
                    *("" if count is None else f"{count:,}" for count in counts),
                    minute(each.last_success_at),
                    each.last_outcome or "never",
                    "" if each.hours_left is None else f"{each.hours_left:.1f}",
                ]
            )
        return text_table(rows)

    def _past_runs(self) -> list[str]:
        counts = ("received", "inserted", "updated", "deleted")
        rows = [["started UTC", "secs", "mode", "loaded", "outcome", *counts]]
        reasons = []
        for run in self.runs:
            seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
            started = f"{run.started_at:%Y-%m-%d %H:%M:%S}"
            rows.append(
                [
                    started,
                    "" if seconds is None else f"{seconds:,.{int(seconds < 100)}f}",
                    run.mode,
                    f"{run.succeeded} of {run.collections}",
                    run.outcome,
                    *(f"{count:,}" for count in run.counts.values()),
                ]
            )
            reasons += [line for each in run.errors for line in wrap(f"{started}: {each}", "  ")]
        return [*text_table(rows), *reasons]


def status(
    pipeline: dlt.Pipeline,
    *,
    min_hours_left: float = 12,
    max_age_hours: float | None = None,
    runs: int = 0,
) -> Status:
    """Returns what the destination says of the warehouse; changes and creates nothing.

    It needs no settings of the source and no working folder, only destination and dataset. A
    collection is unhealthy when its last run failed or was refused, when it has had no successful
    run, when its delta expires too soon, or when its last success is too long ago.

    Args:
        pipeline: The pipeline that the warehouse is loaded with.
        min_hours_left: Hours before the end of a delta from which on it expires too soon.
        max_age_hours: Hours after which the last success is too long ago; by default, never.
        runs: How many of the last runs to return too.

    Raises:
        SettingsError: When a number is negative.
        WarehouseError: When the destination is not supported, or lacks a package.
        DestinationException: When it cannot be read; `explain` says why.
    """
    limits = {"min_hours_left": min_hours_left, "max_age_hours": max_age_hours or 0, "runs": runs}
    for name, value in limits.items():
        if value < 0:
            raise invalid_setting(name, value, "a number from 0")
    dialect, client = dialect_of(pipeline), client_of(pipeline)
    with redacted_errors(), dialect.reading(client):
        reader = _Reader(pipeline, dialect, client)
        now = pendulum.now("UTC")
        max_age = None if max_age_hours is None else timedelta(hours=max_age_hours)
        collections = tuple(reader.collections(now, min_hours_left, max_age))
        return Status(
            destination=dialect.name,
            dataset=str(client.sql_client.dataset_name),
            place=dialect.location(client),
            collections=collections,
            pending_packages=len(pipeline.list_extracted_load_packages())
            + len(pipeline.list_normalized_load_packages()),
            runs=tuple(reader.past_runs(runs)),
            published=published_copy(pipeline, (each.last_success_at for each in collections), now),
        )


class _Reader:
    """Reads the destination, if there is something to read."""

    def __init__(self, pipeline: dlt.Pipeline, dialect: Dialect, client: Client) -> None:
        self._pipeline = pipeline
        self._client = client
        self._ledger = LedgerTable(client, dialect)
        self._exists = dialect.has_dataset(client)

    def collections(
        self, now: datetime, min_hours_left: float, max_age: timedelta | None
    ) -> Iterator[CollectionStatus]:
        """Yields what is known of each collection, in the order of the names."""
        if not self._exists:
            return
        newest: dict[str, dict[str, Entry]] = {}
        for entry in self._ledger.newest_by_outcome():
            newest.setdefault(entry["table_name"], {})[entry["outcome"]] = entry
        bookmarks = self._bookmarks()
        names = sorted({*newest, *bookmarks})
        rows = count_rows(self._client, names)
        for name in names:
            entries = newest.get(name, {})
            ended = [entry for outcome, entry in entries.items() if outcome != "running"]
            last = max(ended or entries.values(), key=_started_at, default={})
            bookmark = bookmarks.get(name)
            expires = bookmark.expires if bookmark else _utc(last.get("delta_expires_at"))
            success = _utc(entries.get("succeeded", {}).get("ended_at"))
            live, deleted = rows.get(name, (None, None))
            hours = None if expires is None else round((expires - now).total_seconds() / 3600, 1)
            outcome, error = last.get("outcome"), last.get("error")
            yield CollectionStatus(
                collection=COLLECTIONS[name].name if name in COLLECTIONS else name,
                table_name=name,
                live_rows=live,
                deleted_rows=deleted,
                last_success_at=success,
                last_outcome=outcome,
                last_error=error,
                delta_expires_at=expires,
                hours_left=hours,
                problem=" ".join(
                    [
                        *_problem_of_run(outcome, error, success),
                        *_problem_of_delta(hours, min_hours_left),
                        *_problem_of_age(success, max_age, now),
                    ]
                ),
            )

    def past_runs(self, count: int) -> Iterator[PastRun]:
        """Yields the last runs, newest first."""
        if not self._exists or not count:
            return
        by_run: dict[str, list[Entry]] = {}
        for entry in self._ledger.last_runs(count):
            by_run.setdefault(entry["run_id"], []).append(entry)
        for entries in by_run.values():
            ends = [_utc(entry["ended_at"]) for entry in entries]
            outcomes = [entry["outcome"] for entry in entries]
            modes = [entry["mode"] for entry in entries if entry["mode"]]
            started = min(_started_at(entry) for entry in entries)
            counts = ("received", "inserted", "updated", "soft_deleted")
            yield PastRun(
                started_at=started.astimezone(UTC),
                ended_at=None if None in ends else max(filter(None, ends)),
                mode=min(modes, key=_MODES.index, default=""),
                outcome=min(outcomes, key=_OUTCOMES.index),
                errors=tuple(dict.fromkeys(e["error"] for e in entries if e["error"])),
                succeeded=outcomes.count("succeeded"),
                collections=len(entries),
                counts={name: sum(entry[name] or 0 for entry in entries) for name in counts},
            )

    def _bookmarks(self) -> dict[str, Bookmark]:
        """The committed bookmarks; those of this pipeline win over those of others."""
        stored = stored_states(self._client)
        states: list[Any] = [*other_states(self._pipeline.pipeline_name, stored).values()]
        if own := committed_state(self._pipeline, stored):
            states.append(own)
        found = {}
        for state in states:
            for name, remembered in resource_states(state, NAME).items():
                bookmark = Bookmark.read(remembered)
                if bookmark is not None and name in COLLECTIONS:
                    found[name] = bookmark
        return found


def _as_json(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value


def _started_at(entry: Entry) -> datetime:
    started: datetime = entry["started_at"]
    return started


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _problem_of_run(
    outcome: str | None, error: str | None, success: datetime | None
) -> Iterable[str]:
    if outcome in ("failed", "refused"):
        since = (
            "No run has succeeded yet." if success is None else f"Last success {minute(success)}."
        )
        verb = "failed" if outcome == "failed" else "was refused"
        yield f"the last run {verb}: {error or 'the log says why.'} {since}"
    elif success is None:
        yield "no run has succeeded yet. Run the pipeline to its end."


def _problem_of_delta(hours: float | None, wanted: float) -> Iterable[str]:
    if hours is not None and hours < wanted:
        left = f"expires in {hours} hours" if hours > 0 else f"expired {-hours} hours ago"
        then = "before; else the next run loads" if hours > 0 else "now: it loads"
        yield f"the delta {left}. Run the pipeline {then} everything again."


def _problem_of_age(
    success: datetime | None, max_age: timedelta | None, now: datetime
) -> Iterable[str]:
    if success is not None and max_age is not None and now - success > max_age:
        hours = (now - success).total_seconds() / 3600
        yield f"the last success was {hours:.1f} hours ago. Check the schedule."
