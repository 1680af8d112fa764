"""A collection that Protime refuses is never green, and does not stop the others in `load`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import RefusedCollectionsError, load, protime
from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.failures import explain
from protime_source.pipeline.summary import Summary
from tests.conftest import WorldFactory
from tests.world import World

SCOPE = "connector-protimeapi-people.read"


@pytest.fixture(params=[("refuse", 403), ("omit", 403), ("omit", 401)], ids=str)
def without_people(request: pytest.FixtureRequest, make_world: WorldFactory) -> World:
    """A client without the scope of people, whichever way Protime says so."""
    unknown_scope, status = request.param
    return make_world(
        behaviour=Behaviour(
            granted_scopes=(ASSIGNMENTS.read_scope,),
            unknown_scope=unknown_scope,
            missing_scope_status=status,
        )
    )


def test_a_refused_collection_fails_the_run_and_names_the_scope(without_people: World) -> None:
    with pytest.raises(PipelineStepFailed) as caught:
        without_people.pipeline().run(protime("assignments", "people"))
    failure = explain(caught.value)
    assert failure.exit_code == RefusedCollectionsError.exit_code == 3
    assert SCOPE in failure.message
    assert not without_people.engine.holds("assignments"), "a run that fails changes nothing"


def test_load_loads_the_others_and_then_fails(without_people: World) -> None:
    with pytest.raises(RefusedCollectionsError, match=SCOPE) as caught:
        load(without_people.pipeline(), collections="people,assignments")
    assert caught.value.tables == ("people",)
    assert isinstance(caught.value.summary, Summary)
    assert [*caught.value.summary.tables] == ["assignments"]
    without_people.check()


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
