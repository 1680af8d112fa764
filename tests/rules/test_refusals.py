"""A collection that Protime refuses is never green, and does not stop the others in `load`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import RefusedCollectionsError, load, protime
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.failures import explain
from protime_source.pipeline.summary import Summary
from tests.world import World

SCOPE = "connector-protimeapi-people.read"


WAYS = (("refuse", 403), ("omit", 403), ("omit", 401))
"""How Protime says that a client lacks a scope: by the token, or by the status of the request."""


def test_a_refused_collection_fails_the_run_and_load_loads_the_others(
    world: World, subtests: pytest.Subtests
) -> None:
    for unknown_scope, status in WAYS:
        switches: Any = {"unknown_scope": unknown_scope, "missing_scope_status": status}
        world.tenant.behaviour = Behaviour(granted_scopes=(ASSIGNMENTS.read_scope,), **switches)
        with subtests.test(f"{unknown_scope} {status}"):
            with pytest.raises(PipelineStepFailed) as caught:
                world.pipeline().run(protime("assignments", "people"))
            failure = explain(caught.value)
            assert failure.exit_code == RefusedCollectionsError.exit_code == 3
            assert SCOPE in failure.message
            assert not world.engine.holds("assignments"), "a run that fails changes nothing"
    with pytest.raises(RefusedCollectionsError, match=SCOPE) as refused:
        load(world.pipeline(), collections="people,assignments")
    assert refused.value.tables == ("people",)
    assert isinstance(refused.value.summary, Summary)
    assert [*refused.value.summary.tables] == ["assignments"]
    world.check()


def test_a_collection_that_protime_does_not_have_is_refused_too(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=404, times=99, where="/people"))
    with pytest.raises(RefusedCollectionsError, match="Protime does not have it"):
        world.load(collections="people,assignments")
    world.check()


def test_a_refusal_in_one_run_does_not_reach_the_next(world: World) -> None:
    source, everything = protime("assignments", "people"), world.tenant.behaviour
    world.tenant.behaviour = replace(everything, granted_scopes=(ASSIGNMENTS.read_scope,))
    with pytest.raises(PipelineStepFailed):
        world.pipeline().run(source)
    world.tenant.behaviour = everything
    world.pipeline().run(source)
    world.check_tables("assignments", "people")
