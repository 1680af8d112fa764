"""Whichever way Protime behaves where its documentation is silent, the table comes out right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from datetime import date
from itertools import combinations
from random import Random
from typing import Any

import pytest

from protime_source.demo import Behaviour
from tests.conftest import WorldFactory
from tests.memory_world import MemoryWorld
from tests.rules.conftest import MemoryFactory
from tests.world import Row, World, as_sent, as_wanted

START = f"{date.today().year - 1}-10-01"
"""Inside the data, so that rows move into and out of the window."""

READ = "connector-protimeapi-assignments.read"
VALUES: dict[str, tuple[Any, ...]] = {
    "links_rereadable": (False,),
    "pages_rereadable": (False,),
    "older_delta_dies": (False,),
    "events": ("all",),
    "order": ("newest_first", "shuffled"),
    "repeat_events": (True,),
    "window": ("overlap",),
    "leaving_window": ("silent", "update"),
    "delete_payload": (True,),
    "delete_version": ("same",),
    "delta_page_size": (1, 7),
    "empty_last_page": (True,),
    "empty_middle_page": (True,),
    "page_overlap": (10,),
    "stale_continuation_status": (410,),
    "continuation_lifetime_hours": (None,),
    "token_lifetime": (1,),
    "unknown_scope": ("omit",),
    "granted_scopes": ((READ,),),
    "missing_scope_status": (401,),
    "link_style": ("encoded", "absolute"),
    "require_user_agent": (False,),
    "extra_fields": ({"costCentre": {"code": "A1"}, "isRemote": True},),
    "latency": (0.002,),
}
WRITES = {"created_body", "delete_status", "fills_in"}
"""Switches that concern writes alone: `tests/rules/test_push.py` tries them."""

NOT_OPEN = {
    "feature_disabled",
    "without_version",
    *(each.name for each in fields(Behaviour) if each.name.startswith("webhook_")),
}
"""Not a behaviour but an error: the command line's tests have it. One that is open for another
collection: `test_activity_durations_may_lack_a_version`. And those of webhooks, which load nothing:
`tests/system/test_listen.py` has them."""

CHOICES = {name: (getattr(Behaviour(), name), *values) for name, values in VALUES.items()}
"""Each switch's default and its other values."""

Pair = tuple[tuple[str, int], tuple[str, int]]
"""Two switches, and the numbers of their values."""


def _pairs(chosen: Iterable[tuple[str, int]]) -> set[Pair]:
    return set(combinations(sorted(chosen), 2))


def _every_pair() -> set[Pair]:
    every = ((name, number) for name, values in CHOICES.items() for number in range(len(values)))
    return {pair for pair in _pairs(every) if pair[0][0] != pair[1][0]}


def _pairwise(seed: int) -> list[dict[str, int]]:
    """Returns few combinations, in which any two values of any two switches meet.

    Each is the best of ten that grow from a pair that has not met, switch by switch in random
    order, by the value that meets most of the values which it has not met.
    """
    random, missing, found = Random(seed), _every_pair(), []
    while missing:
        candidates = []
        for _ in range(10):
            chosen = dict(random.choice(sorted(missing)))
            for name in random.sample(sorted(CHOICES), len(CHOICES)):
                if name not in chosen:
                    numbers = random.sample(range(len(CHOICES[name])), len(CHOICES[name]))
                    others = chosen.items()
                    chosen[name] = max(
                        numbers,
                        key=lambda n: sum(
                            tuple(sorted(((name, n), other))) in missing for other in others
                        ),
                    )
            candidates.append(chosen)
        best = max(candidates, key=lambda each: len(_pairs(each.items()) & missing))
        missing -= _pairs(best.items())
        found.append(best)
    return found


COMBINATIONS = _pairwise(seed=8)
BEHAVIOURS = [
    Behaviour(**{name: CHOICES[name][number] for name, number in each.items()})
    for each in COMBINATIONS
]


def _is_inside(record: Row, behaviour: Behaviour) -> bool:
    last = record.get("until") or record["from"]
    return bool((last if behaviour.window == "overlap" else record["from"]) >= START)


def _check(world: World | MemoryWorld, *, loaded_fully: bool = False) -> None:
    """The live rows are Protime's rows in the window, and no others but what cannot be known.

    A row that Protime shows outside the window (`update`), or that begins before it (`overlap`),
    is stored; nothing says when it changes or goes later, and no full load shows it. A row that
    left silently stays as it was until a full load no longer shows it.
    """
    how = world.tenant.behaviour
    shown = {id_: as_sent(row) for id_, row in world.live().items()}
    wanted = {
        id_: as_wanted(record)
        for id_, record in world.tenant.records.items()
        if _is_inside(record, how)
    }
    assert {id_: shown.get(id_) for id_ in wanted} == wanted
    others = [row for id_, row in shown.items() if id_ not in wanted]
    may_linger = how.leaving_window == "silent" and not loaded_fully
    assert [row for row in others if row["from"] >= START and not may_linger] == []
    if how.leaving_window == "delete" and how.window == "from":
        assert others == []


def _life(world: World | MemoryWorld, seed: int) -> None:
    def run(*, churn: int = 0, loaded_fully: bool = False) -> None:
        world.tenant.churn(churn, seed=seed + churn)
        world.run(start_date=START)
        _check(world, loaded_fully=loaded_fully)

    run(loaded_fully=True)
    run(churn=200)
    world.tenant.clock.advance(hours=73)
    run(churn=90, loaded_fully=True)


def test_every_switch_is_tried() -> None:
    assert {field.name for field in fields(Behaviour)} - NOT_OPEN - WRITES == VALUES.keys()


def test_any_two_values_of_any_two_switches_are_tried_together() -> None:
    assert set().union(*(_pairs(each.items()) for each in COMBINATIONS)) == _every_pair()
    assert len(COMBINATIONS) == 15


@pytest.mark.parametrize("number", range(len(BEHAVIOURS)))
def test_the_table_is_right_with_any_combination(make_memory: MemoryFactory, number: int) -> None:
    _life(make_memory(behaviour=BEHAVIOURS[number], seed=number), seed=number)


@pytest.mark.parametrize(
    ("engine", "number"), [("duckdb", 0), ("postgres", 1)], indirect=["engine"]
)
def test_the_table_of_an_engine_is_right_too(make_world: WorldFactory, number: int) -> None:
    _life(make_world(behaviour=BEHAVIOURS[number], seed=number), seed=number)


def test_rows_that_leave_silently_are_found_by_a_full_load(make_memory: MemoryFactory) -> None:
    """Proof that the exception made above is used."""
    memory = make_memory(behaviour=Behaviour(leaving_window="silent"))
    leaver = memory.tenant.create(person={"id": 7}, **{"from": START})
    memory.run(start_date=START)
    memory.tenant.update(leaver, {"person": {"id": 7}, "from": f"{START[:4]}-02-01"})
    memory.run(start_date=START)
    assert leaver in memory.live()
    memory.run(start_date=START, full_resync=True)
    assert leaver not in memory.live()
