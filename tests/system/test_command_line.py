"""The command: what it says, how it ends, and what that means for the table."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import dlt
import pytest
from dlt.common.configuration.exceptions import InvalidNativeValue

from protime_source.cli.console import Console
from protime_source.demo import Behaviour, Fault
from protime_source.pipeline.failures import explain
from protime_source.pipeline.load import load
from protime_source.sync.counts import Counts
from tests.command import COMMAND, environment, reason, run, run_here, start
from tests.conftest import WorldFactory
from tests.processes import open_elsewhere
from tests.world import World

DEAD = "http://127.0.0.1:9"
"""A port on which nobody listens."""


def test_it_loads_everything_then_changes_and_everything_again_on_request(world: World) -> None:
    first = run(world)
    assert first.returncode == 0
    assert counts(first) == ["300", "300", "0", "0", "0", "0", "300"]
    assert "6 requests" in first.stdout
    assert first.stderr.startswith("assignments: a full load from ")
    world.check()
    world.tenant.delete(next(iter(world.tenant.records)))
    second = run_here(world)
    assert counts(second) == ["1", "0", "0", "1", "0", "0", "299"]
    assert "1 request in" in second.stdout
    assert second.stderr == ""
    world.check()
    third = run_here(world, "--full-resync")
    assert (third.returncode, counts(third)[0]) == (0, "299")
    assert "6 requests" in third.stdout
    world.check()


def counts(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the summary says of the assignments."""
    [line] = [line for line in done.stdout.splitlines() if line.startswith("assignments ")]
    return line.split()[1:]


@pytest.mark.parametrize("engine", ["bigquery"], indirect=True)
def test_it_loads_into_bigquery(world: World) -> None:
    world.engine.dataset = "protime_data"
    done = start(world).finish()
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1)
    assert counts(done) == ["300", "300", "0", "0", "0", "0", "300"]
    assert "dataset protime_data." in done.stdout
    world.check()


def test_it_loads_the_collections_that_are_named_and_shows_them_in_their_order(
    world: World,
) -> None:
    names = ("people", "absence-groups", "assignments")
    done = run_here(world, *names, SOURCES__PROTIME__COLLECTIONS="contracts")
    assert done.returncode == 0
    shown = [line.split()[0] for line in done.stdout.splitlines()[1:4]]
    assert shown == ["people", "absence_groups", "assignments"]
    tables = {name for (name,) in world.query("SELECT table_name FROM information_schema.tables")}
    assert {*shown} <= tables
    assert "contracts" not in tables


def test_pipeline_and_dataset_are_options_and_a_pipeline_has_settings_of_its_own(
    world: World,
) -> None:
    options = ("--pipeline", "acme", "--dataset", "planning")
    done = run_here(world, *options, ACME__SOURCES__PROTIME__COLLECTIONS="absence_groups")
    assert done.returncode == 0
    assert "dataset planning." in " ".join(done.stdout.split())
    assert world.query("SELECT COUNT(*) FROM planning.absence_groups")[0][0] > 0


def test_the_destination_is_an_option(world: World) -> None:
    failed = run_here(world, "--destination", "nonsense")
    assert failed.returncode == 2
    assert "'nonsense', which is no destination" in reason(failed)


def test_verify_compares_and_ends_with_8_when_something_differs(world: World) -> None:
    assert run_here(world).returncode == 0
    same = run_here(world, command="verify")
    assert (same.returncode, same.stderr) == (0, "")
    assert " ".join(counts(same)) == "300 0 0 0 0"
    changed = "UPDATE protime_data.assignments SET comments = 'mine' WHERE id = (SELECT MIN(id)"
    world.query(f"{changed} FROM protime_data.assignments)")
    assert run_here(world, "assignments", command="verify").returncode == 0
    differs = run_here(world, "assignments", "--deep", command="verify")
    assert differs.returncode == 8
    assert " ".join(counts(differs)) == "300 0 0 0 1"


