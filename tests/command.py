"""The command as a user runs it: in a process of its own."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

from protime_source.cli.main import main
from tests.world import World

COMMAND = (sys.executable, "-m", "protime_source")
SCRIPT = Path(__file__).parent.parent / "pipelines" / "protime_pipeline.py"


def environment(world: World, **more: str) -> dict[str, str]:
    """The test's own environment, with the world's warehouse."""
    return {**os.environ, **world.engine.environment(), **more}


_started: list[subprocess.Popen[str]] = []


def start(
    world: World, *arguments: str, command: str = "run", **more: str
) -> subprocess.Popen[str]:
    """Starts `protime run`, or another command. It ends with its test, however that ends."""
    process = subprocess.Popen(
        [*COMMAND, command, *arguments],
        env=environment(world, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started.append(process)
    return process


def end_started() -> None:
    """Ends what a test has started and left, as one does that fails."""
    while _started:
        with _started.pop() as process:
            process.kill()


def run(world: World, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs `protime run` to its end."""
    process = start(world, *arguments, **more)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_here(
    world: World, *arguments: str, command: str = "run", **more: str
) -> subprocess.CompletedProcess[str]:
    """`protime run`, or another command, in this process: it takes a second less of CPU time."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    out, err = StringIO(), StringIO()
    with (
        _formatters_kept(),
        world.engine.kept_open() if command == "run" else nullcontext(),
        mock.patch.dict(os.environ, environment(world, **more)),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = main([command, *arguments])
    for number, handler in handlers.items():
        signal.signal(number, handler)
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


@contextmanager
def _formatters_kept() -> Iterator[None]:
    """`RUNTIME__LOG_FORMAT=JSON` makes dlt give each handler of the process its own formatter."""
    named = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(each for each in named if isinstance(each, logging.Logger))]
    formatters = {handler: handler.formatter for each in loggers for handler in each.handlers}
    default: Any = logging._defaultFormatter  # type: ignore[attr-defined]
    yield
    logging._defaultFormatter = default  # type: ignore[attr-defined]
    for handler, formatter in formatters.items():
        handler.setFormatter(formatter)


def reason(run: subprocess.CompletedProcess[str]) -> str:
    """The one line that says why a run failed; no stack trace, no secret anywhere."""
    lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert "demo-secret" not in run.stderr + run.stdout
    return lines[0]


def fits(text: str) -> bool:
    """Whether a report fits into 100 columns; a path is never broken."""
    return all(len(line) <= 100 or " " not in line.strip() for line in text.splitlines())
