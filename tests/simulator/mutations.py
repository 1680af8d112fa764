"""Mendings taken out one by one: the simulator must find each fault again.

A mutation replaces a few words of a function and puts the function back afterwards. Those of
`tests.simulator` stand for SQL that runs in the warehouse, or for what dlt does: `test_merge.py` in
`tests/units/warehouse` holds the model of the merge to the SQL of each engine.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutation:
    """A mending taken out.

    Attributes:
        name: Its name.
        fault: What goes wrong then.
        where: Module and function.
        old: The words of it that are the mending.
        new: What stands in their place.
    """

    name: str
    fault: str
    where: str
    old: str
    new: str


_EVENTS = "protime_source.sync.events"
_ENGINE = "protime_source.sync.engine"
_FULL_LOAD = "protime_source.sync.full_load"
_RECONCILE = "protime_source.sync.reconcile"
_PACKAGES = "protime_source.pipeline.packages"
_WAREHOUSE = "tests.simulator.warehouse"
_HOSTS = "tests.simulator.hosts"

MUTATIONS = (
    Mutation(
        "package-on-another-state",
        "a pending package is loaded onto a backup, or onto another folder's newer state",
        f"{_PACKAGES}:to_discard",
        "if outdated:",
        "if False:",
    ),
    Mutation(
        "late-merge",
        "rows are merged after another run has ignored their deletion",
        "protime_source.pipeline.overlaps:loads_since",
        "return [",
        "return [] and [",
    ),
    Mutation(
        "taken-back-without-a-mark",
        "a package received before is loaded onto rows that a load left that was taken back",
        "protime_source.pipeline.states:taken_back",
        ", TAKEN_BACK: sorted(load_ids)",
        "",
    ),
    Mutation(
        "no-lock",
        "two hosts load at once on a server",
        f"{_HOSTS}:Run.acquire_lock",
        "if self.site.warehouse.lock not in (None, self):",
        "if False:",
    ),
    Mutation(
        "stale-guard",
        "an older version overwrites a newer one",
        f"{_WAREHOUSE}:is_let_through",
        'version >= stored["change_version"]',
        "True",
    ),
    Mutation(
        "merge-only-newer",
        "a row shown alive again at its version stays soft-deleted",
        f"{_WAREHOUSE}:is_let_through",
        "version >= stored",
        "version > stored",
    ),
    Mutation(
        "placeholder",
        "the delete of an id that is not stored becomes a row",
        f"{_WAREHOUSE}:is_let_through",
        'return not row["is_deleted"]',
        "return True",
    ),
    Mutation(
        "restarted-full-load",
        "rows of a full load that was restarted, and that vanished since, come alive",
        f"{_WAREHOUSE}:Warehouse.merge",
        'or row["synced_at"] >= ignored',
        "or True",
    ),
    Mutation(
        "repeated-ids",
        "an id that a page repeats is staged twice, and the older one may win",
        f"{_RECONCILE}:newest_of_each_id",
        "by_version = sorted(range(len(ids)), key=versions.__getitem__)",
        "by_version = sorted(range(len(ids)), key=versions.__getitem__, reverse=True)",
    ),
    Mutation(
        "order-of-events",
        "of the events of a record the one that comes last wins, not the newest",
        f"{_EVENTS}:_newer",
        "if kept is None or is_at_least_as_new(row, kept) else kept",
        "",
    ),
    Mutation(
        "tombstone-with-keys-only",
        "a delete empties the other columns",
        f"{_EVENTS}:_deletion",
        "{**last_known, **carried,",
        "{**carried,",
    ),
    Mutation(
        "unknown-change",
        "an event that is not understood is written",
        f"{_EVENTS}:EventReducer.add",
        "if kind not in (DELETE, UPDATE):",
        "if False:",
    ),
    Mutation(
        "equal-versions",
        "a repeated update brings back a row whose deletion has the same version",
        f"{_EVENTS}:_overwrites",
        "and not (is_same_version and is_announced)",
        "",
    ),
    Mutation(
        "stale-events",
        "an event older than the stored row is taken",
        f"{_EVENTS}:is_at_least_as_new",
        'version >= other["change_version"]',
        "True",
    ),
    Mutation(
        "seen-ids-lost-on-resume",
        "what the first parts of a full load showed is soft-deleted as vanished",
        f"{_FULL_LOAD}:FullLoad._vanished_rows",
        "if bookmark.seen_ids:",
        "if False:",
    ),
    Mutation(
        "vanished-outside-the-window",
        "rows that no full load can show are soft-deleted",
        f"{_FULL_LOAD}:FullLoad._vanished_rows",
        " bookmark.window_start,\n",
        " None,\n",
    ),
    Mutation(
        "nothing-vanishes",
        "rows deleted while no delta lived stay alive",
        f"{_FULL_LOAD}:FullLoad._vanished_rows",
        "not_found = not_among(live_ids, self._all_seen_ids())",
        "not_found = live_ids[:0]",
    ),
    Mutation(
        "restored-at-the-same-version",
        "a full load leaves a row soft-deleted that it shows at the stored version",
        f"{_RECONCILE}:compare",
        'pc.or_(stored_rows["is_deleted"], pc.not_equal(shown_version, version))',
        "pc.not_equal(shown_version, version)",
    ),
    Mutation(
        "values-at-the-same-version",
        "a full load does not bring back a column that was dropped by hand",
        f"{_RECONCILE}:compare",
        "    if compares_values:\n        for name",
        "    if False:\n        for name",
    ),
    Mutation(
        "guard",
        "all rows are soft-deleted when Protime suddenly shows none",
        f"{_RECONCILE}:check_vanished_share",
        "if vanished > allowed * live_rows",
        "if False and vanished > allowed * live_rows",
    ),
    Mutation(
        "emptied-table",
        "a table that was emptied by hand stays so",
        f"{_ENGINE}:CollectionSync._damage",
        "if bookmark.has_rows and stored.is_empty():",
        "if False:",
    ),
    Mutation(
        "dropped-column",
        "a column that was dropped by hand stays empty",
        f"{_ENGINE}:CollectionSync._damage",
        "if stored.lacks(self.context.builder.schema.names):",
        "if False:",
    ),
    Mutation(
        "edited-under-a-package",
        "a pending package is loaded onto a table that was emptied by hand",
        f"{_HOSTS}:Run._discard_edited",
        "if had_rows and",
        "if False and",
    ),
    Mutation(
        "clock-ahead",
        "a `synced_at` does not grow after a machine whose clock was ahead",
        "protime_source.sync.clock:MonotonicClock.after",
        "max([self._now(), *(floor + _STEP for floor in floors)])",
        "self._now()",
    ),
    Mutation(
        "clock-behind-the-history",
        "a version is not recorded after the table began anew on a machine with its clock behind",
        f"{_WAREHOUSE}:StoredRows.last_synced_at",
        "[*synced, *recorded]",
        "synced",
    ),
    Mutation(
        "newest-by-time",
        "a state that was committed by a machine with its clock ahead counts for ever",
        f"{_WAREHOUSE}:Warehouse.newest_commit",
        "key=lambda each: (each.version, each.load_id)",
        "key=lambda each: each.load_id",
    ),
    Mutation(
        "expired-link-on-resume",
        "a stored link that is answered by 400 or 404 fails every run",
        f"{_ENGINE}:_leads_to_full_load",
        "return isinstance(error, ExpiredError | BadRequestError | NotFoundError)",
        "return isinstance(error, ExpiredError)",
    ),
    Mutation(
        "invalidated-full-load",
        "a full load that the guard stopped is resumed",
        "protime_source.sync.bookmark:Bookmark.invalidated",
        'link=""',
        "link=self.link",
    ),
    Mutation(
        "bookmark-of-the-folder",
        "the working folder's bookmark counts, not the warehouse's",
        "protime_source.pipeline.states:restore_committed_state",
        "state.clear()\n    state.update(remembered)",
        "pass",
    ),
    Mutation(
        "bookmark-ahead-of-its-version",
        "a package commits a state that does not count as the newest",
        f"{_PACKAGES}:rest_on",
        'max(local["_state_version"], committed.get("_state_version", 0))',
        'local["_state_version"]',
    ),
    Mutation(
        "snapshot-without-a-state",
        "two working folders overwrite each other's snapshots",
        f"{_PACKAGES}:note_staged",
        "if staged.count:",
        "if False:",
    ),
    Mutation(
        "live-rows-after-a-kill",
        "the ledger counts live rows wrong after a kill between the merge and its record",
        f"{_ENGINE}:_is_ahead",
        "return synced is None or any(",
        "return False and any(",
    ),
    Mutation(
        "resumed-full-load-alone",
        "a run that resumed a full load does not follow the delta",
        f"{_ENGINE}:CollectionSync._load_fully",
        "context.counts.resumed\n",
        "False\n",
    ),
    Mutation(
        "late-merge-of-a-silent-run",
        "a run that stood still, and dies after a late merge, leaves rows that were deleted",
        "protime_source.warehouse.staging:holds_others",
        "return any(",
        "return False and any(",
    ),
    Mutation(
        "restored-rows",
        "a table whose only rows are restored ones stays empty once it was emptied by hand",
        f"{_ENGINE}:CollectionSync._write",
        "counts.inserted + counts.updated",
        "counts.inserted",
    ),
    Mutation(
        "full-load-taken-back",
        "a column that was dropped is not filled again when a load that began to is taken back",
        "protime_source.pipeline.states:taken_back",
        "if restarts or began:",
        "if restarts:",
    ),
    Mutation(
        "guarded-column",
        "a column that was dropped is not filled again when the guard stopped the full load",
        f"{_ENGINE}:CollectionSync._note_rows_without_bookmark",
        "bookmark = bookmark.invalidated()",
        "pass",
    ),
    Mutation(
        "emptied-table-of-a-refused-full-load",
        "rows of a table that was emptied stay away when the full load was refused in the middle",
        f"{_ENGINE}:CollectionSync._note_rows_without_bookmark",
        "or self._damage(bookmark)",
        "or context.stored.lacks(context.builder.schema.names)",
    ),
    Mutation(
        "merge-of-emptied-tables",
        "a run that stood still commits rows that the next one had taken from the staging table",
        "protime_source.warehouse.staging:holds_others",
        "not rows.may_be(found, whole=True) if rows.count else bool(found.count)",
        "bool(found.count) and not rows.may_be(found, whole=True)",
    ),
    Mutation(
        "looked-at-once",
        "a run rests on a state that was committed after it looked at the one before",
        f"{_HOSTS}:Run._open_ledger",
        "while silence:",
        "for _ in range(len(silence)):",
    ),
    Mutation(
        "late-merge-beside-a-death",
        "a late merge is taken for the death of another run",
        "protime_source.pipeline.overlaps:find_unmerged",
        '"known" in silence and',
        'silence == {"known"} and',
    ),
    Mutation(
        "left-out-of-a-package",
        "a package is loaded onto an edited table whose rows, of a dead first load, it leaves out",
        "protime_source.pipeline.discards:tables_with_rows",
        "with_rows | package.incomplete_tables",
        "with_rows",
    ),
    Mutation(
        "merged-under-a-package",
        "a pending package is loaded onto rows that a run has merged since, which died",
        f"{_PACKAGES}:_holds_others",
        "return not is_own and",
        "return False and",
    ),
    Mutation(
        "late-merge-of-what-was-copied",
        "a run that is thought dead merges what it has copied after another has read the table",
        f"{_HOSTS}:Run._extract",
        "if may_be_ahead and self.silence:",
        "if False:",
    ),
    Mutation(
        "live-rows-of-a-dead-run",
        "the ledger counts live rows wrong after a run has merged, and died",
        f"{_ENGINE}:CollectionSync._follow_delta",
        "context.may_be_ahead or _is_ahead",
        "_is_ahead",
    ),
)

REAL_ONLY = {
    "the filter's SQL itself, on each engine": "tests/units/warehouse/test_merge.py",
    "a copy into the staging table that is repeated": "tests/system/test_histories.py, kills at"
    " `staging load's marker`",
    "two staged rows for an id: refused, or stored twice": "tests/units/warehouse/test_merge.py",
    "a bookmark of another destination, dataset, start date or column selection": "tests/rules/"
    "test_bookmark.py, tests/rules/test_switching.py",
    "the rows of another run are merged in place of the package's": "tests/system/"
    "test_overlaps.py, tests/rules/test_packages.py",
    "another tenant's rows": "tests/rules/test_tenants.py",
    "dlt cannot go on with what a kill left of its folder": "tests/system/test_crashes.py",
    "a page that is cut, too large, redirected or sent with another token": "tests/rules/"
    "test_bookmark.py, tests/units/api/",
    "a reader who sees a table half changed": "tests/system/test_readers.py",
}
"""Faults that live in SQL, HTTP or dlt alone, and the real test that finds them."""


@contextmanager
def without(name: str) -> Iterator[Mutation]:
    """Takes a mending out while the context lasts."""
    mutation = next(each for each in MUTATIONS if each.name == name)
    module_name, _, path = mutation.where.partition(":")
    module = importlib.import_module(module_name)
    owner: Any = module
    *parents, function_name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = owner.__dict__[function_name]
    mutant = _mutant(original, mutation, vars(module))
    places = (
        [owner] if parents else [m for m in _modules() if m.__dict__.get(function_name) is original]
    )
    for place in places:
        setattr(place, function_name, mutant)
    try:
        yield mutation
    finally:
        for place in places:
            setattr(place, function_name, original)


def _modules() -> list[Any]:
    """The modules that may have imported a function by its name."""
    ours = ("protime_source", "tests.simulator")
    return [m for name, m in list(sys.modules.items()) if name.startswith(ours) and m is not None]


def _mutant(original: Any, mutation: Mutation, names: dict[str, Any]) -> Any:
    source = textwrap.dedent(inspect.getsource(original))
    old = mutation.old
    if source.count(old) != 1:
        raise LookupError(f"{mutation.name}: {mutation.where} no longer has {old!r} once")
    made: dict[str, Any] = {}
    code = compile(
        f"from __future__ import annotations\n{source.replace(old, mutation.new)}",
        mutation.where,
        "exec",
    )
    exec(code, names, made)  # noqa: S102  # the function as it stands, but for some words
    return made[original.__name__]
