"""Work done ahead: the next items are made while those before them are used."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

SECONDS_BETWEEN_LOOKS = 0.002


class Sized(Protocol):
    """What knows how much room it takes."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...


T = TypeVar("T", bound=Sized)


class Ahead(Iterator[T]):
    """Takes items in a thread of its own, as long as there is room for those that wait.

    Args:
        items: Where to take from; what it raises is raised where the item is asked for.
        room: Bytes of items that may wait; an item begun before that is finished.
    """

    def __init__(self, items: Iterable[T], room: int) -> None:
        self._items = items
        self._free = room
        self._waiting: deque[T] = deque()
        self._error: BaseException | None = None
        self._is_over = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._take, name="protime-ahead", daemon=True)
        self._thread.start()

    def __next__(self) -> T:
        """The next item, as soon as it is there."""
        with self._change:
            self._change.wait_for(self._is_settled)
            if self._waiting:
                item = self._waiting.popleft()
                self._free += item.size
                self._change.notify()
                return item
        if self._error is not None:
            raise self._error
        raise StopIteration

    def is_ready(self, seconds: float) -> bool:
        """Whether `next` would not wait, looked at for some time."""
        with self._change:
            return self._change.wait_for(self._is_settled, seconds)

    def close(self) -> None:
        """Ends it, with the item that is being made."""
        with self._change:
            self._is_over = True
            self._waiting.clear()
            self._change.notify()
        self._thread.join()

    def _take(self) -> None:
        try:
            for item in self._items:
                with self._change:
                    self._change.wait_for(self._has_room)
                    if self._is_over:
                        return
                    self._waiting.append(item)
                    self._free -= item.size
                    self._change.notify()
        except BaseException as error:
            self._error = error
        finally:
            with self._change:
                self._is_over = True
                self._change.notify()

    def _has_room(self) -> bool:
        return self._is_over or self._free > 0

    def _is_settled(self) -> bool:
        return bool(self._waiting) or self._is_over


def served(items: Ahead[T], is_alone: Callable[[], bool]) -> Iterator[T | None]:
    """Items as they come. Several collections wait for theirs at the same time.

    dlt turns to another collection at a `None`. Its own threads (`parallelized`) would not do: its
    pipelines and their SQL clients are for one.

    Args:
        items: Where to take from.
        is_alone: Whether nobody else has work to do meanwhile.

    Yields:
        The items; `None` while the next one is not there and others can be served.
    """
    while True:
        while not is_alone() and not items.is_ready(SECONDS_BETWEEN_LOOKS):
            yield None
        if (item := next(items, None)) is None:
            return
        yield item
