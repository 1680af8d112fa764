"""The steps of a history, and a history made of a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tests.simulator.protime import Behaviour, FaultKind

WhatToFolder = Literal["lose", "save", "put back", "copy"]
FOLDERS: tuple[WhatToFolder, ...] = get_args(WhatToFolder)

HOSTS = 2
"""Hosts of a history; most have one that does all the work."""


@dataclass(frozen=True)
class Write:
    """A record is created, changed, moved or brought back."""

    id: int
    day: int


@dataclass(frozen=True)
class Delete:
    """A record is deleted, if there is one."""

    id: int


@dataclass(frozen=True)
class Run:
    """A host begins a run or goes on with it: to its end, or until it stands still or dies.

    Attributes:
        host: Which host.
        effects: How many effects it has first; `None` for all.
        dies: Whether it is killed then.
        full_resync: Whether it loads fully.
        package_pages: Pages of a full load in one package of `load`.
        max_pages: With it, one package by dlt's own `run`.
    """

    host: int = 0
    effects: int | None = None
    dies: bool = False
    full_resync: bool = False
    package_pages: int | None = None
    max_pages: int | None = None


@dataclass(frozen=True)
class Wait:
    """Hours pass."""

    hours: int


@dataclass(frozen=True)
class SetClock:
    """A host's clock is wrong by some hours from now on."""

    host: int
    hours: int


@dataclass(frozen=True)
class Happen:
    """Something happens that needs no numbers.

    `lose seen ids`: somebody empties `sync_seen_ids`. `lose locks`: connections are cut.
    """

    what: Literal[
        "another consumer",
        "back up",
        "put back",
        "empty the table",
        "drop a column",
        "drop the staging table",
        "lose seen ids",
        "lose locks",
        "refuse",
        "hide",
        "show",
    ]


@dataclass(frozen=True)
class Folder:
    """Something happens to a host's working folder: `copy` is from the other host's."""

    host: int
    what: WhatToFolder


@dataclass(frozen=True)
class Fail:
    """A request goes wrong, after some others."""

    after: int
    kind: FaultKind


Step = Write | Delete | Run | Wait | SetClock | Happen | Folder | Fail


@dataclass(frozen=True)
class History:
    """All that a history is made of."""

    behaviour: Behaviour
    steps: tuple[Step, ...]
    is_file: bool = False
    max_vanished_share: float = 1.0
    in_two_files: bool = False


def make_history(seed: int) -> History:
    """Returns the history of a seed."""
    dice = random.Random(seed)
    is_overlapping = dice.random() < 0.3
    guards = dice.random() < 0.1
    maker = _Maker(dice, hosts=HOSTS if is_overlapping or dice.random() < 0.4 else 1)
    steps: list[Step] = [
        Write(id_, dice.randint(0, 9)) for id_ in range(1, dice.choice((6, 13)) if guards else 4)
    ]
    steps += [Run()] if dice.random() < 0.7 else []
    for _ in range(dice.randint(3, 9)):
        steps += maker.steps(overlapping=is_overlapping, guards=guards)
    return History(
        _behaviour(dice),
        tuple(steps),
        is_file=dice.random() < 0.4,
        max_vanished_share=0.3 if guards else 1.0,
        in_two_files=dice.random() < 0.2,
    )


def _behaviour(dice: random.Random) -> Behaviour:
    def seldom() -> bool:
        return dice.random() < 0.2

    return Behaviour(
        kind="snapshot" if dice.random() < 0.07 else "delta",
        page_size=dice.choice((1, 2, 2, 3, 4, 20)),
        links_rereadable=not seldom(),
        pages_rereadable=not seldom(),
        older_delta_dies=dice.random() < 0.3,
        compacted=seldom(),
        shuffled=seldom(),
        repeats=seldom(),
        delete_payload=seldom(),
        same_version=seldom(),
        leaving=dice.choice(("delete", "delete", "delete", "silent", "update")),
        page_overlap=seldom(),
        empty_pages=seldom(),
        delta_page_size=dice.choice((0, 0, 0, 1, 2)),
        lags=dice.random() < 0.1,
        gone=dice.choice((410, 410, 409, 400, 404)),
    )