def test_verify_says_why_it_could_not_compare(world: World) -> None:
    failed = run_here(world, command="verify", SOURCES__PROTIME__CLIENT_SECRET="wrong")
    assert failed.returncode == 3
    assert "Nothing was changed" in reason(failed)


def test_status_ends_with_7_where_nothing_is_loaded(world: World) -> None:
    now = run_here(world, command="status")
    assert (now.returncode, now.stderr) == (7, "")
    assert "Nothing has been loaded yet. Run the pipeline." in now.stdout


def test_whatever_else_fails_a_run_ends_it_with_1(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("of demo-secret by nothing")

    monkeypatch.setattr("protime_source.pipeline.load._load", broken)
    failed = run_here(world)
    assert failed.returncode == 1
    assert reason(failed).startswith("error: ZeroDivisionError: of *** by nothing. Nothing was")


@pytest.mark.parametrize("name", ["tenant", "client_id", "client_secret"])
def test_a_missing_setting_is_named_with_its_place(world: World, name: str) -> None:
    variable = f"SOURCES__PROTIME__{name.upper()}"
    failed = run_here(world, **{variable: ""})
    assert failed.returncode == 2
    said = reason(failed)
    assert variable in said
    assert ".dlt/secrets.toml" in said
    assert world.tenant.requests == []


WRONG = {
    "early": ({"START_DATE": "2001-01-01"}, 2, "too early"),
    "no date": ({"START_DATE": "soon"}, 2, "start_date is 'soon'"),
    "environment": ({"ENVIRONMENT": "test"}, 2, "production or sandbox"),
    "secret": ({"CLIENT_SECRET": "wrong"}, 3, "refuses the credentials"),
    "host": ({"API_URL": DEAD}, 4, "another tenant"),
    "token host": ({"TOKEN_URL": f"{DEAD}/token"}, 3, "cannot be reached"),
}


def test_a_wrong_setting_changes_nothing(world: World, subtests: pytest.Subtests) -> None:
    world.run()
    before = world.rows()
    for case, (values, code, words) in WRONG.items():
        with subtests.test(case):
            named = {f"SOURCES__PROTIME__{name}": text for name, text in values.items()}
            failed = run_here(world, **named)
            assert failed.returncode == code
            assert words in reason(failed)
            assert world.rows() == before


TROUBLES = {
    "scope refused": (Behaviour(granted_scopes=(), unknown_scope="refuse"), "scope"),
    "scope left out": (Behaviour(granted_scopes=(), unknown_scope="omit"), "scope"),
    "feature": (Behaviour(feature_disabled=True), "Planning Flex or Shift"),
}


def test_what_protime_refuses_is_said(world: World, subtests: pytest.Subtests) -> None:
    for case, (behaviour, words) in TROUBLES.items():
        with subtests.test(case):
            world.tenant.behaviour = behaviour
            failed = run_here(world)
            assert failed.returncode == 3
            assert words in reason(failed)
    world.tenant.behaviour = Behaviour()
    assert run_here(world).returncode == 0
    world.check()


def test_a_token_that_is_never_accepted_changes_nothing(world: World) -> None:
    world.run()
    before = world.rows()
    world.tenant.faults.append(Fault("expired_token", times=99))
    failed = run_here(world, "--full-resync")
    assert failed.returncode == 3
    assert "401 Unauthorized" in reason(failed)
    assert "What was loaded before stays as it is." in reason(failed)
    assert world.rows() == before


FAULTS = {
    "failing": (Fault("status", status=500, times=99), "500 Internal Server Error"),
    "other host": (Fault("foreign_link", location="http://127.0.0.2:9"), "another host"),
    "circle": (Fault("loop", times=99), "circle"),
    "redirect": (Fault("redirect", location="http://127.0.0.2:9/"), "redirect"),
}


def test_after_a_fault_nothing_is_changed_and_the_next_run_is_right(
    world: World, subtests: pytest.Subtests
) -> None:
    world.run()
    before = world.rows()
    world.tenant.churn(50, seed=1)
    for case, (fault, words) in FAULTS.items():
        with subtests.test(case):
            world.tenant.faults[:] = [fault]
            failed = run_here(world, "--full-resync")
            assert failed.returncode == 3
            assert words in reason(failed)
            assert "Nothing was changed; pass --full-resync again." in reason(failed)
            assert world.rows() == before
    world.tenant.faults.clear()
    assert run_here(world).returncode == 0
    world.check()


def test_too_many_vanished_rows_change_nothing(world: World) -> None:
    world.run()
    for id_ in list(world.tenant.records)[:200]:
        world.tenant.delete(id_)
    failed = run_here(world, "--full-resync")
    assert failed.returncode == 5
    assert "200 of 300 live rows (66.67%)" in reason(failed)
    assert len(world.live()) == 300
    assert (
        run_here(world, "--full-resync", SOURCES__PROTIME__MAX_VANISHED_SHARE="1.0").returncode == 0
    )
    world.check()


def test_a_file_that_a_notebook_holds_is_named(world: World) -> None:
    with open_elsewhere(world.database):
        failed = run_here(world, SOURCES__PROTIME__LOCK_TIMEOUT="0")
    assert failed.returncode == 4
    assert "open in another program" in reason(failed)


def test_a_file_named_like_the_dataset_is_refused(world: World) -> None:
    world.database = world.folder / "protime_data.duckdb"
    failed = run_here(world)
    assert failed.returncode == 2
    assert "names must differ" in reason(failed)
    assert world.tenant.requests == []


@pytest.mark.parametrize(
    ("destination", "words"),
    [
        ("nonsense", "is no destination"),
        ("filesystem", "is not supported, only duckdb, ducklake, postgres, bigquery"),
    ],
)
def test_another_destination_is_refused(world: World, destination: str, words: str) -> None:
    failed = run_here(world, DESTINATION_TYPE=destination)
    assert failed.returncode == 2
    assert words in reason(failed)
    assert world.tenant.requests == []


@pytest.mark.parametrize(
    ("destination", "credentials"),
    [
        ("postgres", "nonsense"),
        ("postgres", "postgresql://loader:password@host:port/warehouse"),
        ("bigquery", '{"type": "service_account"}'),
    ],
)
def test_credentials_that_cannot_be_read_are_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch, destination: str, credentials: str
) -> None:
    monkeypatch.setenv(f"DESTINATION__{destination.upper()}__CREDENTIALS", credentials)
    with pytest.raises(InvalidNativeValue) as caught:
        load(dlt.pipeline("protime", destination=destination, dataset_name="protime_data"))
    failure = explain(caught.value)
    assert failure.exit_code == 2
    assert "credentials cannot be read" in failure.message
    assert f"[destination.{destination}" in failure.message
    assert credentials not in failure.message
    assert world.tenant.requests == []


