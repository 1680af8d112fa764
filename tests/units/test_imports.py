"""Imports run one way, and each package knows only what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import protime_source

ROOT = Path(protime_source.__file__).parent

LAYERS = (
    "errors",
    "catalogue",
    "configuration",
    "settings",
    "api",
    "decode",
    "warehouse",
    "models",
    "sync",
    "pipeline",
    "verification",
    "operations",
    "writeback",
    "exports",
    "reporting",
    "webhooks",
    "demo",
    "cli",
)
"""A module imports from its own layer and from those before it."""

FOREIGN = {
    "catalogue": {"dlt", "pyarrow", "requests", "urllib3", "duckdb"},
    "api": {"dlt", "pyarrow", "duckdb"},
    "decode": {"dlt", "requests", "urllib3", "threading", "duckdb"},
    "sync": {"dlt", "requests", "urllib3", "duckdb"},
}
"""What a layer must not know."""

EXCEPTIONS = {("api/retry.py", "dlt")}
"""dlt's settings for retries are ours too."""

MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


@cache
def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def imported_names(module: str) -> Iterator[str]:
    """The names of all modules that a module imports, also within functions."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def layer_of(path: str) -> str:
    return path.removesuffix(".py").partition("/")[0]


def test_a_module_imports_only_from_the_layers_before_its_own() -> None:
    imports = (
        f"{module} imports {name}"
        for module in MODULES
        if module not in ("__init__.py", "__main__.py")
        for name in imported_names(module)
        if not may_import(module, name)
    )
    assert [*imports] == []


def may_import(module: str, name: str) -> bool:
    layer = layer_of(module)
    package, _, rest = name.partition(".")
    if package == "protime_source":
        return rest.partition(".")[0] in LAYERS[: LAYERS.index(layer) + 1]
    return (module, package) in EXCEPTIONS or package not in FOREIGN.get(layer, set())


def test_only_the_command_and_the_package_import_the_verification() -> None:
    importing = {
        layer_of(module)
        for module in MODULES
        for name in imported_names(module)
        if name.startswith("protime_source.verification")
    }
    assert importing <= {"__init__", "verification", "cli"}


def test_every_top_level_name_is_a_layer() -> None:
    assert {layer_of(m) for m in MODULES} - {"__init__", "__main__"} == set(LAYERS)


def test_a_module_says_its_purpose_in_its_first_line_and_stays_one_subject() -> None:
    for module in MODULES:
        purpose = ast.get_docstring(parsed(module))
        assert purpose, module
        assert len(purpose.splitlines()[0]) < 100, module
        lines = (ROOT / module).read_text().count("\n")
        assert lines <= 420, f"{module} is too long for one subject"
