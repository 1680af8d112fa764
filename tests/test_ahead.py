"""What is read ahead: how far, in which order, and what becomes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from protime_source.catalogue import ASSIGNMENTS
from protime_source.decode.fast import TypedDecoder
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.load import load
from protime_source.settings import Settings
from protime_source.sync.prefetch import Ahead, served
from protime_source.sync.reader import Reader
from protime_source.sync.session import Session
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.world import World

PAGES = 3


@dataclass(frozen=True)
class Item:
    number: int
    size: int = 10


class Source(Iterator[Item]):
    """Items that note how many were made."""

    def __init__(self, *, end: int = 10**6, error: Exception | None = None) -> None:
        self.made, self._end, self._error = 0, end, error

    def __next__(self) -> Item:
        if self.made == self._end:
            raise self._error or StopIteration
        self.made += 1
        return Item(self.made)


@pytest.fixture
def world(make_world: WorldFactory) -> World:
    """A tenant of three pages."""
    return make_world(rows=10 * PAGES, page_size=10)


def _settles(found: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not found() and time.monotonic() < deadline:
        time.sleep(0.001)
    return found()


def _readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "protime-ahead"]


@pytest.mark.parametrize(("room", "waiting"), [(1, 1), (10, 1), (11, 2), (40, 4)])
def test_items_are_made_until_there_is_no_more_room(room: int, waiting: int) -> None:
    source = Source()
    ahead = Ahead(source, room)
    assert _settles(lambda: source.made == waiting + 1), "one more is finished, and waits"
    assert next(ahead) == Item(1)
    assert _settles(lambda: source.made == waiting + 2)
    time.sleep(0.02)
    assert source.made == waiting + 2
    ahead.close()


def test_all_items_come_in_their_order() -> None:
    assert [item.number for item in Ahead(Source(end=500), 30)] == [*range(1, 501)]


def test_an_error_comes_where_its_item_was_to_come() -> None:
    ahead = Ahead(Source(end=2, error=ZeroDivisionError("no third one")), 100)
    assert [next(ahead), next(ahead)] == [Item(1), Item(2)]
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="no third one"):
            next(ahead)


def test_after_it_is_closed_nothing_comes_and_no_thread_is_left() -> None:
    ahead = Ahead(Source(), 100)
    next(ahead)
    ahead.close()
    assert next(ahead, None) is None
    assert not _readers()


def test_others_are_served_while_an_item_is_made() -> None:
    may_come = threading.Event()

    def items() -> Iterator[Item]:
        may_come.wait(10)
        yield Item(1)

    coming = served(Ahead(items(), 100), lambda: False)
    assert [next(coming), next(coming)] == [None, None]
    may_come.set()
    assert [item for item in coming if item] == [Item(1)]


def test_nobody_is_served_who_is_not_there() -> None:
    assert [*served(Ahead(Source(end=2), 100), lambda: True)] == [Item(1), Item(2)]


@pytest.mark.usefixtures("every_page_is_a_package")
@sql_engines
def test_a_walk_in_packages_asks_for_each_page_once(world: World) -> None:
    """The links of what was read ahead of a load are spent when the next load begins."""
    world.tenant.behaviour = Behaviour(pages_rereadable=False)
    summary = load(world.pipeline())
    world.check()
    assert world.requests == summary.tables["assignments"].counts["requests"] == PAGES + 1
    assert len(world.query(f"SELECT 1 FROM {world.dataset}._dlt_loads")) == PAGES + 1


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_walk_is_read_on_while_a_part_of_it_is_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    normalize, read = dlt.Pipeline.normalize, []

    def normalize_then(self: dlt.Pipeline, **options: Any) -> Any:
        read.append(_settles(lambda: world.requests >= PAGES))
        return normalize(self, **options)

    monkeypatch.setattr(dlt.Pipeline, "normalize", normalize_then)
    load(world.pipeline())
    assert read[0], "the whole walk, before its first package is loaded"
    world.check()


@pytest.fixture
def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that both threads wait for room."""
    for room in ("ROOM_FETCHED", "ROOM_DECODED"):
        monkeypatch.setattr(f"protime_source.sync.reader.{room}", 1)


@pytest.mark.usefixtures("every_page_is_a_package", "no_room")
@pytest.mark.parametrize("pages_rereadable", [True, False])
def test_what_was_read_ahead_of_a_failed_load(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch, pages_rereadable: bool
) -> None:
    """It is lost, and where its links are spent the walk starts anew."""
    behaviour = Behaviour(pages_rereadable=pages_rereadable)
    world = make_world(rows=20 * PAGES, page_size=10, behaviour=behaviour)
    with monkeypatch.context() as patched:
        patched.setattr(dlt.Pipeline, "normalize", _fails)
        with pytest.raises(RuntimeError, match="before the first package"):
            load(world.pipeline())
    assert not _readers()
    load(world.pipeline())
    world.check()
    assert world.requests <= 5 + 2 * PAGES + 2


@pytest.mark.parametrize(("link", "is_kept"), [("/a", True), ("/b", False)])
def test_a_reader_is_for_one_link(world: World, link: str, is_kept: bool) -> None:
    reader = Reader([], TypedDecoder(ASSIGNMENTS))
    with Session(Settings.from_config(), reads_on=True) as session:
        session.keep("assignments", "/a", reader)
        assert (session.take("assignments", link) is reader) == is_kept
        assert session.take("assignments", link) is None


@pytest.mark.usefixtures("every_page_is_a_table", "no_room")
def test_a_walk_that_is_left_leaves_no_thread(
    make_world: WorldFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(rows=20 * PAGES, page_size=10)
    monkeypatch.setattr("protime_source.decode.tables.TableBuilder.batch", _fails)
    with pytest.raises(PipelineStepFailed):
        world.run()
    assert _settles(lambda: not _readers())


def _fails(*_: object, **__: object) -> None:
    raise RuntimeError("before the first package is loaded")


@pytest.mark.usefixtures("every_page_is_a_package")
def test_a_page_that_fails_is_told_after_those_before_it_are_loaded(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=403, times=99, after=2))
    with pytest.raises(PipelineStepFailed):
        load(world.pipeline())
    assert len(world.rows()) == 2 * 10
    assert not _readers()
    world.tenant.faults.clear()
    load(world.pipeline())
    world.check()
