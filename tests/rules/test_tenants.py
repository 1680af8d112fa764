"""One tenant, one dataset: the rows of two are never mixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.pipeline.helpers import pipeline_drop

from protime_source import WarehouseError, protime
from protime_source.pipeline.failures import explain
from tests.conftest import WorldFactory
from tests.world import World


def _refused(world: World, *collections: str, pipeline: str = "protime", **settings: Any) -> str:
    """The message of a run that is refused before anything is requested."""
    world.tenant.clear_requests()
    rows = world.rows()
    with pytest.raises(PipelineStepFailed) as caught:
        world.pipeline(pipeline).run(protime(*collections, **settings))
    failure = explain(caught.value)
    assert failure.exit_code == WarehouseError.exit_code
    assert world.requests == 0
    assert world.rows() == rows
    return failure.message


def test_another_tenant_is_refused_whatever_it_would_load(
    world: World, make_world: WorldFactory
) -> None:
    """Also by its address alone, another collection, one without a delta, and on a new machine."""
    world.run()
    message = _refused(world, tenant="beta")
    assert f"was loaded from demo at {world.server.api_url}" in message
    assert f"this run is for beta at {world.server.api_url}" in message
    _refused(world, "jobs", tenant="beta")
    world.pipeline().run(protime("jobs"))
    _refused(world, "jobs", tenant="beta")
    world.run()
    world.check()
    other = make_world(seed=2)
    _refused(other)
    world.lose_working_folder()
    _refused(other)


def test_another_tenant_may_have_another_dataset(world: World, make_world: WorldFactory) -> None:
    world.run()
    other = make_world(seed=2)
    other.pipeline(dataset="other").run(protime())
    count = "SELECT count(*) FROM other.assignments WHERE NOT is_deleted"
    assert other.query(count) == [(len(other.tenant.records),)]


def test_another_tenant_may_replace_the_rows_once_they_are_dropped(
    world: World, make_world: WorldFactory
) -> None:
    world.run()
    other = make_world(seed=2)
    other.pipeline().run(protime(), refresh="drop_sources")
    other.check()


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_another_tenant_is_refused_also_when_another_pipeline_loaded_it(world: World) -> None:
    world.run()
    message = _refused(world, pipeline="beta", tenant="beta")
    assert "the pipeline protime loaded assignments from demo at" in message
    assert f"this run is for beta at {world.server.api_url}" in message
    assert "`protime reset all`" in message
    world.run()
    world.check()


def test_a_second_pipeline_of_the_tenant_is_warned_about(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.run()
    world.tenant.churn(20)
    for _ in range(2):
        world.pipeline("second").run(protime())
    world.check()
    warnings = [each.getMessage() for each in caplog.records if each.name.endswith("guards")]
    assert [warning.partition(f"dataset {world.dataset}")[2] for warning in warnings] == [
        " is also loaded by another pipeline of the same tenant: protime. Each follows a delta of"
        " its own, and with one client Protime keeps only one for a collection, so that they force"
        " each other into full loads. Load a dataset with one pipeline."
    ]


def test_another_working_folder_and_another_name_hide_no_tenant(world: World) -> None:
    world.run()
    world.tenant.churn(20)
    world.run()
    elsewhere = replace(world, folder=world.folder / "elsewhere")
    _refused(elsewhere, "jobs", pipeline="beta", tenant="beta")
    _refused(elsewhere, tenant="beta")


def test_another_pipeline_may_replace_the_rows_once_they_are_dropped(
    world: World, make_world: WorldFactory
) -> None:
    world.run()
    pipeline_drop(world.pipeline(), drop_all=True)()
    other = make_world(seed=2)
    other.pipeline("beta").run(protime())
    other.check()
