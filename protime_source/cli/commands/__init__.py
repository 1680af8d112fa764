"""The commands: each is a module with `add_parser`, and a function that runs it.

They import nothing but the standard library until they run, so that help comes at once.
"""

from __future__ import annotations

from types import ModuleType

from protime_source.cli.commands import (
    check,
    demo,
    export,
    listen,
    models,
    notebook,
    push,
    report,
    reset,
    run,
    status,
    verify,
)

COMMANDS: tuple[ModuleType, ...] = (
    run,
    listen,
    check,
    status,
    verify,
    push,
    models,
    report,
    notebook,
    export,
    reset,
    demo,
)
"""In the order of the help."""
