"""Requests of several collections at once: how many, and what a 429 means for all."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest

from protime_source.api import http as connection
from protime_source.api.http import IN_FLIGHT, Gate
from protime_source.demo import Fault
from tests.world import World

SEVERAL = ["people", "contracts", "jobs", "sectors", "departments", "employers", "breaks"]


def test_a_gate_lets_so_many_through() -> None:
    gate, lock, inside, most = Gate(3), Lock(), 0, 0

    def pass_through(_: int) -> None:
        nonlocal inside, most
        with gate.passed():
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(pass_through, range(24)))
    assert most == 3


def test_a_closed_gate_lets_nobody_through() -> None:
    gate = Gate()
    gate.close_for(0.2)
    gate.close_for(0.0)
    began = time.monotonic()
    with gate.passed():
        pass
    assert time.monotonic() - began >= 0.2


def test_collections_wait_for_their_answers_together(world: World) -> None:
    """The tenant counts the requests that it has at the same time."""
    inside, most, lock = 0, 0, Lock()
    respond = world.tenant.respond

    def counted(request: Any) -> Any:
        nonlocal inside, most
        with lock:
            inside += request.is_api
            most = max(most, inside)
        time.sleep(0.5)
        try:
            return respond(request)
        finally:
            with lock:
                inside -= request.is_api

    world.tenant.respond = counted  # type: ignore[method-assign]
    world.run(collections=SEVERAL)
    assert most == IN_FLIGHT
    world.check_tables(*SEVERAL)


def test_a_429_holds_all_collections_back(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=429, retry_after=1))
    world.run(collections=SEVERAL)
    first, *later = (request.at.timestamp() for request in world.tenant.api_requests)
    assert sum(moment < first + 0.9 for moment in later) < IN_FLIGHT
    world.check_tables(*SEVERAL)


def test_what_does_not_pass_soon_is_told(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SILENT", 0.5)
    caplog.set_level(logging.INFO, "protime_source.progress")
    world.tenant.faults.append(Fault("status", status=503, retry_after=0))
    world.run()
    assert "asked again" not in caplog.text
    world.tenant.faults.append(Fault("status", status=503, retry_after=1, times=2))
    world.run()
    assert "no usable answer for 1 seconds: asked again, 2 of 4 times" in caplog.text
    world.check()
