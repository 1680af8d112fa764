"""What docs/try-it.md tells to do by hand leaves a table that says what Protime says."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command import run_here
from tests.engines import DuckDBEngine
from tests.pages import DOCS, section
from tests.world import World

PAGE = DOCS / "try-it.md"
HEADINGS = re.findall(r"^(## .+)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)[1:]


class _HereEngine(DuckDBEngine):
    """DuckDB without a setting: the file is called like the pipeline, in the current folder."""

    def environment(self) -> dict[str, str]:
        self.close()
        return {}


def follow(world: World, line: str) -> str:
    """Does what a line says, and returns what is seen."""
    if line == "sleep 10":  # the tenant of the page changes by itself
        world.tenant.churn(20)
        return ""
    command, _, echo = line.partition("; echo ")
    if command.startswith("protime ") and "&" not in command:
        _, name, *arguments = command.split()
        ran = run_here(world, *arguments, command=name)
        assert echo or ran.returncode == 0, ran.stderr
        code = f"exit code {ran.returncode}\n" if echo == '"exit code $?"' else ""
        return ran.stdout + ran.stderr + code
    world.engine.close()
    path = f"PATH={Path(sys.executable).parent}:$PATH\n"
    bash = subprocess.run(["bash", "-c", path + line], capture_output=True, text=True, check=False)
    return bash.stdout + bash.stderr


def squeezed(text: str) -> str:
    """A text on one line: columns and lines are as wide as what stands in them."""
    return " ".join(text.split())


@pytest.fixture
def here(world: World, tmp_path: Path) -> World:
    return replace(world, engine=_HereEngine(tmp_path / "protime.duckdb"))


def test_whatever_is_done_by_hand_the_table_says_what_protime_says(here: World) -> None:
    for heading in HEADINGS:
        text = section(PAGE, heading)
        [commands] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        seen = squeezed("".join(follow(here, line) for line in commands.splitlines()))
        position = 0
        for line in re.findall(r"```text\n(.*?)```", text, re.DOTALL)[0].splitlines():
            position = seen.find(squeezed(line), position) + 1
            assert position, f"{heading}: {line!r} is not in {seen!r}"
        here.check()
