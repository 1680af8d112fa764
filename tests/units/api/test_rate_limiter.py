"""Requests of several collections at once: how many, and what a 429 means for all."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest

from protime_source.api import retry
from protime_source.api.http import MAX_CONCURRENT_REQUESTS, RateLimiter
from protime_source.demo import Fault
from tests.world import World

SEVERAL = ["people", "contracts", "jobs", "sectors", "departments", "employers", "breaks"]


def test_a_limited_number_of_requests_runs_at_once() -> None:
    limiter, lock, inside, most = RateLimiter(3), Lock(), 0, 0

    def pass_through(_: int) -> None:
        nonlocal inside, most
        with limiter.slot():
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(pass_through, range(24)))
    assert most == 3


def test_a_pause_holds_all_requests_back() -> None:
    limiter = RateLimiter()
    limiter.pause(0.2)
    limiter.pause(0.0)
    began = time.monotonic()
    with limiter.slot():
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
    assert most == MAX_CONCURRENT_REQUESTS
    world.check_tables(*SEVERAL)


def test_a_429_holds_all_collections_back(world: World) -> None:
    world.tenant.faults.append(Fault("status", status=429, retry_after=1))
    world.run(collections=SEVERAL)
    first, *later = (request.at.timestamp() for request in world.tenant.api_requests)
    assert sum(moment < first + 0.9 for moment in later) < MAX_CONCURRENT_REQUESTS
    world.check_tables(*SEVERAL)


def test_retries_that_take_long_are_logged(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "SILENT_SECONDS", 0.5)
    caplog.set_level(logging.INFO, "protime_source.progress")
    world.tenant.faults.append(Fault("status", status=503, retry_after=0))
    world.run()
    assert "no usable response" not in caplog.text
    world.tenant.faults.append(Fault("status", status=503, retry_after=1, times=2))
    world.run()
    assert "no usable response for 1 seconds: retry 2 of 4" in caplog.text
    world.check()
