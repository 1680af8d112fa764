"""Whatever happens, in the end the table says what Protime says; and the simulator would see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.simulator.__main__ import live_through_seeds, silence
from tests.simulator.mutations import MUTATIONS, without
from tests.simulator.protime import Behaviour
from tests.simulator.shrink import as_code, failure_of, shrink
from tests.simulator.steps import Delete, Fail, Happen, History, Run, SetClock, Write, make_history
from tests.simulator.world import Met, live_through

HISTORIES = 400
PARTS = 4
"""Parts for several workers."""

EVENTS = 60
"""Kinds of events, kills before each effect among them, that the histories of one part have."""

QUICK = (
    "order-of-events",
    "nothing-vanishes",
    "package-on-another-state",
    "seen-ids-lost-on-resume",
    "tombstone-with-keys-only",
)
"""Mutations that are found within a few histories; the command finds all of them."""


THREE = (Write(1, 1), Write(2, 1), Write(3, 1))


def _late_merge(before: str) -> History:
    """A run stands still without its lock, and merges and dies after another has read the table."""
    return History(
        Behaviour(),
        (
            Run(),
            Run(),
            Write(1, 1),
            Run(host=1, effects=0, counted=before),
            Happen("lose locks"),
            Delete(1),
            Write(2, 1),
            Run(effects=0, counted="open the destination", dies=True),
            Run(host=1, effects=0, counted="write the load's record", dies=True),
            Run(),
        ),
    )


RARE = {
    "no-lock": History(
        Behaviour(),
        (Write(1, 1), Run(effects=0, counted="empty the staging table"), Run(host=1), Run()),
    ),
    "stale-guard": History(
        Behaviour(),
        (
            Write(1, 1),
            Run(effects=0, counted="empty the staging table"),
            Happen("lose locks"),
            Write(1, 1),
            Run(host=1),
        ),
    ),
    "restarted-full-load": History(
        Behaviour(page_size=1),
        (*THREE, Run(effects=2, counted="request"), Delete(1), Happen("another consumer"), Run()),
    ),
    "repeated-ids": History(
        Behaviour(page_size=1, page_overlap="as it was"),
        (Write(1, 1), Write(1, 2), Write(2, 1), Run()),
        batch_pages=3,
    ),
    "equal-versions": History(
        Behaviour(same_version=True, repeats=True),
        (Write(1, 1), Run(), Write(1, 2), Delete(1), Run(), Run()),
    ),
    "stale-events": History(
        Behaviour(same_version=True, repeats=True),
        (Write(1, 1), Run(), Write(1, 2), Delete(1), Write(1, 3), Run(), Run()),
    ),
    "newest-by-time": History(
        Behaviour(),
        (SetClock(0, 48), *THREE, Run(), SetClock(0, 0), Write(1, 2), Run(), Write(1, 3), Run()),
    ),
    "bookmark-ahead-of-its-version": History(
        Behaviour(),
        (
            SetClock(0, 48),
            *THREE,
            Run(),
            SetClock(0, 0),
            Run(),
            Run(),
            Run(host=1),
        ),
    ),
    "invalidated-full-load": History(
        Behaviour(page_size=1),
        (
            *(Write(id_, 1) for id_ in range(1, 15)),
            Run(),
            Happen("hide"),
            Run(full_resync=True, package_pages=1),
            Happen("show"),
            Run(),
        ),
        max_vanished_share=0.3,
    ),
    "snapshot-without-a-state": History(
        Behaviour(kind="snapshot"),
        (Write(1, 1), Run(effects=0, counted="request"), Run(host=1)),
        is_file=True,
    ),
    "resumed-full-load-alone": History(
        Behaviour(page_size=1),
        (
            *THREE,
            Run(),
            Run(
                effects=1,
                counted="commit the extracted package",
                dies=True,
                full_resync=True,
                package_pages=1,
            ),
            Write(1, 2),
            Run(),
        ),
    ),
    "late-merge-of-a-silent-run": History(
        Behaviour(),
        (
            Run(),
            Write(1, 1),
            Run(effects=0, counted="empty the staging table"),
            Delete(1),
            Happen("lose locks"),
            Run(host=1),
            Run(effects=0, counted="write the load's record", dies=True),
        ),
    ),
    "restored-rows": History(
        Behaviour(),
        (
            Write(1, 1),
            Run(),
            Delete(1),
            Run(),
            Run(full_resync=True),
            Write(1, 1),
            Run(),
            Happen("empty the table"),
        ),
    ),
    "full-load-taken-back": History(
        Behaviour(page_size=1),
        (
            *THREE,
            Run(),
            Happen("drop a column"),
            Run(max_pages=2),
            Run(host=1, effects=0, counted="copy the state", dies=True),
        ),
    ),
    "emptied-table-of-a-refused-full-load": History(
        Behaviour(page_size=1),
        (
            *THREE,
            Run(),
            Happen("empty the table"),
            Fail(after=2, kind="forbidden"),
            Run(),
        ),
        group_rows=2,
    ),
    "merge-of-emptied-tables": History(
        Behaviour(),
        (
            Write(1, 1),
            Run(),
            Write(1, 1),
            Run(host=1, effects=0, counted="merge"),
            Happen("lose locks"),
            Run(effects=8),
            Run(host=1, effects=3, dies=True),
        ),
    ),
    "looked-at-once": History(
        Behaviour(),
        (
            Write(1, 1),
            Run(),
            Write(1, 1),
            Run(host=1, effects=0, counted="merge"),
            Happen("lose locks"),
            Run(effects=7),
            Run(host=1, effects=3, dies=True),
            Write(2, 1),
        ),
    ),
    "late-merge-beside-a-death": History(
        Behaviour(),
        (
            Run(),
            Write(1, 1),
            Run(effects=0, counted="empty the staging table"),
            Delete(1),
            Happen("lose locks"),
            Run(host=1),
            Run(effects=0, counted="write the load's record", dies=True),
            Run(
                host=1,
                effects=0,
                counted="check the staging table for a run without an end",
                dies=True,
            ),
        ),
    ),
    "left-out-of-a-package": History(
        Behaviour(),
        (
            Write(1, 1),
            Run(effects=0, counted="mark the merge", dies=True),
            Run(host=1, effects=0, counted="open the destination", dies=True),
            Happen("drop a column"),
            Run(host=1),
        ),
    ),
    "merged-under-a-package": _late_merge(before="empty the staging table"),
    "late-merge-of-what-was-copied": _late_merge(before="merge"),
    "live-rows-of-a-dead-run": History(
        Behaviour(leaving="silent"),
        (
            Write(1, 1),
            Run(),
            Run(),
            Write(1, -3),
            Run(
                host=1,
                effects=0,
                counted="write the load's record",
                dies=True,
                full_resync=True,
            ),
            Run(),
        ),
    ),
    "guarded-column": History(
        Behaviour(),
        (
            *(Write(id_, 1) for id_ in range(1, 15)),
            Run(),
            Happen("drop a column"),
            Happen("hide"),
            Run(),
        ),
        max_vanished_share=0.3,
        group_rows=2,
    ),
}
"""What must come together for a mutation to be missed that few histories of chance meet."""


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    with silence():
        yield


@pytest.mark.parametrize("part", range(PARTS))
def test_after_any_history_the_table_says_what_protime_says(part: int) -> None:
    size = HISTORIES // PARTS
    met, failures, _ = live_through_seeds(range(part * size, (part + 1) * size))
    assert not failures, f"python -m tests.simulator --seed {failures[0][0]}"
    assert len({event for event, _ in met}) >= EVENTS


@pytest.mark.parametrize("seed", range(0, HISTORIES, HISTORIES // 8))
def test_a_seed_is_one_history(seed: int) -> None:
    assert live_through(seed) == live_through(seed)


def test_a_failing_history_is_shrunk_to_a_few_lines() -> None:
    with without("tombstone-with-keys-only"):
        seed = next(seed for seed in range(200) if failure_of(make_history(seed)))
        small = shrink(make_history(seed))
    assert len(small.steps) <= 4
    assert "live_through" in as_code(small)


@pytest.mark.parametrize("name", QUICK)
def test_a_mending_that_is_taken_out_is_missed(name: str) -> None:
    with without(name):
        assert any(failure_of(make_history(seed)) for seed in range(60))


@pytest.mark.parametrize("name", RARE)
def test_a_mending_that_is_seldom_needed_is_missed_where_it_is(name: str) -> None:
    assert not failure_of(RARE[name])
    with without(name):
        assert failure_of(RARE[name])


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_each_mutation_still_has_the_words_that_it_takes_out(mutation: object) -> None:
    with without(getattr(mutation, "name")):  # noqa: B009
        pass


def test_coverage_says_which_event_met_which_state() -> None:
    met: Met = Counter()
    history = History(Behaviour(), (Write(1, 1), Run(), Delete(1), Happen("back up"), Run()))
    live_through(history, met)
    assert met["delete", "bookmark: delta, alive"] == 1
    assert met["run succeeded", "table: missing"] == 1


def test_synced_at_grows_past_what_a_killed_run_has_merged() -> None:
    live_through(
        History(
            Behaviour(page_size=20, older_delta_dies=True, delete_payload=True, same_version=True),
            (
                Write(id=2, day=8),
                Write(id=7, day=3),
                Run(host=1),
                Delete(id=2),
                Run(),
                Delete(id=7),
                Run(host=1, effects=24, dies=True, package_pages=2),
                SetClock(host=0, hours=-30),
            ),
        )
    )


def test_synced_at_grows_past_what_a_killed_part_of_a_full_load_has_merged() -> None:
    live_through(
        History(
            Behaviour(page_size=1),
            (
                Write(id=1, day=1),
                Write(id=2, day=1),
                Write(id=3, day=0),
                SetClock(host=1, hours=-30),
                Run(effects=2, counted="mark the copy", dies=True, package_pages=1),
                Run(host=1),
            ),
        )
    )


def test_a_first_load_without_rows_ends_what_another_has_merged_before_it_died() -> None:
    live_through(
        History(
            Behaviour(),
            (
                Write(1, 1),
                Run(effects=0, counted="request"),
                Run(host=1, effects=0, counted="mark the merge", dies=True),
                Delete(1),
            ),
            is_file=True,
        )
    )
