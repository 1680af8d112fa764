"""How far a run is: rows, rate, share and time left of each collection."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console as RichConsole

from protime_source.cli.display import Display
from protime_source.cli.progress import Progress
from protime_source.sync.counts import Counts


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def progress(clock: Clock) -> Progress:
    return Progress(clock)


def read(rows: int, of: int = 0, **more: bool | int) -> Counts:
    """The counts of a load package that has received some rows."""
    counts = Counts("people", received=rows, expected_rows=of, first_rows=(0, 0))
    for name, value in more.items():
        setattr(counts, name, value)
    return counts


def test_a_full_load_has_a_share_and_a_time_left(progress: Progress, clock: Clock) -> None:
    progress.expected = 2
    progress.follow(read(2_500, of=10_000))
    clock.now = 10
    line = "people: 2,500 rows so far, 250 a second, 25 %, 30 s left"
    assert progress.line("people") == f"{line} (0 of 2 collections read)"
    progress.expected = 1
    assert progress.line("people") == line


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, ""), (10, "10 s left"), (600, "10 min left"), (9000, "2.5 h left")]
)
def test_the_time_left_is_in_words_once_there_is_a_rate(
    progress: Progress, clock: Clock, seconds: float, words: str
) -> None:
    progress.follow(read(50, of=100))
    clock.now = seconds
    assert progress.time_left("people") == words


def test_what_came_first_and_the_wait_before_it_do_not_count(
    progress: Progress, clock: Clock
) -> None:
    counts = Counts("people", received=1_000, expected_rows=2_000, first_rows=(100, 1_000))
    progress.follow(counts)
    clock.now = 110
    assert progress.line("people") == "people: 1,000 rows so far, 50 %"
    counts.received = 1_500
    assert progress.line("people") == "people: 1,500 rows so far, 50 a second, 75 %, 10 s left"


@pytest.mark.parametrize(
    "counts",
    [read(50), read(0, of=100), read(101, of=100), read(50, of=100, resumed=1)],
    ids=["unknown", "nothing yet", "more than expected", "begun by an earlier run"],
)
def test_a_share_that_cannot_be_known_is_not_shown(
    progress: Progress, clock: Clock, counts: Counts
) -> None:
    progress.follow(counts)
    clock.now = 10
    assert progress.share("people") is None
    assert progress.percentage("people") == progress.time_left("people") == ""


def test_the_parts_of_a_full_load_are_one_collection(progress: Progress, clock: Clock) -> None:
    progress.expected = 1
    first = read(40, of=100)
    progress.follow(first)
    assert (progress.in_progress, progress.is_reading) == (["people"], True)
    first.is_read = first.continues = True  # the destination gets it
    assert (progress.in_progress, progress.is_reading) == (["people"], False)
    second = read(20, of=100, resumed=1)
    progress.follow(second)
    clock.now = 6
    assert progress.line("people") == "people: 60 rows so far, 10 a second, 60 %, 4 s left"
    second.is_read = True
    assert progress.in_progress == []
    assert progress.of_collections() == "1 of 1 collection read"


@pytest.mark.parametrize(("columns", "has_bar"), [(80, False), (100, True)])
def test_a_terminal_shows_a_line_per_collection_that_fits(
    monkeypatch: pytest.MonkeyPatch, columns: int, has_bar: bool
) -> None:
    clock = Clock()
    progress = Progress(clock)
    names = ("work_location_histories", "assignments", "people", "jobs")
    progress.expected = len(names)
    for name in names[:3]:
        rows, total = (500_000, 1_000_000) if name != "people" else (7, 0)
        progress.follow(Counts(name, received=rows, expected_rows=total, first_rows=(0, 0)))
    progress.follow(Counts(names[3]))
    clock.now = 50
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = StringIO()
    RichConsole(file=stream).print(Display(stream, progress).render())
    head, *lines, last = stream.getvalue().splitlines()
    assert head.endswith("0 of 4 collections read, 1,000,007 rows")
    assert [line.split()[0] for line in lines] == list(names[:3])
    assert all("500,000 rows  10,000 a second" in line for line in lines[:2])
    assert all(line.rstrip().endswith("50 %  50 s left") for line in lines[:2])
    assert [("━" in line) for line in lines] == [has_bar, has_bar, False]
    assert last.strip() == "1 not shown, or waiting"
    assert max(map(len, (head, *lines))) <= columns
