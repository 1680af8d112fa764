"""What a push would do, or did, in words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from typing import Any

from dlt.common.exceptions import SignalReceivedException

from protime_source.api.assignments import ActivityLevel
from protime_source.errors import TooManyDeletesError, UnwrittenRowsError
from protime_source.pipeline.failures import STOPPED
from protime_source.pipeline.text import text_table, wrap
from protime_source.writeback.plan import SENT, PlannedRow

SHOWN_ROWS = 20
"""Rows that are shown with their details; those that need somebody first."""

LONGEST_KEY = 30
"""Characters of a key that the others are lined up with."""

LONGEST_VALUE = 30
"""Characters of a value that is shown."""

_LABELS = {
    "person_id": "person",
    "from_date": "from",
    "until_date": "until",
    "start_time_in_minutes": "start",
    "end_time_in_minutes": "end",
    "break_duration_in_minutes": "break",
    "comments": "comments",
    "activity_levels": "levels",
}
"""The fields as they are shown: a line has 100 columns."""

_JOINED = "\u00a0"
"""Stands for a blank where no line may end: in a value. No value has one of its own."""

_AS_ABOVE = "as above"

_PROBLEMS = ("invalid", "conflict", "uncertain")

_ORDER = (*_PROBLEMS, "delete", "update", "create")


@dataclass(frozen=True)
class PushReport:
    """What a push would do, or did; `print` it.

    Attributes:
        rows: What becomes of each row, in their order.
        place: The destination, in words.
        applied: Whether it was carried out.
        was_sent: Whether a request to change something was sent.
        requests: Requests to Protime.
        seconds: How long it took.
        too_many_deletes: Why nothing is sent, when more is to be deleted than the limit allows.
        stopped_by: The signal that stopped it; 0 if none did.
        stopped_because: Why it stopped by itself; empty if it did not.
        left_open: Keys that are not among the rows, and whose receipt has no outcome.
    """

    rows: tuple[PlannedRow, ...]
    place: str
    applied: bool
    requests: int
    seconds: float
    too_many_deletes: str = ""
    was_sent: bool = False
    stopped_by: int = 0
    stopped_because: str = ""
    left_open: int = 0

    @property
    def counts(self) -> Counter[str]:
        """How many rows there are of each action, and of each status of what was sent."""
        statuses = (row.status for row in self.rows if row.status)
        return Counter(row.action for row in self.rows) + Counter(statuses)

    @property
    def unwritten(self) -> tuple[PlannedRow, ...]:
        """The rows that Protime does not have as they are wanted, nor would have."""
        return tuple(row for row in self.rows if not row.is_written)

    @property
    def exit_code(self) -> int:
        """The command's exit code: 5 too many deletes, 3 not all rows can be or were written."""
        if self.too_many_deletes:
            return TooManyDeletesError.exit_code
        if self.stopped_by:
            return STOPPED + self.stopped_by
        return UnwrittenRowsError.exit_code if self.unwritten else 0

    def raise_for_problems(self) -> None:
        """Raises an error unless all rows are, or would be, as they are wanted.

        Raises:
            TooManyDeletesError: When more was to be deleted than the limit allows.
            SignalReceivedException: When a signal stopped the push.
            UnwrittenRowsError: When some rows were not written.
        """
        if self.too_many_deletes:
            raise TooManyDeletesError(self.too_many_deletes, self)
        if self.stopped_by:
            raise SignalReceivedException(self.stopped_by)
        if self.unwritten:
            raise UnwrittenRowsError(self.problem, self)

    @property
    def problem(self) -> str:
        """Why not all rows are written and what to do, in one line; empty when they are."""
        if not self.unwritten:
            return ""
        counts = Counter(row.status or row.action for row in self.unwritten)
        parts = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        were = "was" if len(self.unwritten) == 1 else "were"
        verb = f"{were} not" if self.applied else "cannot be"
        text = "Stopped on request. " if self.stopped_by else ""
        text += f"{len(self.unwritten):,} of {_rows(len(self.rows))} {verb} written: {parts}."
        if self.stopped_because:
            text += f" It stopped because {self.stopped_because}; the others were not sent."
        if counts["unknown"]:
            text += " Unknown: Protime gave no answer. Push again, which looks before it sends."
        if self.applied and not self.was_sent:
            text += " Nothing was sent."
        return text

    def as_json(self) -> dict[str, Any]:
        """Returns it for `json.dumps`, with keys that stay as they are."""
        return {
            "applied": self.applied,
            "place": self.place,
            "requests": self.requests,
            "seconds": round(self.seconds, 1),
            "counts": dict(self.counts),
            "problem": self.too_many_deletes or self.problem,
            "rows": [
                {
                    "row": row.number,
                    "key": row.key,
                    "action": row.action,
                    "status": row.status,
                    "id": row.id,
                    "changes": {
                        name: {"old": _plain(old), "new": _plain(new)}
                        for name, (old, new) in row.changes.items()
                    },
                    "reason": row.reason,
                    "warning": row.warning,
                }
                for row in self.rows
            ],
        }

    def __str__(self) -> str:
        """Returns the rows that need somebody or change something, and the totals."""
        shown = sorted(
            (row for row in self.rows if row.action in _ORDER), key=lambda row: _order(row)
        )[:SHOWN_ROWS]
        left_out = sum(row.action in _ORDER for row in self.rows) - len(shown)
        shown_keys = [row.key or f"row {row.number}" for row in shown]
        width = min(max(map(len, shown_keys), default=0), LONGEST_KEY)
        lines, above = [], ""
        for key, row in zip(shown_keys, shown, strict=True):
            cause = row.reason.replace(f"/{row.id}", "")  # an address ends with it
            is_said = cause == above and len(above) > len(_AS_ABOVE)
            line = _line(row, f"{key:<{width}}", _AS_ABOVE if is_said else row.reason)
            lines += [each.replace(_JOINED, " ") for each in wrap(line, " " * 11)]
            above = cause
        if left_out:
            noun = "row" if left_out == 1 else "rows"
            lines.append(f"... and {left_out:,} more {noun}; --json has all.")
        if lines:
            lines.append("")
        return "\n".join([*lines, *self._totals(), *wrap(self._footer())])

    def _totals(self) -> list[str]:
        counts = self.counts
        done = Counter(row.action for row in self.rows if row.status == "done")
        sent = done if self.applied else counts
        ending = "d" if self.applied else ""
        names = {
            "rows": len(self.rows),
            **{f"{action}{ending}": sent[action] for action in SENT},
            "already so": counts["unchanged"],
            **({name: counts[name] for name in ("failed", "unknown")} if self.applied else {}),
            **({"not sent": counts["not sent"]} if counts["not sent"] else {}),
            **{name: counts[name] for name in _PROBLEMS},
        }
        return text_table([[*names], [f"{number:,}" for number in names.values()]])

    def _footer(self) -> str:
        noun = "request" if self.requests == 1 else "requests"
        cost = f"{self.requests:,} {noun} in {self.seconds:.1f} s."
        if self.left_open:
            keys = "1 key that is" if self.left_open == 1 else f"{self.left_open:,} keys that are"
            have, them = ("has", "it") if self.left_open == 1 else ("have", "them")
            cost += (
                f" {keys} not among these rows {have} a receipt without an outcome: push {them}"
                " again, too."
            )
        if adopted := sum(row.is_adopted for row in self.rows):
            them = "it" if adopted == 1 else "them"
            cost += f" {adopted:,} adopted: an earlier push had created {them}."
        if warned := sum(bool(row.warning) for row in self.rows):
            cost += f" {_rows(warned)} with a warning."
        if self.applied and not self.was_sent:
            return f"{cost} Nothing was sent."
        if self.applied:
            brings = " The next run brings what changed." if self.counts["done"] else ""
            return f"{cost} Receipts are in {self.place}.{brings}"
        changes = sum(row.action in SENT for row in self.rows)
        advice = " Pass --apply to carry it out." if changes and not self.too_many_deletes else ""
        return f"{cost} This is the plan: nothing was sent.{advice}"


