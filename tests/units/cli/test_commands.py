"""The command's arguments and help, and the three ways to call it."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from protime_source.catalogue import COLLECTIONS
from protime_source.cli.commands import COMMANDS
from protime_source.cli.dlt_plugin import ProtimeCommand
from protime_source.cli.main import main
from tests.command import COMMAND, DEMO, SCRIPT
from tests.pages import DOCS, ROOT, names_in, section, table_rows

NAMES = [command.__name__.rpartition(".")[2] for command in COMMANDS]
HEAVY = ("dlt", "pyarrow", "duckdb", "requests", "msgspec")
"""What takes a second to import."""

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    """The exit code of a command that argparse ends, and what it printed."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    shown = capsys.readouterr()
    return caught.value.code, shown.out, shown.err


def python(code: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    return subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True)


def test_help_comes_at_once_and_needs_no_settings() -> None:
    code = (
        "import sys\n"
        "from protime_source.cli.main import main\n"
        "for command in sys.argv[1:]:\n"
        "    try: main([*command.split(), '--help'])\n"
        f"    except SystemExit as end: print(end.code, {{*sys.modules}} & {{*{HEAVY}}})\n"
    )
    commands = ["", *NAMES, "demo serve"]
    helped = python(code, *commands)
    assert (helped.returncode, helped.stderr) == (0, "")
    *shown, rest = helped.stdout.split("\n0 set()\n")
    assert (len(shown), rest) == (len(commands), "")
    for command, text in zip(commands, shown, strict=True):
        assert text.startswith(f"Usage: protime {command}".rstrip())


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ended(capsys, "--help")
    assert all(f"    {name} " in out for name in NAMES)


def test_the_docs_name_every_command() -> None:
    rows = table_rows(section(DOCS / "running.md", "## Commands"))
    assert {names_in(cells[0])[0].split()[1] for cells in rows} == set(NAMES)


def test_without_a_command_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("Usage: protime")


@pytest.mark.parametrize("command", ["run", "verify"])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("asignments", "Did you mean assignments?"),
        ("activity-duration", "Did you mean activity_durations?"),
        ("nonsense", f"There are {', '.join(COLLECTIONS)}."),
    ],
)
def test_an_unknown_collection_is_refused_with_a_suggestion(
    capsys: pytest.CaptureFixture[str], command: str, name: str, words: str
) -> None:
    code, out, err = ended(capsys, command, "people", name)
    assert (code, out) == (2, "")
    [line] = [line for line in err.splitlines() if line.startswith("error: ")]
    assert f"{name!r} is not a collection. {words} Nothing was changed." in line


@pytest.mark.parametrize(
    ("command", "missing"), [("reset", "COLLECTION"), ("export", "WHAT"), ("run", "")]
)
def test_only_what_a_command_needs_is_called_required(
    capsys: pytest.CaptureFixture[str], command: str, missing: str
) -> None:
    code, _, err = ended(capsys, command, *([] if missing else ["--nonsense"]))
    assert code == 2
    assert ("are required" in err) == bool(missing)
    assert err.endswith(f"required: {missing}\n") == bool(missing)


def test_an_unknown_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ended(capsys, "run", "--full-resnyc")
    assert code == 2
    assert "\nerror: unrecognized arguments: --full-resnyc\n" in err


@pytest.mark.parametrize(("name", "script"), [("run", SCRIPT), ("demo", DEMO)])
def test_a_script_of_a_clone_is_the_command(name: str, script: Path) -> None:
    shown = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ([*COMMAND, name], [sys.executable, str(script)])
    ]
    assert shown[0] == shown[1] != ""


def test_the_console_script_is_the_command() -> None:
    module, _, name = PROJECT["scripts"]["protime"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """The import path of a process that sees the package's plugin for dlt as installed, once."""
    if any(each.name == "protime" for each in entry_points(group="dlt")):
        return str(ROOT)
    info = tmp_path / "dlt_source_protime_plugin-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 0\n")
    plugins = PROJECT["entry-points"]["dlt"]
    lines = [f"{name}_here = {module}\n" for name, module in plugins.items()]
    (info / "entry_points.txt").write_text("[dlt]\n" + "".join(lines))
    return os.pathsep.join((str(tmp_path), str(ROOT)))


DLT = "import sys; from dlt._workspace.cli._dlt import main; sys.argv[0] = 'dlt'; sys.exit(main())"


def test_dlt_has_the_command_too(installed: str) -> None:
    helped = python(DLT, "protime", "run", "--help", PYTHONPATH=installed)
    assert (helped.returncode, helped.stderr) == (0, "")
    assert "--full-resync" in helped.stdout
    failed = python(DLT, "protime", "run", SOURCES__PROTIME__TENANT="", PYTHONPATH=installed)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: The setting")


def test_dlt_takes_yes_for_an_answer_too(installed: str, tmp_path: Path) -> None:
    database = str(tmp_path / "none.duckdb")
    more = {"DESTINATION__DUCKDB__CREDENTIALS": database, "PYTHONPATH": installed}
    done = python(DLT, "protime", "reset", "people", "--yes", **more)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Type yes:" not in done.stdout


def test_without_yes_dlt_asks() -> None:
    parser = argparse.ArgumentParser()
    ProtimeCommand().configure_parser(parser)
    parsed = parser.parse_args(["reset", "people"])
    parsed.run = lambda arguments: arguments.yes
    with pytest.raises(SystemExit) as caught:
        ProtimeCommand().execute(parsed)
    assert caught.value.code is False


def test_dlt_itself_imports_only_the_plugin(installed: str) -> None:
    code = (
        "import sys, dlt; dlt.config.get('x'); print(*(m for m in sys.modules if 'protime' in m))"
    )
    done = python(code, PYTHONPATH=installed)
    assert (done.returncode, done.stderr) == (0, "")
    names = ("", ".errors", ".cli", ".cli.dlt_plugin")
    assert set(done.stdout.split()) == {f"protime_source{name}" for name in names}


@pytest.mark.parametrize("module", ["pandas", "numpy"])
@pytest.mark.parametrize(("call", "is_hidden"), [("main()", True), ("main([])", False)])
def test_what_costs_time_is_hidden_only_in_a_process_that_is_the_command(
    module: str, call: str, is_hidden: bool
) -> None:
    code = f"from protime_source.cli.main import main\n{call}\nimport {module}"
    assert (f"does without {module}" in python(code).stderr) == is_hidden
