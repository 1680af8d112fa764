"""The schedulers are tried with a DuckDB file in the test's folder."""

from __future__ import annotations

import pytest

from protime_source.catalogue import ASSIGNMENTS
from protime_source.demo import Behaviour
from tests.world import World

ONLY_ASSIGNMENTS = Behaviour(granted_scopes=(ASSIGNMENTS.read_scope,))
"""Protime no longer lets the client read people."""


@pytest.fixture
def scheduled(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A tenant of two collections; the environment has the settings, as on a server."""
    monkeypatch.setenv("DESTINATION_TYPE", "duckdb")
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "assignments,people")
    world.database = world.folder / "protime.duckdb"
    return world
