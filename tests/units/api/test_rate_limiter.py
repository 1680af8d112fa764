"""Requests of several collections at once: how many, and what a 429 means for all."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Any

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


def test_collections_send_requests_at_the_same_time_up_to_the_limit(world: World) -> None:
    inside, most, lock, is_full = 0, 0, Lock(), Event()
    respond = world.tenant.respond

    def counted(request: Any) -> Any:
        """Answers when as many requests as are allowed are here, and another could have come."""
        nonlocal inside, most
        with lock:
            inside += request.is_api
            most = max(most, inside)
        if most >= MAX_CONCURRENT_REQUESTS and not is_full.is_set():
            time.sleep(0.1)
            is_full.set()
        assert not request.is_api or is_full.wait(30)
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