def test_a_settings_file_that_cannot_be_read_is_named(world: World) -> None:
    (world.folder / ".dlt").mkdir()
    (world.folder / ".dlt" / "secrets.toml").write_text("[sources.protime]\nclient_id = abc\n")
    failed = start(world).finish()
    assert failed.returncode == 2
    assert "secrets.toml under .dlt/ cannot be read" in reason(failed)


def test_a_misspelt_setting_in_a_file_is_an_error(world: World) -> None:
    (world.folder / ".dlt").mkdir()
    (world.folder / ".dlt" / "config.toml").write_text("[sources.protime]\nhistroy = true\n")
    done = start(world).finish()
    assert done.returncode == 0
    assert done.stderr.count("warning: [sources.protime] histroy is not a setting") == 1
    assert "Did you mean history?" in done.stderr


def test_a_broken_file_is_named(world: World) -> None:
    world.database.write_bytes(b"not a database" * 1000)
    failed = run_here(world)
    assert failed.returncode == 4
    assert "move it away" in reason(failed)


@pytest.mark.parametrize("holds", ["warehouse", "working folder"])
def test_a_full_disk(make_world: WorldFactory, small_disk: Path, holds: str) -> None:
    world = make_world(rows=12_000, page_size=2000)
    more = {}
    if holds == "warehouse":
        world.database = small_disk / "warehouse.duckdb"
    else:
        more = {"DLT_DATA_DIR": str(small_disk)}
    free = 1_300_000 if holds == "warehouse" else 250_000
    (small_disk / "other").write_bytes(bytes(6 * 2**20 - free))
    try:
        failed = start(world, **more).finish()
        assert failed.returncode == 4
        assert "No space is left" in reason(failed)
        assert ".py" not in reason(failed)
        (small_disk / "other").unlink(missing_ok=True)
        remount = ["mount", "-o", "remount,size=200m", str(small_disk)]
        subprocess.run(remount, check=True)
        assert run_here(world, **more).returncode == 0
        world.check()
    finally:
        subprocess.run(["umount", "--lazy", small_disk], check=True)


