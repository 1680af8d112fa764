"""Clockings are created with what Protime's page lists, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from protime_source import ActivityLevel, BadRequestError, Client, Clocking
from protime_source.api.clockings import Clockings
from protime_source.demo import Behaviour
from tests.conftest import WorldFactory
from tests.world import World

DAY = date(2026, 3, 10)
NEW = Clocking(person_id=1204, date=DAY, time_of_day_in_minutes=-30)
FULL = Clocking(
    person_id=1204,
    date=DAY,
    time_of_day_in_minutes=480,
    kind="Reason",
    terminal_id=3,
    reason_id=7,
    is_open=False,
    activity_levels=(ActivityLevel(level=1, activity_definition_id="a-guid"),),
    longitude=4.35,
    latitude=0.0,
)


@pytest.fixture
def clockings(world: World) -> Iterator[Clockings]:
    """Those of the world's tenant."""
    with Client.from_config() as client:
        yield client.clockings


def created(world: World, id_: int) -> dict[str, Any]:
    """The record, without what Protime adds."""
    record = world.tenant.of("clockings")[id_]
    return {k: v for k, v in record.items() if k not in ("id", "changeVersion", "status")}


def test_a_clocking_is_created_with_what_is_given(world: World, clockings: Clockings) -> None:
    assert created(world, clockings.create(NEW)) == {
        "person": {"id": 1204},
        "date": "2026-03-10",
        "timeOfDayInMinutes": -30,
        "kind": "InOut",
    }
    assert created(world, clockings.create(FULL)) == {
        "person": {"id": 1204},
        "date": "2026-03-10",
        "timeOfDayInMinutes": 480,
        "kind": "Reason",
        "terminal": {"id": 3},
        "reason": {"id": 7},
        "isOpen": False,
        "activityLevels": [{"level": 1, "activityDefinition": {"id": "a-guid"}}],
        "geolocation": {"longitude": 4.35, "latitude": 0.0},
    }


def test_what_protime_refuses_is_said_by_field(clockings: Clockings) -> None:
    wrong = Clocking(person_id=1, date=DAY, time_of_day_in_minutes=2881)
    with pytest.raises(BadRequestError, match="timeOfDayInMinutes"):
        clockings.create(wrong)


def test_a_client_of_assignments_needs_no_scope_of_clockings(make_world: WorldFactory) -> None:
    scopes = tuple(f"connector-protimeapi-assignments.{right}" for right in ("read", "write"))
    world = make_world(behaviour=Behaviour(granted_scopes=scopes))
    with Client.from_config() as client:
        assert client.assignments.get(min(world.tenant.records)).person_id > 0
