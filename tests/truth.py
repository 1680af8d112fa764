"""What somebody who sees everything knows of a tenant's assignments, and requires of the table."""

from __future__ import annotations

from collections.abc import Set
from datetime import date, datetime, timedelta
from typing import Literal

from protime_source.verification.run import verify
from tests.world import Row, World, as_sent, as_wanted

START = date.today() - timedelta(days=180)
"""The window's first day, which the tenant accepts also when its year has ended in a history."""

SETTINGS = {"start_date": START.isoformat(), "history": True, "max_vanished_share": 1.0}
"""Those of every run of a history."""

Version = tuple[int, datetime]
"""Of a row in the table: its id and `synced_at`."""


def is_inside(record: Row) -> bool:
    """Whether a record of the tenant is in the window."""
    return bool(record["from"] >= START.isoformat())


class Truth:
    """Remembers every version of every record, and every row that it saw.

    Args:
        world: The tenant and the warehouse.
        deletes: The setting.

    Attributes:
        left: Ids of the records that have left the window, whether or not they came back.
        robbed: Ids of the rows of which somebody has taken values by hand.
        follows: Whether a copy that follows `synced_at` must equal the table, and the history must
            have each version; not after two runs have written at once.
    """

    def __init__(self, world: World, deletes: Literal["mark", "remove"] = "mark") -> None:
        self._world = world
        self._deletes = deletes
        self._versions: dict[int, dict[str, Row]] = {}
        self._copy: dict[int, Row] = {}
        self._written: set[Version] = set()
        self.left: set[int] = set()
        self.robbed: set[int] = set()
        self.follows = True

    def note_records(self) -> None:
        """Remembers the tenant's records as they are now; call it after each change."""
        records = self._world.tenant.records
        for id_, record in records.items():
            self._versions.setdefault(id_, {})[record["changeVersion"]] = as_wanted(record)
        self.left |= {i for i in self._versions if i not in records or not is_inside(records[i])}

    def begin_anew(self, rows: dict[int, Row], *, by_hand: bool = False) -> None:
        """Somebody has put a backup back, or has changed the table by hand; a copy begins anew."""
        self._copy = dict(rows)
        self._written = _versions(rows)
        if by_hand:
            self.robbed |= rows.keys()

    def check_anytime(self) -> dict[int, Row]:
        """Also after a failure or a kill, while nobody is at work; returns the rows.

        A live row is one version of its record, all of it; another one is marked, and has values
        that it once had. A copy that follows `synced_at` equals the table.
        """
        rows = {id_: {"comments": None, **row} for id_, row in self._world.seen().items()}
        for id_, row in rows.items():
            if row["is_deleted"]:
                self._check_soft_deleted(id_, row)
            else:
                version = self._versions[id_][row["change_version"]]
                if id_ in self.robbed and row["comments"] is None:
                    version = {name: v for name, v in version.items() if name != "comments"}
                assert as_sent(row) == version, id_
                assert (row["deleted_at"], row["delete_reason"]) == (None, None), id_
        last = max((row["synced_at"] for row in self._copy.values()), default=None)
        if self._deletes == "remove":  # no copy sees that a row is gone
            self._copy = {id_: row for id_, row in self._copy.items() if id_ in rows}
        self._copy |= {i: row for i, row in rows.items() if last is None or row["synced_at"] > last}
        if self.follows:
            assert self._copy == rows, "a copy that follows `synced_at` differs"
        self._copy = dict(rows)
        self._written |= _versions(rows)
        return rows

    def _check_soft_deleted(self, id_: int, row: Row) -> None:
        """Field by field: a delete that carries fields is laid over the last stored row."""
        assert self._deletes == "mark", f"{id_} is there, and should have been removed"
        assert row["delete_reason"] in ("announced", "vanished"), id_
        assert row["deleted_at"] is not None, id_
        versions = self._versions[id_].values()
        for name, value in as_sent(row).items():
            if name != "changeVersion" and id_ not in self.robbed:
                assert value in [version.get(name) for version in versions], (id_, name)

    def check_recorded(self, *, was_alone: bool) -> None:
        """After a run that succeeded: the history has each version once, and no run is open.

        Args:
            was_alone: Whether no other run was begun meanwhile, and killed.
        """
        world = self._world
        history = world.query(f"SELECT id, recorded_at FROM {world.dataset}.assignments__history")
        assert len(history) == len(set(history)), "a version is in the history twice"
        if self.follows:
            assert self._written <= {(i, at) for i, at in history}, "the history lacks a version"
        runs = f"SELECT COUNT(*) FROM {world.dataset}.sync_runs WHERE outcome = 'running'"
        assert not was_alone or world.query(runs) == [(0,)], (
            "a run that has ended is open in the ledger"
        )

    def check_complete(self, ignored: Set[int] = frozenset()) -> None:
        """After a run that saw all: the live rows are the tenant's records, field by field.

        Args:
            ignored: Ids of which the delta says nothing when they leave the window.
        """
        wanted = {i: as_wanted(r) for i, r in self._world.tenant.records.items() if is_inside(r)}
        start = START.isoformat()
        live = {i: as_sent(row) for i, row in self._world.live().items()}
        shown = {
            i: record
            for i, record in live.items()
            if i in wanted or (record["from"] >= start and i not in ignored)
        }
        assert shown == wanted

    def check_verified(self) -> None:
        """The table is what the plain lists of Protime show."""
        settings = {**SETTINGS, "deletes": self._deletes}
        report = verify(self._world.pipeline(), deep=True, catch_up=False, **settings)
        assert not report.differs, str(report)


def _versions(rows: dict[int, Row]) -> set[Version]:
    return {(id_, row["synced_at"]) for id_, row in rows.items()}
