"""Work done ahead: the next item is fetched while the last is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Takes one item more than was asked for, in a thread of its own.

    With an answer time of 100 ms, decoding and writing then cost a walk nothing.

    Args:
        items: Where to take from; what it raises is raised where the item is asked for.

    Yields:
        The same items.
    """
    with ThreadPoolExecutor(1, "protime-ahead") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
