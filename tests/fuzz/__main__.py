"""Fuzzes what comes from outside, for as long as is wanted.

    uv run python -m tests.fuzz --minutes 60

Each target gets the same time. It ends with 1 when a target failed; the failing input is printed.
"""

from __future__ import annotations

import argparse
import logging
import random
import time
import traceback

from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.files import OF_FILES
from tests.fuzz.targets import TARGETS, Target

_EXAMPLES = 200


def fuzz(target: Target, seconds: float, first_seed: int) -> int:
    """Tries a target for so many seconds of processor; returns the number of inputs.

    Raises:
        BaseException: What the target raised, with the input as its note.
    """
    started, tried, number = time.process_time(), 0, first_seed

    def check(value: object) -> None:
        nonlocal tried
        tried += 1
        target.check(value)

    while time.process_time() < started + seconds:
        run = settings(
            max_examples=_EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )(given(target.inputs)(check))
        seed(number)(run)()
        number += 1
    return tried


def main() -> int:
    """Returns 0 when no target failed."""
    targets = TARGETS | OF_FILES
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--targets", nargs="+", default=list(targets), choices=list(targets))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    seconds, failed = 60 * options.minutes / len(options.targets), 0
    print(f"seed {options.seed}", flush=True)
    for name in options.targets:
        try:
            tried = fuzz(targets[name], seconds, options.seed)
            print(f"{name}: {tried:,} inputs", flush=True)
        except BaseException:
            failed += 1
            print(f"{name}: FAILED\n{traceback.format_exc()[-4000:]}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
