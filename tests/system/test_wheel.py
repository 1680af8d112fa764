"""The wheel is all that a user needs: built, installed alone, and run outside of the clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from protime_source import __version__
from tests.pages import ROOT
from tests.world import World

UV = shutil.which("uv")

OTHER_SETTINGS = {
    "TENANT": "acme",
    "START_DATE": date.today().isoformat(),
    "COLLECTIONS": "people",
    "DELETES": "remove",
    "HISTORY": "true",
    "MAX_VANISHED_SHARE": "0",
    "ASSIGNMENTS__EXTERNAL_REFERENCES": "(people,@x)",
}
"""Settings that somebody has for a tenant of their own; the demo knows none of them."""


@pytest.mark.skipif(UV is None, reason="needs uv")
def test_the_wheel_runs_outside_of_the_clone(world: World, tmp_path: Path) -> None:
    """One test for all commands, because building and installing takes most of the time."""
    ours = ("PYTHON", "VIRTUAL_ENV", "UV_PROJECT", "COV_")
    environment = {n: value for n, value in os.environ.items() if not n.startswith(ours)}

    def run(*command: str | Path, code: int = 0, errors: str | None = None) -> str:
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, f"{command}: {done.stdout}{done.stderr}"
        assert errors in (None, done.stderr)
        return done.stderr if code else done.stdout

    python = tmp_path / "installed" / "bin" / "python"
    protime = python.with_name("protime")
    run(str(UV), "build", "--quiet", "--wheel", "--out-dir", tmp_path, ROOT)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"dlt_source_protime-{__version__}-py3-none-any.whl"
    run(str(UV), "venv", "--quiet", "--python", sys.executable, python.parent.parent)
    run(str(UV), "pip", "install", "--quiet", "--python", python, wheel)
    where = "import protime_source; print(protime_source.__file__)"
    assert run(python, "-c", where).startswith(str(tmp_path))
    assert run(protime, "--help").startswith("Usage: protime")
    assert "No problem." in run(protime, "check")
    assert "Loaded into" in run(protime, "run")
    world.database = tmp_path / "protime.duckdb"
    world.check()
    assert "assignments" in run(protime, "status")
    for extra, *command in (
        ("report", "report", "--png", "plan.png"),
        ("notebook", "notebook"),
        ("webhooks", "listen", "--url", "https://acme.example"),
    ):
        refused = run(protime, *command, code=2)
        assert f'pip install "dlt-source-protime[{extra}]"' in refused
    environment |= {f"SOURCES__PROTIME__{name}": value for name, value in OTHER_SETTINGS.items()}
    assert "The table equals the tenant" in run(protime, "demo", errors="")
    assert (tmp_path / "protime_demo.duckdb").is_file()
