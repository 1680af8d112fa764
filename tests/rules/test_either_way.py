"""Whichever way Protime behaves where its documentation is silent, the table comes out right."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from itertools import product
from random import Random
from typing import Any

import pytest

from protime_source.demo import Behaviour
from tests.conftest import WorldFactory
from tests.engines import ENGINES
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
NOT_OPEN = {"feature_disabled", "without_version"}
"""Not a behaviour but an error: the command line's tests have it. And one that is open for another
collection: `test_activity_durations_may_lack_a_version`."""

TRANSPORT = {
    "latency",
    "link_style",
    "missing_scope_status",
    "require_user_agent",
    "token_lifetime",
    "unknown_scope",
}
"""These change how an answer comes, and not what is in it: tried together."""

SINGLE = [
    Behaviour(**{name: value})
    for name, values in VALUES.items()
    for value in values
    if name not in TRANSPORT
] + [
    Behaviour(**{name: VALUES[name][turn % len(VALUES[name])] for name in TRANSPORT})
    for turn in range(2)
]


def _random(seed: int) -> Behaviour:
    """Every switch at one of its values or at its default, but those that only slow things."""
    random, behaviour = Random(seed), Behaviour()
    for name, values in VALUES.items():
        value = random.choice((getattr(behaviour, name), *values))
        behaviour = replace(behaviour, **{name: value})
    return behaviour


ON_BIGQUERY = 187
"""A seed that has much of what changes the rows that come, and not only the way they come."""


def _name(behaviour: Behaviour) -> str:
    changed = [
        f"{field.name}={getattr(behaviour, field.name)}"
        for field in fields(behaviour)
        if getattr(behaviour, field.name) != getattr(Behaviour(), field.name)
    ]
    return changed[0] if len(changed) == 1 else f"{len(changed)} switches"


def _is_inside(record: Row, behaviour: Behaviour) -> bool:
    last = record.get("until") or record["from"]
    return bool((last if behaviour.window == "overlap" else record["from"]) >= START)


def _check(world: World, *, loaded_fully: bool = False) -> None:
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


def _life(world: World, seed: int, *, is_long: bool = False) -> None:
    def run(*, churn: int = 0, loaded_fully: bool = False) -> None:
        world.tenant.churn(churn, seed=seed + churn)
        world.run(start_date=START)
        _check(world, loaded_fully=loaded_fully)

    run(loaded_fully=True)
    run(churn=200)
    world.tenant.clock.advance(hours=73)
    run(churn=90, loaded_fully=True)
    if is_long:
        run(churn=60)


def test_every_switch_is_tried() -> None:
    assert {field.name for field in fields(Behaviour)} - NOT_OPEN == VALUES.keys()


def test_bigquery_meets_what_changes_the_rows() -> None:
    behaviour = _random(ON_BIGQUERY)
    assert behaviour.leaving_window != "delete"
    assert behaviour.stale_continuation_status == 410
    assert behaviour.order == "shuffled"
    assert behaviour.delta_page_size == 7
    assert behaviour.empty_last_page
    assert behaviour.empty_middle_page
    assert not behaviour.pages_rereadable


@pytest.mark.parametrize("behaviour", SINGLE, ids=_name)
def test_one_switch_set_the_other_way(make_world: WorldFactory, behaviour: Behaviour) -> None:
    _life(make_world(behaviour=behaviour), seed=1)


@pytest.mark.parametrize(
    ("engine", "seed"),
    [*product(ENGINES[:2], range(3)), ("bigquery", ON_BIGQUERY)],
    indirect=["engine"],
)
def test_all_switches_set_at_random(make_world: WorldFactory, seed: int) -> None:
    _life(make_world(behaviour=_random(seed), seed=seed), seed, is_long=True)


def test_rows_that_leave_silently_are_found_by_a_full_load(make_world: WorldFactory) -> None:
    """Proof that the exception made above is used."""
    world = make_world(behaviour=Behaviour(leaving_window="silent"))
    leaver = world.tenant.create(person={"id": 7}, **{"from": START})
    world.run(start_date=START)
    world.tenant.update(leaver, {"person": {"id": 7}, "from": f"{START[:4]}-02-01"})
    world.run(start_date=START)
    assert leaver in world.live()
    world.run(start_date=START, full_resync=True)
    assert leaver not in world.live()
