"""The files of pipelines/schedules/ that need no scheduler to be tried: cron, systemd, YAML."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from protime_source import __version__
from protime_source.cli.arguments import Parser
from protime_source.cli.commands.listen import check_arguments
from protime_source.cli.main import add_commands
from tests.ledger import outcomes
from tests.pages import ROOT
from tests.world import World

SCHEDULES = ROOT / "pipelines" / "schedules"
SYSTEMD = SCHEDULES / "systemd"

OURS = {"PYTHONPATH": str(ROOT)}
"""The code that is tested, also where the environment has another version of it."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the environment of these tests in it."""
    folder = tmp_path / "protime"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def test_crons_lines_and_systemds_load_and_watch_and_say_nothing_when_all_is_well(
    world: World, folder: Path
) -> None:
    settings = "".join(f'{key} = "{value}"\n' for key, value in world.server.settings().items())
    (folder / ".dlt").mkdir()
    (folder / ".dlt" / "secrets.toml").write_text(f"[sources.protime]\n{settings}")
    lines = re.findall(r"^(?:[\d*,]+ +){5}(.+)$", (SCHEDULES / "crontab").read_text(), re.MULTILINE)
    load, watch = (line.replace("/srv/protime", str(folder)) for line in lines)
    unit = (SYSTEMD / "protime.service").read_text().replace("/opt/protime", str(folder))
    [command] = re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)
    # Cron and systemd give a process no other environment.
    bare = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **OURS, "DLT_DATA_DIR": str(folder / "x")}

    def mailed(line: str) -> str:
        command = ["/bin/sh", "-c", line]
        done = subprocess.run(command, env=bare, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "Nothing has been loaded yet." in mailed(watch)
    assert mailed(load).startswith("assignments: a full load from ")
    shutil.rmtree(folder / "x")
    world.tenant.delete(min(world.tenant.records))
    assert mailed(f"{command} > last-run.log") == ""
    assert mailed(watch) == ""
    world.database = folder / "protime.duckdb"
    assert outcomes(world) == [
        ("assignments", "first load", "succeeded", 300),
        ("assignments", "changes", "succeeded", 1),
    ]
    world.check()


def test_systemds_listener_is_given_options_that_it_has() -> None:
    unit = (SYSTEMD / "protime-listen.service").read_text()
    [command] = re.findall(r"^ExecStart=\S+ (.+)$", unit, re.MULTILINE)
    parser = Parser()
    add_commands(parser)
    check_arguments(parser.parse_args(shlex.split(command)))


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """As far as this machine has it. The command must be there, so another one stands for it."""
    if not Path("/usr/bin/systemd-analyze").exists():
        pytest.skip("needs systemd-analyze")
    for unit in SYSTEMD.iterdir():
        text = unit.read_text().replace("/opt/protime/.venv/bin/protime", "/usr/bin/env")
        text = text.replace("# OnFailure=", "OnFailure=")
        (tmp_path / unit.name).write_text(text)
    units = [*map(str, tmp_path.glob("protime*"))]
    verified = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


def test_the_container_and_the_cronjob_fit_each_other() -> None:
    dockerfile = (SCHEDULES / "Dockerfile").read_text()
    [user] = re.findall(r"^USER (\d+)$", dockerfile, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["protime"\]$', dockerfile, re.MULTILINE)
    job = yaml.safe_load((SCHEDULES / "kubernetes_cronjob.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsUser"] == int(user) > 0
    assert container["securityContext"]["readOnlyRootFilesystem"]
    [scratch] = [volume["mountPath"] for volume in container["volumeMounts"]]
    assert f"WORKDIR {scratch}\n" in dockerfile
    assert f"DLT_DATA_DIR={scratch}/" in dockerfile
    assert f"]=={__version__})" in dockerfile
    assert container["image"].endswith(f":{__version__}")
