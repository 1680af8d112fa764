"""A verification finds whatever makes a warehouse differ from Protime, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from protime_source import VerifyReport, load, verify
from tests.world import World


def loaded(world: World, *tables: str) -> World:
    load(world.pipeline(), collections=tables or ("assignments",))
    return world


def check(world: World, *tables: str, **arguments: Any) -> VerifyReport:
    return verify(world.pipeline(), *tables, **arguments)


def found(report: VerifyReport, table: str = "assignments") -> dict[str, tuple[Any, ...]]:
    """The example ids by kind of difference; only kinds that were found."""
    return {kind: each.examples for kind, each in report.tables[table].found.items() if each.count}


@pytest.mark.parametrize("deep", [False, True])
def test_a_clean_warehouse_has_no_difference(world: World, deep: bool) -> None:
    loaded(world)
    report = check(world, deep=deep)
    assert found(report) == {}
    assert report.tables["assignments"].compared == 300
    assert (report.exit_code, report.not_compared) == (0, {})