@dataclass
class _Maker:
    """Makes steps by chance, some of them in the order in which they mean something."""

    dice: random.Random
    hosts: int

    def steps(self, *, overlapping: bool, guards: bool) -> list[Step]:
        dice, host = self.dice, self.dice.randrange(self.hosts)
        match dice.choices(
            ("change", "run", "killed", "overlap", "world", "folder", "fault", "guard"),
            (4, 3, 3, 3 * overlapping, 2, 1.5, 1, 2 * guards),
        )[0]:
            case "change":
                return self.changes()
            case "run":
                return [self.run(host)]
            case "killed":
                return [*self.some(self.changes), self.run(host, dies=True)]
            case "overlap":
                return self.overlap()
            case "world":
                return [self.world(host)]
            case "folder":
                return [Folder(host, dice.choice(FOLDERS))]
            case "fault":
                kinds: tuple[FaultKind, ...] = (
                    "unavailable",
                    "garbled",
                    "too large",
                    "unknown change",
                    "forbidden",
                )
                fault = Fail(dice.randint(0, 3), dice.choice(kinds))
                return [fault, *self.some(self.changes), self.run(host)]
            case _:
                run = Run(host, full_resync=True, package_pages=dice.choice((None, 2)))
                return [Happen("hide"), run, Happen("show"), Run(host, full_resync=True)]

    def some(self, make: Callable[[], list[Step]]) -> list[Step]:
        return make() if self.dice.random() < 0.7 else []

    def changes(self) -> list[Step]:
        return [self.change() for _ in range(self.dice.randint(1, 4))]

    def change(self) -> Step:
        dice = self.dice
        id_ = dice.randint(1, 7)
        if dice.random() < 0.35:
            return Delete(id_)
        return Write(id_, dice.choice((-3, 0, 1, 2, 3, 4, 5, 6, 7, 8)))

    def run(self, host: int, *, dies: bool = False) -> Run:
        dice = self.dice
        return Run(
            host,
            effects=dice.randint(0, 42) if dies else None,
            dies=dies,
            full_resync=dice.random() < 0.1,
            package_pages=dice.choice((None, None, 1, 2)),
            max_pages=dice.choice((1, 2)) if dice.random() < 0.15 else None,
        )

    def overlap(self) -> list[Step]:
        """A host stands still; changes, lost locks and another one's run; then it goes on."""
        dice, first = self.dice, self.dice.randrange(HOSTS)
        steps: list[Step] = [Run(first, dice.randint(3, 40)), *self.some(self.changes)]
        if dice.random() < 0.7:
            steps.append(Happen("lose locks"))
        other = Run(1 - first, dice.choice((None, None, dice.randint(3, 40))))
        other = replace(other, dies=other.effects is not None and dice.random() < 0.5)
        steps += [other, *self.some(self.changes)]
        if dice.random() < 0.3:
            steps.append(Happen("lose locks"))
        last = [Run(first), Run(1 - first)]
        if dice.random() < 0.5:
            last[0] = self.run(first, dies=dice.random() < 0.5)
        return [*steps, *dice.sample(last, 2)]

    def world(self, host: int) -> Step:
        dice = self.dice
        match dice.choice(("wait", "clock", "happen", "happen")):
            case "wait":
                return Wait(dice.choice((1, 30, 73)))
            case "clock":
                return SetClock(host, dice.choice((0, 0, -30, 5, 48)))
            case _:
                return Happen(
                    dice.choice(
                        (
                            "another consumer",
                            "another consumer",
                            "back up",
                            "back up",
                            "put back",
                            "put back",
                            "empty the table",
                            "drop a column",
                            "drop the staging table",
                            "lose seen ids",
                            "refuse",
                        )
                    )
                )
