"""What is measured of an instance again and again, and the rule by which it is flat."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from protime_source.pipeline.states import STATES_KEPT

Sample = Mapping[str, float]


@dataclass(frozen=True)
class Rule:
    """When a gauge is flat.

    Attributes:
        share: By how much the median of the last quarter may exceed that of the second one, of the
            latter. In the first one, what is kept for later runs is filled.
        slack: The same as a number, if that is more.
        limit: The most that any sample may be; then the quarters do not count.
    """

    share: float = 0.0
    slack: float = 0.0
    limit: float | None = None

    def holds(self, values: Sequence[float]) -> bool:
        """Whether a gauge's values, in order of time, are flat."""
        if self.limit is not None:
            return max(values) <= self.limit
        _, second, _, last = quarters(values)
        return last <= second + max(self.share * second, self.slack)

    def __str__(self) -> str:
        """The rule in words."""
        if self.limit is not None:
            return f"at most {self.limit:,.0f}"
        return f"+ {100 * self.share:.0f} %" if self.share else f"+ {self.slack:,.0f}"


_SAWTOOTH = Rule(limit=2 * STATES_KEPT + 2)
"""They are deleted when there are more than twice as many as are kept; one run may be killed."""

RULES = {
    "memory, MB": Rule(share=0.05),
    "open files": Rule(slack=2),
    "threads": Rule(slack=2),
    "connections": Rule(slack=1),
    "rows of _dlt_loads": _SAWTOOTH,
    "rows of _dlt_pipeline_state": _SAWTOOTH,
    "rows of _dlt_version": Rule(slack=0),
    "rows of sync_runs": Rule(share=0.25),
    "files of dlt": Rule(share=0.05),
    "files of dlt, kB": Rule(share=0.05),
    "warehouse, kB": Rule(share=0.05, slack=1024),
}
"""Old rows of the ledger are deleted now and then, as docs/listening.md says."""


@dataclass
class Record:
    """The samples of one instance.

    Attributes:
        samples: In order of time.
    """

    samples: list[Sample] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[bool, str]]:
        """Yields for each gauge whether it is flat, and a row of a Markdown table."""
        for name, rule in RULES.items():
            values = [sample[name] for sample in self.samples if name in sample]
            if len(values) >= 4:
                is_flat = rule.holds(values)
                cells = [f"{each:,.0f}" for each in (*quarters(values), max(values))]
                verdict = "flat" if is_flat else "GROWS"
                yield is_flat, f"| {name} | {' | '.join(cells)} | {rule} | {verdict} |"


HEAD = "| | 1st quarter | 2nd | 3rd | 4th | most | allowed | |\n|---|---|---|---|---|---|---|---|"


def quarters(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Returns the medians of the four quarters of some values."""
    ends = [len(values) * n // 4 for n in range(5)]
    first, second, third, fourth = (median(values[a:b]) for a, b in pairwise(ends))
    return first, second, third, fourth


def of_process(pid: int) -> dict[str, float]:
    """Returns the gauges of a process."""
    folder = Path(f"/proc/{pid}")
    status = dict(
        line.split(":\t", 1)
        for line in (folder / "status").read_text().splitlines()
        if ":\t" in line
    )
    return {
        "memory, MB": int(status["VmRSS"].split()[0]) / 1024,
        "open files": sum(1 for _ in (folder / "fd").iterdir()),
        "threads": int(status["Threads"]),
    }


def of_folder(folder: Path) -> dict[str, float]:
    """Returns the gauges of a folder, whose files may be deleted meanwhile."""
    sizes = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
    return {"files of dlt": len(sizes), "files of dlt, kB": sum(sizes) / 1024}
