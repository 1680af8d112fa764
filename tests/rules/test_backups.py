"""A warehouse that is put back to an older copy, under a working folder that knows more."""

from __future__ import annotations

import shutil

import pytest

from protime_source.demo import Behaviour
from tests.world import World


def _put_back(world: World, *, links_rereadable: bool) -> None:
    """A load, a copy of the file, changes, and the file as it was."""
    copy = world.folder / "backup"
    world.run()
    shutil.copy(world.database, copy)
    world.tenant.churn(40, seed=1)
    world.run()
    world.tenant.behaviour = Behaviour(links_rereadable=links_rereadable)
    shutil.copy(copy, world.database)
    world.tenant.churn(10, seed=2)


def test_a_backup_put_back_loses_no_change(world: World) -> None:
    _put_back(world, links_rereadable=False)
    world.run()
    world.check()


def test_it_says_so_and_follows_the_older_link(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    _put_back(world, links_rereadable=True)
    world.tenant.clear_requests()
    caplog.clear()
    world.run()
    assert "assignments: the warehouse is older than the working folder" in caplog.text
    assert world.requests == 1
    world.check()
    caplog.clear()
    world.run()
    assert "older than" not in caplog.text


def test_without_a_state_in_the_destination_the_working_folder_counts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTORE_FROM_DESTINATION", "false")
    world.run()
    world.tenant.churn(20, seed=1)
    world.tenant.clear_requests()
    world.run()
    assert world.requests == 1
    world.check()
