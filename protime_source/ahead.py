"""Work done ahead: the next item is fetched while the last is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

SECONDS_BETWEEN_LOOKS = 0.002


def alone() -> bool:
    """Nobody else has work to do."""
    return True


def ahead(items: Iterator[T], is_alone: Callable[[], bool] = alone) -> Iterator[T | None]:
    """Takes one item more than was asked for, in a thread of its own.

    With an answer time of 100 ms, decoding and writing then cost a walk nothing. Several
    collections wait for their pages at the same time: dlt turns to another one at a `None`. Its
    own threads (`parallelized`) would not do: its pipelines and their SQL clients are for one.

    Args:
        items: Where to take from; what it raises is raised where the item is asked for.
        is_alone: Whether nobody else has work to do meanwhile.

    Yields:
        The same items; `None` while the next one is not there and others can be served.
    """
    with ThreadPoolExecutor(1, "protime-ahead") as thread:
        coming = thread.submit(next, items, None)
        while True:
            while not is_alone() and not wait([coming], SECONDS_BETWEEN_LOOKS).done:
                yield None
            if (item := coming.result()) is None:
                return
            coming = thread.submit(next, items, None)
            yield item
