"""A full load is fetched on while a part of it is loaded, and each page is requested once."""

from __future__ import annotations

import gc
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source import RefusedCollectionsError, protime
from protime_source.demo import Behaviour, Fault
from tests.conftest import WorldFactory
from tests.units.sync.test_prefetch import prefetch_threads, settles
from tests.world import World

PAGES = 3


@pytest.fixture
def world(make_world: WorldFactory) -> World:
    """A tenant of three pages."""
    return make_world(rows=10 * PAGES, page_size=10)


@pytest.fixture
def tiny_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that both threads wait for room."""
    for name in ("FETCHED_BUFFER_BYTES", "DECODED_BUFFER_BYTES"):
        monkeypatch.setattr(f"protime_source.sync.prefetch.{name}", 1)


def _fails(*_: object, **__: object) -> None:
    raise RuntimeError("before the first package is loaded")


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_full_load_in_packages_requests_each_page_once(world: World) -> None:
    """The links of prefetched pages are used up when the next package is extracted."""
    world.tenant.behaviour = Behaviour(pages_rereadable=False)
    summary = world.load()
    world.check()
    assert world.requests == summary.tables["assignments"].counts["requests"] == PAGES + 1
    assert len(world.query(f"SELECT 1 FROM {world.dataset}._dlt_loads")) == PAGES + 1


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_full_load_is_fetched_on_while_a_part_of_it_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    normalize, is_fetched = dlt.Pipeline.normalize, []

    def normalize_then(self: dlt.Pipeline, **options: Any) -> Any:
        is_fetched.append(settles(lambda: world.requests >= PAGES))
        return normalize(self, **options)

    monkeypatch.setattr(dlt.Pipeline, "normalize", normalize_then)
    world.load()
    assert is_fetched[0], "all pages, before the first package is loaded"
    world.check()


@pytest.mark.usefixtures("every_page_is_a_package", "tiny_buffers")
@pytest.mark.parametrize("pages_rereadable", [True, False])
def test_prefetched_pages_are_lost_with_a_failed_load(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch, pages_rereadable: bool
) -> None:
    """Where their links are used up, the full load is restarted."""
    behaviour = Behaviour(pages_rereadable=pages_rereadable)
    pages = PAGES + 1  # one more than there is room for
    world = make_world(rows=10 * pages, page_size=10, behaviour=behaviour)
    with monkeypatch.context() as patched:
        patched.setattr(dlt.Pipeline, "normalize", _fails)
        with pytest.raises(RuntimeError, match="before the first package"):
            world.load()
    assert not prefetch_threads()
    world.load()
    world.check()
    assert world.requests <= pages + pages + 2


@pytest.mark.usefixtures("every_page_is_a_table", "tiny_buffers")
def test_a_full_load_that_fails_leaves_no_thread(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(rows=20 * PAGES, page_size=10)
    monkeypatch.setattr("protime_source.decode.tables.BatchBuilder.from_columns", _fails)
    with pytest.raises(PipelineStepFailed):
        world.run()
    assert settles(lambda: not prefetch_threads())


@pytest.mark.usefixtures("every_page_is_a_table", "tiny_buffers")
def test_a_map_that_is_refused_leaves_no_thread(make_world: WorldFactory) -> None:
    """Whenever garbage is collected: it may be in a thread that the prefetcher waits for."""
    gc.collect()
    gc.disable()
    world = make_world(rows=20 * PAGES, page_size=10)
    source = protime()
    source.assignments.add_map(lambda table: None)
    try:
        with pytest.raises(PipelineStepFailed):
            world.pipeline().run(source)
        assert not prefetch_threads()
    finally:
        gc.enable()


@pytest.mark.usefixtures("every_page_is_a_package")
def test_an_error_is_raised_after_the_pages_before_it_are_loaded(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=403, times=99, after=2))
    with pytest.raises(RefusedCollectionsError):
        world.load()
    assert len(world.rows()) == 2 * 10
    assert not prefetch_threads()
    world.tenant.faults.clear()
    world.load()
    world.check()
