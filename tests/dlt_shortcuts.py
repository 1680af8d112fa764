"""Shortcuts through dlt's search for settings, and through its checks: it finds the same.

For each setting dlt looks under the name of every section, and works out what its type means. For
each connection to BigQuery it reads the same private key, and Google's library checks it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from dlt.common import typing, validation
from dlt.common.configuration import container, resolve
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import environ
from dlt.common.configuration.specs import base_configuration
from dlt.common.configuration.specs.base_configuration import BaseConfiguration
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from dlt.common.schema import utils
from dlt.destinations.impl.duckdb import configuration
from google.auth.crypt import RSASigner

_OF_TYPES = (
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


def take_shortcuts() -> None:
    """Makes dlt look for what is set alone, and work out once what a type means."""
    for module, name in _OF_TYPES:
        _replace(getattr(module, name), cache(getattr(module, name)))
    container.is_subclass = cache(container.is_subclass)  # type: ignore[attr-defined]
    configuration.is_valid_filepath = cache(configuration.is_valid_filepath)  # type: ignore[attr-defined]
    hints = cache(validation.get_type_hints)  # type: ignore[attr-defined]
    validation.get_type_hints = lambda spec, **_: hints(spec)  # type: ignore[attr-defined]
    fields = cache(BaseConfiguration.get_resolvable_fields.__func__)  # type: ignore[attr-defined]
    BaseConfiguration.get_resolvable_fields = classmethod(  # type: ignore[method-assign,assignment]
        lambda cls: dict(fields(cls))  # type: ignore[arg-type]
    )
    BaseConfiguration.__iter__ = lambda self: iter(_names(type(self)))  # type: ignore[method-assign]
    BaseConfiguration.__len__ = lambda self: len(_names(type(self)))  # type: ignore[method-assign]
    _validate_once()
    RSASigner.from_string = staticmethod(cache(RSASigner.from_string))  # type: ignore[method-assign]
    if not os.path.exists(os.path.dirname(environ.SECRET_STORAGE_PATH)):
        _look_for_what_is_set()


def _replace(function: Any, replacement: Any, name: str = "") -> None:
    """Wherever dlt has imported it."""
    name = name or function.__name__
    for path, module in list(sys.modules.items()):
        if path.startswith("dlt.") and vars(module).get(name) is function:
            setattr(module, name, replacement)


def _validate_once() -> None:
    """What was valid is not looked through again: dlt reads each schema twenty times in a run."""
    validate, ignoring = validation.validate_dict, validation.validate_dict_ignoring_xkeys
    valid: set[int] = set()

    def validate_once(
        spec: Any, doc: Any, path: str, filter_f: Any = None, validator_f: Any = None
    ) -> None:
        key = hash((spec, filter_f, validator_f, repr(doc)))
        if key not in valid:
            validate(spec, doc, path, filter_f, validator_f)
            if validator_f in (None, utils.simple_regex_validator):  # others depend on a schema
                valid.add(key)

    _replace(validate, validate_once)
    _replace(ignoring, partial(validate_once, **ignoring.keywords), "validate_dict_ignoring_xkeys")
    validation.validate_dict = validate  # what it calls for its parts


_iterate: Callable[[BaseConfiguration], Iterator[str]] = BaseConfiguration.__iter__


@cache
def _names(kind: type[BaseConfiguration]) -> tuple[str, ...]:
    """The fields of a configuration."""
    return tuple(_iterate(kind))  # type: ignore[arg-type]


def _look_for_what_is_set() -> None:
    """Where dlt wants no list of the places that it looked in: that is for an error message."""
    dlt_: Any = resolve
    look_for_field, look = dlt_._resolve_config_field, dlt_._resolve_single_value

    def field(key: str, hint: Any, default: Any, explicit: Any, config: Any, *places: Any) -> Any:
        *_, may_be_missing = places
        if explicit is None and (
            default is not None or may_be_missing or dlt_.is_optional_type(hint)
        ):
            inner = dlt_.extract_inner_hint(hint, preserve_literal=True)
            is_value = not (
                dlt_.is_context_inner_hint(inner) or dlt_.is_base_configuration_inner_hint(inner)
            )
            if is_value and _is_set_nowhere(key):
                return default, []
        return look_for_field(key, hint, default, explicit, config, *places)

    def section(key: str, hint: Any, inner: Any, *places: Any) -> Any:
        if inner is Any and _is_set_nowhere(key):
            return None, []
        return look(key, hint, inner, *places)

    dlt_._resolve_config_field, dlt_._resolve_single_value = field, section


def _is_set_nowhere(key: str) -> bool:
    """Whether no variable's name ends with a key, and there is no other source of settings."""
    variables: Any = os.environ
    names = b"=".join((*variables._data, b""))
    if variables.encodekey(key.upper()) + b"=" in names:
        return False
    _, *others = Container()[PluggableRunContext].providers.providers
    return all(each.is_empty for each in others)
