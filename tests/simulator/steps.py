"""The steps of a history, and a history made of a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tests.simulator.protime import Behaviour, FaultKind

WhatHappens = Literal[
    "another consumer",
    "back up",
    "put back",
    "empty the table",
    "drop a column",
    "drop the staging table",
    "lose seen ids",
    "refuse",
    "lose locks",
    "hide",
    "show",
]
HAPPENS: tuple[WhatHappens, ...] = get_args(WhatHappens)[:-3]
"""What may happen at any time; the others belong to other steps."""

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)

MOMENTS = (
    "request",
    "response",
    "commit the extracted package",
    "save the state",
    "normalize",
    "open the destination",
    "update the schema",
    "empty the staging table",
    "copy the state",
    "mark the state's copy",
    "copy to the staging table",
    "mark the copy",
    "merge",
    "mark the merge",
    "write the load's record",
    "put the package away",
    "read the states beside the load's",
    "check the staging table",
    "uncommit",
    "read the committed state",
    "delete a package",
)
"""Effects before which a kill, or another host's run, may mean something."""

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
        counted: The name of those that count; empty for all.
        dies: Whether it is killed then.
        full_resync: Whether it loads fully.
        package_pages: Pages of a full load in one package of `load`.
        max_pages: With it, one package by dlt's own `run`.
    """

    host: int = 0
    effects: int | None = None
    counted: str = ""
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

    what: WhatHappens


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
    """All that a history is made of.

    Attributes:
        behaviour: Protime's.
        steps: What happens.
        is_file: Whether the warehouse is DuckDB, whose file one process at a time writes to.
        max_vanished_share: The setting.
        in_two_files: Whether dlt writes the rows of a package into two files.
        batch_pages: Pages of a full load that are decoded together.
        group_rows: Rows that a full load hands on together; few, and a table of a few rows is as a
            large one is.
    """

    behaviour: Behaviour
    steps: tuple[Step, ...]
    is_file: bool = False
    max_vanished_share: float = 1.0
    in_two_files: bool = False
    batch_pages: int = 1
    group_rows: int = 122_880


def make_history(seed: int) -> History:
    """Returns the history of a seed."""
    dice = random.Random(seed)
    is_overlapping = dice.random() < 0.4
    guards = dice.random() < 0.1
    maker = _Maker(dice, HOSTS if is_overlapping or dice.random() < 0.4 else 1, guards=guards)
    records = range(1, 15) if guards else range(dice.choice((1, 3)), dice.choice((4, 5, 7)))
    steps: list[Step] = [Write(id_, dice.randint(0, 9)) for id_ in records]
    steps += [Run()] if dice.random() < 0.6 else []
    for _ in range(dice.randint(2, 7)):
        steps += maker.steps()
    return History(
        _behaviour(dice),
        tuple(steps),
        is_file=dice.random() < 0.4,
        max_vanished_share=0.3 if guards else 1.0,
        in_two_files=dice.random() < 0.2,
        batch_pages=dice.choice((1, 1, 3)),
        group_rows=dice.choice((2, 122_880)),
    )


def _behaviour(dice: random.Random) -> Behaviour:
    share = dice.choice((0.1, 0.3, 0.6))

    def seldom() -> bool:
        return dice.random() < share

    return Behaviour(
        kind="snapshot" if dice.random() < 0.1 else "delta",
        page_size=dice.choice((1, 2, 2, 3, 4, 20)),
        links_rereadable=not seldom(),
        pages_rereadable=not seldom(),
        older_delta_dies=seldom(),
        compacted=seldom(),
        shuffled=seldom(),
        repeats=seldom(),
        delete_payload=seldom(),
        same_version=seldom(),
        leaving=dice.choice(("delete", "delete", "delete", "silent", "update")),
        page_overlap=dice.choice(("as it is", "as it was")) if seldom() else "",
        empty_pages=seldom(),
        delta_page_size=dice.choice((0, 0, 0, 1, 2)),
        lags=dice.random() < 0.1,
        gone=dice.choice((410, 410, 410, 409, 400, 404)),
    )


class _Maker:
    """Makes steps by chance, some of them in the order in which they mean something.

    Each history has kinds of its own that are frequent, and others that it does without, because
    what needs several rare things at once would hardly ever be met otherwise.
    """

    def __init__(self, dice: random.Random, hosts: int, *, guards: bool) -> None:
        self.dice, self.hosts = dice, hosts
        self.ids = dice.choice((2, 4, 7))
        self.deletes = dice.choice((0.2, 0.35, 0.6))
        makers = {
            self.changes: 3,
            self.run: 2,
            self.killed: 3,
            self.interrupted: 3,
            self.parts: 1,
            self.rivals: 2 * (hosts > 1),
            self.overlap: 3 * (hosts > 1),
            self.world: 2,
            self.folder: 1,
            self.fault: 1,
            self.hidden: 3 * guards,
        }
        self.makers = list(makers)
        self.weights = [weight * dice.choice((0, 1, 3)) for weight in makers.values()]
        self.weights[0] += 1
        self.happens = dice.sample(HAPPENS, dice.choice((1, 2, len(HAPPENS))))

    def steps(self) -> list[Step]:
        return self.dice.choices(self.makers, self.weights)[0]()

    def host(self) -> int:
        return self.dice.randrange(self.hosts)

    def some(self, make: Callable[[], list[Step]]) -> list[Step]:
        return make() if self.dice.random() < 0.7 else []

    def changes(self) -> list[Step]:
        return [self.change() for _ in range(self.dice.randint(1, 4))]

    def change(self) -> Step:
        dice = self.dice
        id_ = dice.randint(1, self.ids)
        if dice.random() < self.deletes:
            return Delete(id_)
        return Write(id_, dice.choice((-3, 0, 1, 2, 3, 4, 5, 6, 7, 8)))

    def run(self) -> list[Step]:
        return [self.some_run(self.host())]

    def some_run(self, host: int) -> Run:
        dice = self.dice
        return Run(
            host,
            full_resync=dice.random() < 0.1,
            package_pages=dice.choice((None, None, 1, 2)),
            max_pages=dice.choice((1, 2)) if dice.random() < 0.15 else None,
        )

    def stopped(self, run: Run, *, dies: bool) -> Run:
        """A run that stands still or dies: anywhere, or before an effect that means something."""
        dice = self.dice
        if dice.random() < 0.4:
            return replace(run, effects=dice.randint(0, 42), dies=dies)
        effects = dice.choice((0, 0, 0, 1, 2))
        return replace(run, effects=effects, counted=dice.choice(MOMENTS), dies=dies)

    def killed(self) -> list[Step]:
        return [*self.some(self.changes), self.stopped(self.some_run(self.host()), dies=True)]

    def interrupted(self) -> list[Step]:
        """A run stands still while it reads; something happens; then it goes on."""
        dice, host = self.dice, self.host()
        first = replace(
            self.some_run(host),
            effects=dice.randint(0, 3),
            counted=dice.choice(("request", "response")),
            full_resync=dice.random() < 0.5,
        )
        before = self.changes()
        after: list[Step] = [Delete(each.id) for each in before if isinstance(each, Write)]
        if dice.random() < 0.5:
            after = self.changes()
        if dice.random() < 0.6:
            after.append(Happen("another consumer"))
        return [*before, first, *after, Run(host)]

    def parts(self) -> list[Step]:
        """A full load in parts is left after some of them, and resumed after changes."""
        dice, host = self.dice, self.host()
        if dice.random() < 0.3:
            first = Run(host, full_resync=True, max_pages=dice.choice((1, 2)))
        else:
            first = Run(
                host,
                effects=dice.randint(1, 2),
                counted=dice.choice(("response", "commit the extracted package", "merge")),
                dies=True,
                full_resync=True,
                package_pages=1,
            )
        return [*self.some(self.changes), first, *self.changes(), Run(self.host())]

    def rivals(self) -> list[Step]:
        """A host dies and leaves a package; another one goes on, and may die too."""
        dice, first = self.dice, self.host()
        other = Run(1 - first)
        if dice.random() < 0.6:
            other = self.stopped(other, dies=True)
        return [
            *self.some(self.changes),
            self.stopped(self.some_run(first), dies=True),
            *self.changes(),
            other,
            *self.some(self.changes),
            Run(first),
        ]

    def overlap(self) -> list[Step]:
        """A host stands still; changes, lost locks and another one's run; then it goes on."""
        dice, first = self.dice, self.host()
        steps: list[Step] = [self.stopped(Run(first), dies=False), *self.some(self.changes)]
        loses_locks = dice.random() < 0.6
        if loses_locks:
            steps.append(Happen("lose locks"))
        other = Run(1 - first)
        if dice.random() < 0.4:
            other = self.stopped(other, dies=dice.random() < 0.5)
        steps += [other, *self.some(self.changes)]
        if loses_locks and dice.random() < 0.3:
            steps.append(Happen("lose locks"))
        last = [Run(first), Run(1 - first)]
        if dice.random() < 0.5:
            dies = dice.random() < 0.5
            again = self.some_run(first)
            last[0] = self.stopped(again, dies=True) if dies else again
        return [*steps, *dice.sample(last, 2)]

    def folder(self) -> list[Step]:
        return [Folder(self.host(), self.dice.choice(FOLDERS))]

    def fault(self) -> list[Step]:
        kind = self.dice.choice(FAULTS)
        return [Fail(self.dice.randint(0, 3), kind), *self.some(self.changes), *self.run()]

    def hidden(self) -> list[Step]:
        """Protime suddenly shows a few records only, and some time later all again."""
        dice, host = self.dice, self.host()
        run = Run(host, full_resync=True, package_pages=dice.choice((None, 1, 2)))
        return [Happen("hide"), run, Happen("show"), Run(host, full_resync=dice.random() < 0.5)]

    def world(self) -> list[Step]:
        dice = self.dice
        match dice.choice(("wait", "clock", "happen", "happen")):
            case "wait":
                return [Wait(dice.choice((1, 30, 73)))]
            case "clock":
                return [SetClock(self.host(), dice.choice((0, 0, -30, 5, 48)))]
            case _:
                return [Happen(dice.choice(self.happens))]