def _order(row: PlannedRow) -> tuple[bool, bool, bool, int, int]:
    return (
        row.is_written,
        row.status == "not sent",
        not row.warning,
        _ORDER.index(row.action),
        row.number,
    )


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _line(row: PlannedRow, key: str, reason: str) -> str:
    """`update     shift-7  100042  end 480 -> 510; comments - -> "late"`."""
    what = row.status if row.status and row.status != "done" else row.action
    changed = [
        f"{_LABELS[name]} {_shown(old)} -> {_shown(new)}"
        if row.is_known
        else f"{_LABELS[name]} {_shown(new)}"
        for name, (old, new) in row.changes.items()
    ]
    details = "; ".join([*filter(None, (reason.removesuffix("."), row.warning)), *changed])
    return f"{what:<9}  {key}  {row.id or '':<8}  {details}".rstrip()


def _shown(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, tuple):
        return ", ".join(f"{each.level}={each.activity_definition_id[:8]}" for each in value)
    text = _JOINED.join(str(value).split()) if isinstance(value, str) else str(value)
    if len(text) > LONGEST_VALUE:
        text = f"{text[: LONGEST_VALUE - 3]}..."
    return f'"{text}"' if isinstance(value, str) else text


def _plain(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, ActivityLevel):
        return {"level": value.level, "activity_definition_id": value.activity_definition_id}
    return value
