"""Makes dlt work out once what a type hint means: it does so whenever it looks for a setting."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from dlt.common import typing, validation
from dlt.common.configuration.specs import base_configuration
from dlt.common.configuration.specs.base_configuration import BaseConfiguration

_FUNCTIONS = (
    (base_configuration, "extract_inner_hint"),
    (base_configuration, "is_base_configuration_inner_hint"),
    (base_configuration, "is_context_inner_hint"),
    (base_configuration, "is_hint_not_resolvable"),
    (base_configuration, "is_secret_hint"),
    (typing, "extract_type_if_modifier"),
    (typing, "is_optional_type"),
    (typing, "is_union_type"),
)
"""Pure functions of a type."""


def remember_what_hints_mean() -> None:
    """Saves a seventh of the CPU time of a run; what dlt does stays the same."""
    for module, name in _FUNCTIONS:
        _replace(getattr(module, name))
    hints = cache(validation.get_type_hints)  # type: ignore[attr-defined]
    validation.get_type_hints = lambda spec, **_: hints(spec)  # type: ignore[attr-defined]
    fields = cache(BaseConfiguration.get_resolvable_fields.__func__)  # type: ignore[attr-defined]
    BaseConfiguration.get_resolvable_fields = classmethod(  # type: ignore[method-assign,assignment]
        lambda cls: dict(fields(cls))  # type: ignore[arg-type]
    )


def _replace(function: Callable[..., Any]) -> None:
    """Wherever dlt has imported it."""
    cached = cache(function)
    for name, module in list(sys.modules.items()):
        if name.startswith("dlt.") and vars(module).get(function.__name__) is function:
            setattr(module, function.__name__, cached)
