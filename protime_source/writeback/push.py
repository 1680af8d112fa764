"""A whole push: rows, receipts and Protime's assignments into a plan, and the plan into Protime."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any
from uuid import uuid4

import dlt
from dlt.common.runtime import signals

from protime_source.api.assignments import Assignments
from protime_source.api.http import ApiSession, HttpClient
from protime_source.api.redaction import redacted_errors
from protime_source.catalogue import ASSIGNMENTS
from protime_source.configuration import ConfigSections
from protime_source.errors import OtherTenantError
from protime_source.pipeline.guards import check_tenant, tenant_of
from protime_source.pipeline.lock import one_run, one_run_on_dataset
from protime_source.pipeline.states import NAME, committed_state, resource_states, stored_states
from protime_source.settings import Settings, invalid_setting
from protime_source.warehouse.dialect import Client, Dialect, client_of, dialect_of
from protime_source.warehouse.own_table import Entry
from protime_source.warehouse.receipts import TABLE, ReceiptTable
from protime_source.writeback.current import CurrentAssignments
from protime_source.writeback.known import Receipts, StoredAssignments
from protime_source.writeback.plan import PlannedRow, Planner
from protime_source.writeback.report import PushReport
from protime_source.writeback.rows import Rows, read_rows
from protime_source.writeback.send import Sender
from protime_source.writeback.wanted import read_wanted

logger = logging.getLogger(__name__)

MAX_DELETED_SHARE = 0.5

MIN_GUARDED_DELETES = 10
"""So many deletes are needed for too many: of four assignments, three may well be deleted."""

SETTLE_SECONDS = 60.0
"""How long the last request of a push that was cut off may still be at work in Protime: an
assignment that is not there counts as not created only after that. It is the time that a request
has by default (`runtime.request_timeout`)."""


def push(
    rows: Rows,
    pipeline: dlt.Pipeline,
    *,
    apply: bool = False,
    force: bool = False,
    max_deleted_share: float = MAX_DELETED_SHARE,
    **settings: Any,
) -> PushReport:
    """Plans how Protime gets the wanted assignments, and carries the plan out when asked to.

    Each row has a `key`, the caller's own and unique, and columns of the table `assignments`; a
    column that it lacks stays as it is in Protime, and an empty value empties it. `id` names an
    assignment that is there already, `is_deleted` deletes it. An assignment whose row is no longer
    among the rows is left alone. Receipts of what was sent are in `assignment_writes`.

    Args:
        rows: Dicts, an Arrow table or what Arrow can read (DuckDB, pandas, polars, a relation of
            dlt), or a query on the pipeline's warehouse as text.
        pipeline: The pipeline whose warehouse keeps the receipts.
        apply: Whether to carry the plan out; if not, nothing is sent or written.
        force: Whether to overwrite what changed in Protime since the warehouse saw it.
        max_deleted_share: The largest share (0 to 1) of the assignments known to a push that it
            may delete.
        **settings: Any of `Settings`, in place of dlt's configuration.

    Returns:
        The plan, or what was done; `print` it.

    Raises:
        UnwrittenRowsError: With `apply`, when some rows could not be written; all others are.
        TooManyDeletesError: With `apply`, when the share is larger; nothing was sent.
        SettingsError: When a setting is missing or wrong, or there are no rows to read.
        ApiError: When Protime gives no usable answer before anything was sent.
        WarehouseError: When the destination is not usable, or holds another tenant's rows.
        AlreadyRunningError: When a run or another push is at work.
    """
    report = push_report(
        rows, pipeline, apply=apply, force=force, max_deleted_share=max_deleted_share, **settings
    )
    if apply:
        report.raise_for_problems()
    return report


def push_report(
    rows: Rows,
    pipeline: dlt.Pipeline,
    *,
    apply: bool,
    force: bool,
    max_deleted_share: float,
    **settings: Any,
) -> PushReport:
    """Does the same as `push`, and returns the report also when rows were not written."""
    if not 0 <= max_deleted_share <= 1:
        raise invalid_setting("max_deleted_share", max_deleted_share, "a number from 0 to 1")
    sections = ConfigSections(pipeline_name=pipeline.pipeline_name)
    resolved = Settings.from_config(sections=sections, **settings)
    patience = resolved.lock_timeout
    with redacted_errors(), one_run(pipeline.working_dir):
        dialect, client = dialect_of(pipeline), client_of(pipeline, patience)
        dialect.check(client)
        if apply:
            dialect.prepare(client, pipeline.pipeline_name)
        # DuckDB's file stays open, so that no other push can write receipts meanwhile. A plan
        # creates none.
        is_there = apply or dialect.has_dataset(client)
        with (
            one_run_on_dataset(pipeline, patience, client),
            dialect.kept_open(client) if is_there else nullcontext(),
            HttpClient(resolved) as http,
        ):
            session = http.session([ASSIGNMENTS.read_scope, ASSIGNMENTS.write_scope])
            one = Push(pipeline, resolved, dialect, client, session)
            return one.run(rows, apply=apply, force=force, max_deleted_share=max_deleted_share)


class Push:
    """One push, while it holds the dataset.

    Args:
        pipeline: The pipeline.
        settings: The tenant.
        dialect: The dialect of the destination.
        client: A client of it.
        session: Sends the requests.

    Raises:
        WarehouseError: When the dataset holds another tenant's rows.
    """

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        settings: Settings,
        dialect: Dialect,
        client: Client,
        session: ApiSession,
    ) -> None:
        self._started = time.monotonic()
        self._pipeline = pipeline
        self._dialect = dialect
        self._client = client
        self._session = session
        self._assignments = Assignments(session)
        self._current = CurrentAssignments(self._assignments)
        self._table = ReceiptTable(client, dialect)
        self._tenant = tenant_of(settings)
        self._has_dataset = dialect.has_dataset(client)
        if self._has_dataset:
            state = committed_state(pipeline, stored_states(client)) or pipeline.state
            check_tenant(settings, resource_states(state, NAME))

    def run(self, rows: Rows, *, apply: bool, force: bool, max_deleted_share: float) -> PushReport:
        """Plans, and carries the plan out when asked to; see `push`."""
        wanted = read_wanted(read_rows(rows, self._pipeline))
        run_id = uuid4().hex
        entries = self._table.newest() if self._has_dataset else []
        self._check_receipts(entries)
        others = self._table.count_of_others(run_id) if entries else 0
        receipts = Receipts(entries)
        if apply and receipts.are_intended(row.key for row in wanted):
            _settle()
        stored = StoredAssignments(self._client, exists=self._has_dataset)
        planner = Planner(wanted, receipts, stored, self._current, force=force)
        plan = planner.plan()
        too_many = _too_many_deletes(plan, receipts, max_deleted_share)
        sender = Sender(
            run_id,
            self._tenant,
            self._assignments,
            self._current,
            self._table,
            others=others,
            owned=receipts.live_ids() | {row.id for row in plan if row.id},
            newest=max((entry["intended_at"] for entry in entries), default=None),
            force=force,
        )
        is_sent = apply and not too_many
        done = sender.send(plan) if is_sent else plan
        return PushReport(
            rows=tuple(done),
            place=self._dialect.location(self._client),
            applied=is_sent,
            requests=self._session.request_count,
            seconds=time.monotonic() - self._started,
            too_many_deletes=too_many,
            was_sent=sender.was_sent,
            stopped_by=sender.stopped_by,
            stopped_because=sender.stopped_because,
            left_open=len(receipts.open.keys() - {row.key for row in wanted}),
        )

    def _check_receipts(self, entries: Sequence[Entry]) -> None:
        tenants = {entry["tenant"] for entry in entries} - {self._tenant, None}
        if tenants:
            raise OtherTenantError(
                f"The table {TABLE} holds receipts of another tenant, {' and '.join(tenants)}, and"
                f" this push is for {self._tenant}. Nothing was read or changed. Name another"
                " dataset or database for this tenant, or drop that table if its pushes are over."
            )


def _settle() -> None:
    """Waits until the last request of a push that was cut off can no longer be at work.

    That push has ended, because this one holds the dataset; when it ended, nothing tells.
    """
    if SETTLE_SECONDS > 0:
        logger.warning(
            "waiting %.0f s: an earlier push was cut off, and its last request may still be at work"
            " in Protime",
            SETTLE_SECONDS,
        )
        with signals.intercepted_signals():
            signals.sleep(SETTLE_SECONDS)
            signals.raise_if_signalled()


def _too_many_deletes(plan: Sequence[PlannedRow], receipts: Receipts, max_share: float) -> str:
    """Why nothing is sent when more is to be deleted than the limit allows; empty if it is not."""
    deletes = sum(row.action == "delete" for row in plan)
    live = len(receipts.live_keys() | {row.key for row in plan if row.is_known})
    if deletes <= max_share * live or (deletes < MIN_GUARDED_DELETES and max_share > 0):
        return ""
    noun = "assignment" if live == 1 else "assignments"
    return (
        f"This push is to delete {deletes:,} of the {live:,} {noun} that it and its receipts"
        f" know ({100 * deletes / live:.0f}%), more than max_deleted_share allows"
        f" ({100 * max_share:g}%). Nothing was sent. If they are really to be deleted, push once"
        " with --max-deleted-share 1."
    )
