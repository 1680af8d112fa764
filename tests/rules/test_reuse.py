"""One source object, as a notebook keeps it, in several runs and several pipelines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protime_source import protime
from tests.engines import DuckDBEngine
from tests.world import World


class OtherDataset(DuckDBEngine):
    """The same file."""

    dataset = "other"


def test_in_one_pipeline(world: World, caplog: pytest.LogCaptureFixture) -> None:
    source = protime(history=True)
    world.pipeline().run(source)
    for seed in range(2):
        world.tenant.churn(30, seed=seed)
        world.tenant.clear_requests()
        world.pipeline().run(source)
        assert world.requests == 1
        world.check()
    assert "older" not in caplog.text


def test_in_two_datasets_of_one_pipeline(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each goes on from its own bookmark, and no backup is suspected."""
    other = replace(world, engine=OtherDataset(world.database))
    for seed in range(2):
        world.tenant.churn(30, seed=seed)
        for here in (world, other):
            here.pipeline(dataset=here.dataset).run(protime())
            here.check()
    assert "older" not in caplog.text


def test_in_two_pipelines(world: World) -> None:
    """Each is loaded by what its own warehouse and state say."""
    other, source = world.elsewhere(), protime()
    for seed in range(2):
        world.tenant.churn(30, seed=seed)
        for here in (world, other):
            here.pipeline().run(source)
            here.check()
