"""Carries out a plan: receipts first, then one request at a time, then what became of each."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from dlt.common.runtime import signals

from protime_source.api.assignments import Assignment, Assignments
from protime_source.api.redaction import redact
from protime_source.errors import (
    AlreadyRunningError,
    ApiError,
    AuthenticationError,
    NotConnectedError,
    NotFoundError,
    RateLimitedError,
    ResponseError,
    TokenUnavailableError,
    UntrustedCertificateError,
)
from protime_source.sync.clock import MonotonicClock
from protime_source.warehouse.own_table import Entry
from protime_source.warehouse.receipts import ReceiptTable
from protime_source.writeback.content import merged, sent_hash
from protime_source.writeback.current import CurrentAssignments
from protime_source.writeback.plan import (
    ALREADY_THERE,
    SENT,
    Create,
    Delete,
    PlannedRow,
    Settlement,
    Update,
)

progress = logging.getLogger("protime_source.progress")

RECEIPTS_AT_ONCE = 100
"""Receipts that are committed with one statement before their requests are sent. After a crash, so
many rows may have to be looked up; on BigQuery, a statement takes longer than ten requests."""

MAX_FAILURES_IN_A_ROW = 5
"""Rows that fail for a reason that is not theirs, like a missing right or no answer, before a push
stops: the others would only fail as well."""

LONGEST_REASON = 500
"""Characters of a reason in a receipt."""

PUSH_AGAIN = "Push again: what was sent has a receipt."
"""What a failure after the first request means."""

_NOT_SENT = (
    AuthenticationError,
    NotConnectedError,
    TokenUnavailableError,
    UntrustedCertificateError,
)
"""With these, the request did not leave, or was not let in."""

_CHANGED = "changed in Protime since the plan. With force it is overwritten"

_OF_ALL_ROWS = (401, 403)
"""Refusals that are seldom about one row alone."""


class Sender:
    """Carries out the plan of one push.

    Args:
        run_id: The push.
        tenant: The tenant and its API address.
        assignments: Those of the tenant.
        current: What Protime had for the plan.
        table: The receipts.
        others: How many receipts other pushes had written when this one read them.
        owned: The ids of assignments that belong to a key.
        newest: When the newest receipt was written.
        force: Whether what changed in Protime since is overwritten.

    Attributes:
        stopped_by: The signal that stopped the push; 0 if none did.
        stopped_because: Why it stopped by itself; empty if it did not.
        was_sent: Whether a request to change something has left.
    """

    def __init__(
        self,
        run_id: str,
        tenant: str,
        assignments: Assignments,
        current: CurrentAssignments,
        table: ReceiptTable,
        *,
        others: int,
        owned: set[int],
        newest: datetime | None,
        force: bool,
    ) -> None:
        self._run_id = run_id
        self._tenant = tenant
        self._assignments = assignments
        self._current = current
        self._table = table
        self._others = others
        self._owned = owned
        self._clock = MonotonicClock()
        self._clock.after(newest)
        self._force = force
        self._failures_in_a_row = 0
        self._lost: list[str] = []
        self._is_sent = False
        self.stopped_by = 0
        self.stopped_because = ""
        self.was_sent = False

    def send(self, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
        """Settles the receipts of earlier pushes, sends all rows, and returns what became of each.

        Raises:
            AlreadyRunningError: When another push writes receipts at the same time.
            DestinationException: When the warehouse refuses a receipt; nothing is sent without.
        """
        try:
            return self._send_all(rows)
        except BaseException as error:
            if self.was_sent or self._is_sent:
                error.add_note(PUSH_AGAIN)
            raise

    def _send_all(self, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
        settled = [self._settle(row.key, row.settlement) for row in rows if row.settlement]
        for start in range(0, len(settled), RECEIPTS_AT_ONCE):
            self._table.end(settled[start : start + RECEIPTS_AT_ONCE])
        due = [row for row in rows if row.action in SENT]
        found: dict[int, PlannedRow] = {}
        with signals.intercepted_signals():
            for start in range(0, len(due), RECEIPTS_AT_ONCE):
                if self._is_stopped():
                    break
                for row in self._send_some(due[start : start + RECEIPTS_AT_ONCE]):
                    found[row.number] = row
                count = sum(row.status != "not sent" for row in found.values())
                noun = "change" if len(due) == 1 else "changes"
                progress.info("%s of %s %s sent", f"{count:,}", f"{len(due):,}", noun)
        return [
            self._not_sent(row)
            if row.action in SENT and row.number not in found
            else found.get(row.number, row)
            for row in rows
        ]

    def _send_some(self, rows: Sequence[PlannedRow]) -> list[PlannedRow]:
        self._table.intend([self._intent(row) for row in rows])
        if self._table.count_of_others(self._run_id) != self._others:
            self._table.end([self._end(row, "failed", "It was not sent.") for row in rows])
            raise AlreadyRunningError(
                "Another push writes receipts into this dataset, so this one stopped. No change was"
                " sent without a receipt. Push again when the other has ended."
            )
        found: list[PlannedRow] = []
        try:
            for row in rows:
                if self._is_stopped():
                    found.append(self._not_sent(row))
                else:
                    found.append(self._send(row))
        finally:
            # Also when this is interrupted: what is missing here is looked up by the next push.
            self._table.end([self._ended(row) for row in found if row.status != "unknown"])
        return found

    def _send(self, row: PlannedRow) -> PlannedRow:
        self._is_sent = False
        try:
            done = self._change(row)
            self._failures_in_a_row = 0
        except ApiError as error:
            self._is_sent &= not isinstance(error, _NOT_SENT)
            done = self._failed(row, error)
        self.was_sent |= self._is_sent
        return done

    def _change(self, row: PlannedRow) -> PlannedRow:
        """Sends one row; looks first whether the assignment is still as the plan saw it."""
        match row.change:
            case Create(body):
                self._is_sent = True
                id_ = self._assignments.create(body)
                self._owned.add(id_)
                return replace(row, id=id_, status="done", reason="")
            case Update(planned, fields):
                current = self._assignments.get(planned.id or 0)
                if self._has_changed(planned, current):
                    return replace(row, status="failed", reason=_CHANGED)
                self._is_sent = True
                self._assignments.update(planned.id or 0, merged(current, fields))
            case Delete(planned):
                try:
                    current = self._assignments.get(planned.id or 0)
                    if self._has_changed(planned, current):
                        return replace(row, status="failed", reason=_CHANGED)
                    self._is_sent = True
                    self._assignments.delete(planned.id or 0)
                except NotFoundError:
                    return replace(row, status="done", reason="Protime no longer had it")
        return replace(row, status="done", reason="")

    def _has_changed(self, planned: Assignment, current: Assignment) -> bool:
        return not self._force and planned.change_version != current.change_version

    def _failed(self, row: PlannedRow, error: ApiError) -> PlannedRow:
        """The row with why it failed; unknown when Protime may have carried it out all the same."""
        reason = redact(" ".join(str(error).split()))[:LONGEST_REASON]
        status = error.status if isinstance(error, ResponseError) else 0
        is_refusal = 400 <= status < 500
        if not is_refusal or status in _OF_ALL_ROWS:
            self._failures_in_a_row += 1
        if isinstance(error, AuthenticationError | TokenUnavailableError):
            self._failures_in_a_row = MAX_FAILURES_IN_A_ROW
        if is_refusal or isinstance(error, RateLimitedError):
            return replace(row, status="failed", reason=reason)
        if not self._is_sent:
            return replace(row, status="not sent", reason=reason)
        lost = replace(row, status="unknown", reason=reason)
        if not isinstance(row.change, Create):
            return lost
        found = self._found(lost, row.change.body)
        if found.status == "uncertain" and row.reason.startswith(ALREADY_THERE):
            return replace(found, reason=f"{found.reason} {row.reason}")
        return found

    def _found(self, lost: PlannedRow, body: Assignment) -> PlannedRow:
        """Looks for what a create without an answer may have created."""
        place, hash_ = (body.person_id, body.from_date), sent_hash(body)
        before = {each.id for each in self._current.at(place)}
        self._lost.append(hash_)
        try:
            self._current.look_at([place])
        except ApiError:
            return lost
        same = [each for each in self._current.at(place) if sent_hash(each) == hash_]
        ids = [each.id or 0 for each in same if each.id not in self._owned | before]
        if not ids:
            return lost
        if len(ids) > self._lost.count(hash_):
            text = f"it may be one of {', '.join(map(str, ids))}: give the row the right id"
            return replace(lost, status="uncertain", reason=f"{text}. {lost.reason}")
        self._lost.remove(hash_)
        self._owned.add(ids[0])
        self._failures_in_a_row = 0
        return replace(lost, id=ids[0], status="done", reason="")

    def _is_stopped(self) -> bool:
        if signals.was_signal_received():
            self.stopped_by = getattr(signals.exception_for_signal(), "signal_code", 0)
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self.stopped_because = "too many rows failed in a row"
        return bool(self.stopped_by or self.stopped_because)

    def _not_sent(self, row: PlannedRow) -> PlannedRow:
        why = self.stopped_because or "the push was stopped"
        return replace(row, status="not sent", reason=why)

    def _intent(self, row: PlannedRow) -> Entry:
        body = None if row.change is None or isinstance(row.change, Delete) else row.change.body
        return {
            "run_id": self._run_id,
            "key": row.key,
            "id": row.id,
            "action": row.action,
            "sent_hash": sent_hash(body) if body else None,
            "status": "intended",
            "reason": row.reason if row.reason.startswith(ALREADY_THERE) else None,
            "intended_at": self._clock.after(),
            "tenant": self._tenant,
        }

    def _ended(self, row: PlannedRow) -> Entry:
        if row.status == "not sent":
            return self._end(row, "failed", f"Not sent: {row.reason}")
        return self._end(row, row.status, row.reason)

    def _end(self, row: PlannedRow, status: str, reason: str) -> Entry:
        return self._outcome(self._run_id, row.key, row.id, status, reason)

    def _settle(self, key: str, of: Settlement) -> Entry:
        return self._outcome(of.run_id, key, of.id, of.status, of.reason)

    def _outcome(self, run_id: str, key: str, id_: int | None, status: str, reason: str) -> Entry:
        return {
            "run_id": run_id,
            "key": key,
            "id": id_,
            "status": status,
            "reason": reason or None,
            "ended_at": self._clock.now(),
        }