@pytest.mark.parametrize("holds", ["warehouse", "working folder"])
def test_a_disk_that_cannot_be_written(world: World, small_disk: Path, holds: str) -> None:
    more = {}
    if holds == "warehouse":
        world.database = small_disk / "warehouse.duckdb"
    else:
        more = {"DLT_DATA_DIR": str(small_disk)}
    try:
        remount = ["mount", "-o", "remount,size=200m,ro", str(small_disk)]
        subprocess.run(remount, check=True)
        failed = run_here(world, **more)
        assert failed.returncode == 4
        assert ("DLT_DATA_DIR" in reason(failed)) == (holds == "working folder")
        assert str(small_disk) in reason(failed)
        subprocess.run([*remount[:2], "remount,size=200m,rw", str(small_disk)], check=True)
        assert run_here(world, **more).returncode == 0
        world.check()
    finally:
        subprocess.run(["umount", "--lazy", small_disk], check=True)


def test_a_file_that_was_loaded_and_cannot_be_written(world: World, small_disk: Path) -> None:
    world.database = small_disk / "warehouse.duckdb"
    remount = ["mount", "-o", "remount,size=200m,rw", str(small_disk)]
    try:
        subprocess.run(remount, check=True)
        world.run()
        before = world.database.read_bytes()
        world.tenant.churn(20)
        subprocess.run([*remount[:2], "remount,size=200m,ro", str(small_disk)], check=True)
        failed = run_here(world)
        assert failed.returncode == 4
        assert "or not for writing" in reason(failed)
        assert str(world.database) in reason(failed)
        assert world.database.read_bytes() == before
        subprocess.run(remount, check=True)
        assert run_here(world).returncode == 0
        world.check()
    finally:
        subprocess.run(["umount", "--lazy", small_disk], check=True)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_a_postgres_that_lets_us_read_only(world: World) -> None:
    world.run()
    before = world.rows()
    world.tenant.churn(20)
    database = world.query("SELECT current_database()")[0][0]
    world.query(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    failed = run_here(world)
    assert failed.returncode == 4
    assert "This Postgres connection can only read" in reason(failed)
    assert "DuckDB" not in reason(failed)
    assert world.rows() == before


def test_ctrl_c_during_a_full_load(make_world: WorldFactory) -> None:
    world = make_world(behaviour=Behaviour(latency=0.3))
    process = start(world)
    process.wait_until(lambda: world.requests)
    process.send_signal(signal.SIGINT)
    stopped = process.finish()
    assert stopped.returncode == 130
    assert "Stopped on request" in reason(stopped)
    world.tenant.behaviour = Behaviour()
    assert run_here(world).returncode == 0
    world.check()


HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def _long_run(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("protime_source.sync.counts.SECONDS_BETWEEN_LINES", 0)
    with Console(stream) as console:
        console.begin(("assignments", "people"))
        counts = Counts("assignments")
        counts.announce()
        counts.add_pages(1, 1000)
        counts.add_pages(1, 500)
        logging.getLogger("protime_source.sync.full_load").warning("look out")
        console.line("done")
    return re.sub(r"[\d,]+ a second", "N a second", stream.getvalue())


def test_progress_goes_line_by_line_into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _long_run(io.StringIO(), monkeypatch).splitlines() == [
        "assignments: 1,000 rows so far (0 of 2 collections read)",
        "assignments: 1,500 rows so far, N a second (0 of 2 collections read)",
        "warning: look out",
        "done",
    ]


def test_progress_stays_in_place_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = _long_run(Terminal(), monkeypatch)
    plain = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)
    assert re.search(r"0 of 2 collections read, 1,500 rows\n  assignments  1,500 rows  N a", plain)
    assert plain.count("warning: look out\n") == plain.count("done\n") == 1
    assert HIDE_CURSOR in shown
    assert shown.rindex(HIDE_CURSOR) < shown.rindex(SHOW_CURSOR)


def test_a_result_has_colours_only_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stdout", stream)
        with Console(None) as console:
            console.show("   rows  seen\na     0     1\n  and more\nok  a")
        shown[type(stream)] = stream.getvalue()
    assert shown[io.StringIO] == "   rows  seen\na     0     1\n  and more\nok  a\n"
    assert "\x1b[1m   rows  seen\x1b[0m" in shown[Terminal]
    assert "\n  and more\n\x1b[32mok\x1b[0m  a" in shown[Terminal]
    assert "\x1b[2m0\x1b[0m" in shown[Terminal]


def test_a_path_that_the_output_cannot_show(world: World) -> None:
    folder = world.folder / "Łukasz"
    folder.mkdir()
    world.database = folder / "warehouse.duckdb"
    done = run(world, PYTHONIOENCODING="cp1252")
    assert done.returncode == 0
    assert r"\u0141ukasz" in done.stdout
    failed = run(world, PYTHONIOENCODING="cp1252", DESTINATION_TYPE="Łukasz")
    assert failed.returncode == 2
    assert r"\u0141ukasz" in reason(failed)
    world.check()


OUTPUTS = {
    "nobody reads it": ">&3 2>&3",
    "it is closed": ">&- 2>&-",
    "its disk is full": ">/dev/full 2>/dev/full",
}


@pytest.mark.parametrize(
    ("case", "secret"),
    [*((case, "demo-secret") for case in OUTPUTS), ("its disk is full", "wrong")],
)
def test_output_that_cannot_be_written_does_not_change_the_exit_code(
    world: World, case: str, secret: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = f'exec "$0" "$1" "$2" run 3>&{writer} {OUTPUTS[case]}'
    more = environment(world, SOURCES__PROTIME__CLIENT_SECRET=secret)
    done = subprocess.run(["bash", "-c", command, *COMMAND], env=more, pass_fds=[writer])
    os.close(writer)
    if secret == "wrong":
        assert done.returncode == 3
    else:
        assert done.returncode == 0
        world.check()


def test_a_file_that_cannot_be_there(world: World) -> None:
    (world.folder / "file").write_text("")
    world.database = world.folder / "file" / "warehouse.duckdb"
    failed = run_here(world)
    assert failed.returncode == 4
    assert "its folder does not exist" in reason(failed)


@pytest.mark.parametrize(
    ("destination", "module"), [("postgres", "psycopg2"), ("bigquery", "google.cloud.bigquery")]
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    world: World, destination: str, module: str
) -> None:
    hidden = world.folder / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(f"import sys\nsys.modules[{module!r}] = None\n")
    path = os.pathsep.join((str(hidden), os.environ.get("PYTHONPATH", "")))
    failed = run(world, PYTHONPATH=path, DESTINATION_TYPE=destination)
    assert (failed.returncode, failed.stdout, len(failed.stderr.splitlines())) == (4, "", 1)
    assert f'pip install "dlt-source-protime[{destination}]"' in failed.stderr
    assert world.tenant.requests == []
