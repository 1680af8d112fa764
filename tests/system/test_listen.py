"""`protime listen`: the demo tenant rings, over real HTTP, and its changes become rows."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from unittest import mock

import pytest
import requests

from protime_source.cli.arguments import Parser
from protime_source.cli.commands.listen import open_listener
from protime_source.cli.console import Console
from protime_source.cli.main import add_commands
from protime_source.demo import Behaviour, Fault
from protime_source.demo.webhooks import Webhook
from protime_source.pipeline.lock import one_run
from protime_source.pipeline.opening import working_dir
from protime_source.settings import Settings
from protime_source.webhooks import schedule
from tests.command import Command, environment, reason, run_here, start
from tests.conftest import WorldFactory
from tests.engines import sql_engines
from tests.ledger import outcomes
from tests.pages import DOCS, blocks
from tests.world import Moment, World

LIMIT_SECONDS = 120
"""How long a test waits for what must come."""

NEW = {"person": {"id": 1}, "from": f"{time.gmtime().tm_year}-01-05"}


def eventually(condition: Callable[[], object], what: str = "") -> None:
    """Waits until a condition holds."""
    give_up_at = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, what or condition
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class Bell:
    """A listener, as its monitor and its visitors see it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.log = StringIO()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> requests.Response:
        with requests.Session() as http:
            http.trust_env = False
            return http.get(f"{self.url}{path}", timeout=LIMIT_SECONDS)

    def post(self, path: str, **headers: str) -> int:
        with requests.Session() as http:
            http.trust_env = False
            url = path if "//" in path else f"{self.url}{path}"
            return http.post(url, b"{}", headers=headers, timeout=LIMIT_SECONDS).status_code

    def number(self, name: str) -> float:
        """The sum of the metrics whose name and labels begin so."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(name))

    def runs(self, cause: str, outcome: str = "succeeded") -> float:
        return self.number(f'protime_runs_total{{cause="{cause}",outcome="{outcome}"}}')

    def is_healthy(self) -> bool:
        return self.get("/healthz").status_code == 200


def parsed(*options: str) -> argparse.Namespace:
    parser = Parser()
    add_commands(parser)
    return parser.parse_args(["listen", *options])


@contextmanager
def listening(world: World, *options: str, port: int = 0) -> Iterator[Bell]:
    """A listener on a thread, after its first run. It loads each time as the command does."""
    bell = Bell(port or free_port())
    arguments = parsed("--url", bell.url, "--port", str(bell.port), "--pause", "0", *options)
    with (
        world.engine.kept_open(),
        mock.patch.dict(os.environ, environment(world)),
        Console(bell.log, in_place=False) as console,
        open_listener(arguments, Settings.from_config(), console) as listener,
    ):
        thread = threading.Thread(target=listener.listen, name="listener")
        thread.start()
        try:
            eventually(lambda: bell.runs("start"), bell.log.getvalue())
            yield bell
        finally:
            listener.stop()
            thread.join(LIMIT_SECONDS)
        assert not thread.is_alive()
        path = next((each.url for each in world.tenant.webhooks), "/none/").split("/")[-2]
        assert path not in bell.log.getvalue()


def ids(world: World) -> set[str]:
    """The webhooks that ring."""
    return {each.id for each in world.tenant.webhooks if each.enabled}


@sql_engines
def test_a_change_is_a_row_when_its_webhook_rings(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(world) as bell:
        world.check()
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        eventually(lambda: bell.runs("webhook") == 1)
        world.tenant.delete(new)
        eventually(lambda: new not in world.live())
        eventually(lambda: bell.runs("webhook") == 2)
        assert bell.number("protime_live_rows") == 300
        assert bell.number("protime_rows_written_total") == 302
        assert bell.runs("interval") == 0
    assert "webhook: assignments 1 inserted in " in bell.log.getvalue()
    summaries = [vars(each) for each in caplog.records if "tables" in vars(each)]
    assert [each["cause"] for each in summaries] == ["start", "webhook", "webhook"]
    assert [each["tables"]["assignments"]["soft_deleted"] for each in summaries] == [0, 0, 1]
    world.check()


def test_late_and_doubled_rings_change_nothing(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(webhook_repeats=3, webhook_signature=None))
    with listening(world) as bell:
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        eventually(lambda: bell.number("protime_events_total") == 4)
        rows, [webhook], runs = world.rows(), world.tenant.webhooks, bell.runs("webhook")
        assert bell.post(webhook.url) == 200
        eventually(lambda: bell.runs("webhook") > runs)
        assert world.rows() == rows
    world.check()


def test_lost_rings_lose_nothing(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(webhook_loss=1))
    with listening(world, "--every", "0.01") as bell:
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        assert bell.number("protime_events_total") == 0
    world.check()


def test_without_the_scope_changes_come_at_the_interval(make_world: WorldFactory) -> None:
    scopes = ("connector-protimeapi-assignments.read",)
    world = make_world(behaviour=Behaviour(granted_scopes=scopes))
    with listening(world, "--every", "0.01") as bell:
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        assert bell.number("protime_listening") == 0
    assert "connector-protimeapi-webhooks.write" in bell.log.getvalue()


def test_what_changed_while_it_was_down_is_loaded_at_its_start(make_world: WorldFactory) -> None:
    """Protime meanwhile disables the webhook, because nobody answers."""
    world = make_world(behaviour=Behaviour(webhook_retry_seconds=0.01))
    with listening(world) as bell:
        [before] = ids(world)
    world.tenant.churn(10)
    eventually(lambda: not ids(world))
    with listening(world, port=bell.port):
        world.check()
        [after] = ids(world)
        assert after != before
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
    assert len(world.tenant.webhooks) == 1


def test_a_webhook_is_renewed_while_it_rings(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(webhook_validity_hours=3 / 3600))
    with listening(world):
        first = ids(world)
        eventually(lambda: ids(world) - first)
        world.tenant.behaviour = Behaviour()
        eventually(lambda: any(lives_long(each) for each in world.tenant.webhooks))
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        eventually(lambda: len(world.tenant.webhooks) == 1)


def lives_long(webhook: Webhook) -> bool:
    return webhook.valid_until - datetime.now(UTC) > timedelta(hours=1)


def test_a_forged_flood_starts_few_runs(world: World) -> None:
    pause = 0.4
    with listening(world, "--pause", str(pause)) as bell:
        [webhook] = world.tenant.webhooks
        began = time.monotonic()
        with ThreadPoolExecutor(8) as visitors:
            known = [*visitors.map(bell.post, [webhook.url] * 100)]
            unknown = [*visitors.map(bell.post, ["/wrong/assignments"] * 100)]
        runs = bell.number("protime_runs_started_total") - 1
        assert runs <= (time.monotonic() - began) / pause + 1
        assert set(known) == {200}
        assert set(unknown) == {404}
        assert bell.number('protime_events_refused_total{reason="path"}') == 100
        eventually(lambda: bell.runs("webhook") >= 1)
        # Protime signs, so from its first event on nobody else rings.
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        assert bell.post(webhook.url) == 401
    world.check()


def test_a_failing_run_is_tried_again_and_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FIRST_BACKOFF_SECONDS", 0.01)
    with listening(world) as bell:
        assert bell.is_healthy()
        world.tenant.faults.append(Fault("status", times=10**6))
        new = world.tenant.create(NEW)
        eventually(lambda: bell.runs("webhook", "failed") == 1)
        assert not bell.is_healthy()
        eventually(lambda: bell.runs("retry", "failed") >= 1)
        world.tenant.faults.clear()
        eventually(lambda: bell.is_healthy())
        assert new in world.live()
    assert "warning: " in bell.log.getvalue()
    assert "Tried again in " in bell.log.getvalue()
    world.check()


def test_a_refused_collection_is_unhealthy_and_the_others_are_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted = Behaviour().granted_scopes
    without = tuple(scope for scope in granted if "absence-groups" not in scope)
    world.tenant.behaviour = Behaviour(granted_scopes=without)
    monkeypatch.setenv("SOURCES__PROTIME__COLLECTIONS", "assignments,absence_groups")
    bell = Bell(free_port())
    arguments = parsed("--url", bell.url, "--port", str(bell.port), "--pause", "0")
    with (
        world.engine.kept_open(),
        mock.patch.dict(os.environ, environment(world)),
        Console(bell.log, in_place=False) as console,
        open_listener(arguments, Settings.from_config(), console) as listener,
    ):
        thread = threading.Thread(target=listener.listen)
        thread.start()
        eventually(lambda: bell.runs("start", "failed") == 1)
        assert bell.get("/healthz").json()["failing"] == ["absence_groups"]
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        assert not bell.is_healthy()
        assert bell.number("protime_runs_started_total") == 2
        listener.stop()
        thread.join(LIMIT_SECONDS)
    assert "Tried again at the interval." in bell.log.getvalue()


def test_another_machine_may_have_run_in_between(world: World) -> None:
    elsewhere = replace(world, folder=world.folder / "elsewhere")
    with listening(world) as bell:
        world.tenant.behaviour = Behaviour(webhook_loss=1)
        world.tenant.churn(10)
        elsewhere.load()
        world.check()
        world.tenant.behaviour = Behaviour()
        world.tenant.clear_requests()
        new = world.tenant.create(NEW)
        eventually(lambda: new in world.live())
        eventually(lambda: bell.runs("webhook") == 1)
        # It went on from where the other one had ended.
        assert bell.number("protime_rows_written_total") == 301
        world.check()


def test_another_run_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FIRST_BACKOFF_SECONDS", 0.01)
    with listening(world) as bell:
        with one_run(working_dir("protime")):
            new = world.tenant.create(NEW)
            eventually(lambda: bell.runs("webhook", "skipped") == 1)
            assert bell.is_healthy()
        eventually(lambda: new in world.live())


def is_more(runs: float, bell: Bell) -> bool:
    """Whether another run has ended since."""
    return bell.runs("webhook") > runs


def test_runs_leave_nothing_behind(world: World) -> None:
    """Neither threads nor open files."""

    def held() -> int:
        return len(os.listdir("/proc/self/fd")) + threading.active_count()

    with listening(world) as bell:
        for number in range(4):
            if number == 1:
                before = held()
            new, runs = world.tenant.create(NEW), bell.runs("webhook")
            eventually(partial(is_more, runs, bell))
            assert new in world.live()
        # The tenant's side of the last connection may take a moment to close.
        eventually(lambda: held() <= before + 1)


@sql_engines
def test_the_old_ledger_may_be_deleted_as_the_page_says(world: World) -> None:
    world.load()
    [statement] = blocks(DOCS / "listening.md", "sql")
    world.engine.ask(statement.strip().removesuffix(";"))
    assert len(outcomes(world)) == 1
    world.engine.ask(statement.strip().removesuffix(";").replace("'90'", "'0'"))
    assert outcomes(world) == []
    world.tenant.churn(5)
    world.load()
    world.check()
    assert [mode for _, mode, _, _ in outcomes(world)] == ["changes"]


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "http": (
        ("--url", "http://acme.example"),
        "The option --url is 'http://acme.example', but must be an https:// address without user"
        " and query; http:// is only for this machine.",
    ),
    "no host": (("--url", "https://"), "an https:// address"),
    "password": (("--url", "https://me:pass-word@acme.example"), "an https:// address"),
    "never": (("--url", "https://acme.example", "--every", "0"), "two days"),
    "seldom": (("--url", "https://acme.example", "--every", "3000"), "two days"),
    "pause": (("--url", "https://acme.example", "--pause", "-1"), "seconds from 0"),
    "port": (("--url", "https://acme.example", "--port", "99999"), "a TCP port"),
    "collection": (("--url", "https://acme.example", "--destination", "nonsense"), "nonsense"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_ends_it_at_its_start(world: World, case: str) -> None:
    options, words = WRONG[case]
    failed = run_here(
        world, *options, *([] if "--port" in options else ["--port", "0"]), command="listen"
    )
    assert failed.returncode == 2
    assert words in reason(failed)
    assert "pass-word" not in failed.stderr


def test_a_missing_credential_ends_it_at_its_start(world: World) -> None:
    options = ("--url", "https://acme.example", "--port", "0")
    failed = run_here(world, *options, command="listen", SOURCES__PROTIME__CLIENT_SECRET="")
    assert failed.returncode == 2
    assert "client_secret" in reason(failed)
    assert world.tenant.requests == []


def test_wrong_credentials_end_it_at_its_start(world: World) -> None:
    options = ("--url", "https://acme.example", "--port", "0")
    failed = run_here(world, *options, command="listen", SOURCES__PROTIME__CLIENT_SECRET="wrong")
    assert failed.returncode == 3
    assert "Protime refuses the credentials" in reason(failed)
    assert "Tried again" not in failed.stderr


def test_rows_of_another_tenant_end_it_at_its_start(world: World, make_world: WorldFactory) -> None:
    world.load()
    failed = run_here(
        make_world(), "--url", "https://acme.example", "--port", "0", command="listen"
    )
    assert failed.returncode == 4
    assert "The dataset holds rows of another tenant" in reason(failed)
    assert "Tried again" not in failed.stderr


def test_a_port_that_is_taken_ends_it_with_1(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ("--url", "https://acme.example", "--port", port)
        failed = run_here(world, *options, command="listen")
    assert failed.returncode == 1
    assert f"port {port} (Address already in use)" in reason(failed)
    assert world.tenant.webhooks == []


def test_a_second_listener_ends_with_6(world: World) -> None:
    with listening(world):
        failed = run_here(world, "--url", "https://acme.example", "--port", "0", command="listen")
    assert failed.returncode == 6
    assert "Another listener of the pipeline protime" in reason(failed)


def test_who_stops_for_good_removes_the_webhooks(world: World) -> None:
    with listening(world) as bell:
        pass
    assert len(ids(world)) == 1
    done = run_here(world, "--url", bell.url, "--remove", command="listen")
    assert (done.returncode, done.stdout) == (0, f"1 webhook below {bell.url} deleted.\n")
    assert ids(world) == set()


def test_a_kill_and_a_stop_in_a_run_lose_nothing(world: World) -> None:
    bell = Bell(free_port())
    in_run = threading.Event()

    def begin() -> Command:
        options = ("--url", bell.url, "--port", str(bell.port), "--pause", "0")
        process = start(world, *options, command="listen")
        eventually(lambda: is_serving() or process.poll() is not None)
        eventually(lambda: bell.runs("start") == 1)
        return process

    def is_serving() -> bool:
        try:
            return bell.get("/metrics").ok
        except requests.ConnectionError:
            return False

    def end_in_a_run(process: Command, number: int) -> subprocess.CompletedProcess[str]:
        in_run.clear()
        world.tenant.faults[:] = [
            Moment(where="/delta/", action=in_run.set),
            Fault("status", status=503, retry_after=30, where="/delta/"),
        ]
        world.tenant.create(NEW)
        assert in_run.wait(LIMIT_SECONDS)
        process.send_signal(number)
        ended = process.finish()
        world.tenant.faults.clear()
        return ended

    process = begin()
    webhooks = ids(world)
    assert end_in_a_run(process, signal.SIGKILL).returncode == -signal.SIGKILL
    process = begin()
    world.check()
    assert ids(world) == webhooks
    stopped = end_in_a_run(process, signal.SIGTERM)
    assert stopped.returncode == 128 + signal.SIGTERM
    assert stopped.stderr.endswith(
        "error: Stopped on request. The next start loads what has changed meanwhile.\n"
    )
    with listening(world, port=bell.port):
        world.check()
        assert ids(world) == webhooks
