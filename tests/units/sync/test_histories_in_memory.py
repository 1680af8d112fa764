"""The engine alone, in memory: whatever happens, in the end the table says what Protime says."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

from tests.units.sync.memory import live_through

HISTORIES = int(os.environ.get("PROTIME_MEMORY_HISTORIES", "10000"))
PARTS = 10
"""Parts for several workers."""


@pytest.fixture(autouse=True)
def _without_warnings() -> Iterator[None]:
    logger = logging.getLogger("protime_source")
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(logging.NOTSET)


@pytest.mark.parametrize("part", range(PARTS))
def test_after_any_history_the_table_says_what_protime_says(part: int) -> None:
    for seed in range(part, HISTORIES, PARTS):
        try:
            trace = live_through(seed)
        except BaseException as error:
            error.add_note(f"live_through({seed})")
            raise
        if seed % 100 < PARTS:
            assert live_through(seed) == trace, f"seed {seed} is not one history"
