"""The command, from the start of Python on, in a process that is forked, or in this one."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest import mock

from protime_source.cli.main import main
from tests.processes import CONTEXT, fork
from tests.world import World

COMMAND = (sys.executable, "-m", "protime_source")
_PIPELINES = Path(__file__).parent.parent / "pipelines"
SCRIPT = _PIPELINES / "protime_pipeline.py"
DEMO = _PIPELINES / "demo.py"


def environment(world: World, **more: str) -> dict[str, str]:
    """The test's own environment, with the world's warehouse."""
    return {**os.environ, **world.engine.environment(), **more}


class Command:
    """`protime run`, or another command, at work in a process of its own.

    Args:
        arguments: What is typed after `protime`.
        variables: Its whole environment.
    """

    def __init__(self, arguments: Sequence[str], variables: Mapping[str, str]) -> None:
        (self._out, out), (self._err, err) = CONTEXT.Pipe(duplex=False), CONTEXT.Pipe(duplex=False)
        self._process = fork(_act, arguments, dict(variables), out, err)
        self.pid = self._process.pid or 0
        out.close()
        err.close()

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.exitcode

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Waits until a condition holds, which must come before its end."""
        while not condition():
            assert self.poll() is None, self.finish()
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        """Sends it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def finish(self) -> subprocess.CompletedProcess[str]:
        """Waits for its end."""
        self._process.join(120)
        code = self.poll()
        if code is None:
            self.send_signal(signal.SIGKILL)
        out, err = _all_of(self._out), _all_of(self._err)
        assert code is not None, err
        return subprocess.CompletedProcess([], code, out, err)

    def end(self) -> None:
        """Ends it where it is, if it has not ended."""
        self.send_signal(signal.SIGKILL)
        self._process.join()
        self._out.close()
        self._err.close()


def _all_of(pipe: Connection) -> str:
    with open(pipe.fileno(), closefd=False) as text:
        return text.read()


def _act(
    arguments: Sequence[str], variables: Mapping[str, str], out: Connection, err: Connection
) -> None:
    """The command, in its process."""
    os.environ.clear()
    os.environ.update(variables)
    for number, output in ((1, out), (2, err)):
        os.dup2(output.fileno(), number)
        output.close()
    sys.argv = ["protime", *arguments]
    try:
        sys.exit(main())
    finally:
        atexit._run_exitfuncs()


_started: list[Command] = []


def start(world: World, *arguments: str, command: str = "run", **more: str) -> Command:
    """Starts `protime run`, or another command. It ends with its test, however that ends."""
    _started.append(Command([command, *arguments], environment(world, **more)))
    return _started[-1]


def end_started() -> None:
    """Ends what a test has started and left, as one does that fails."""
    while _started:
        _started.pop().end()


def run(world: World, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs `protime run` to its end, from the start of Python on, as a user does."""
    return subprocess.run(
        [*COMMAND, "run", *arguments],
        env=environment(world, **more),
        capture_output=True,
        text=True,
        timeout=120,
    )


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
    if _started:
        world.engine.close()  # they may want to open it
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
