"""What the package offers is there, typed and documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files
from types import ModuleType
from typing import Any

import pytest

import protime_source
import protime_source.demo

PACKAGES = [protime_source, protime_source.demo]
WANTED = {"protime", "Client", "Assignment", "ActivityLevel", "Settings", "ProtimeError"}


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(protime_source.__path__, "protime_source.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    return [protime_source, *map(importlib.import_module, names)]


def exported() -> list[tuple[ModuleType, str]]:
    return [(package, name) for package in PACKAGES for name in package.__all__]


def is_own(value: object) -> bool:
    module = getattr(inspect.unwrap(value) if callable(value) else value, "__module__", "")
    return str(module).startswith("protime_source")


def members(owner: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class itself defines."""
    for name, member in vars(owner).items():
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        documentable = inspect.isfunction(function) or isinstance(
            function, property | cached_property
        )
        if not name.startswith("_") and documentable:
            yield name, function


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_names_are_sorted_and_there_once(package: ModuleType) -> None:
    assert package.__all__ == sorted(set(package.__all__))


def test_what_users_need_is_exported() -> None:
    assert set(protime_source.__all__) >= WANTED


@pytest.mark.parametrize(("package", "name"), exported(), ids=lambda each: str(each)[:30])
def test_each_exported_name_exists_and_is_documented(package: ModuleType, name: str) -> None:
    value = getattr(package, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+", value)
    else:
        assert len(inspect.getdoc(value) or "") > 10


@pytest.mark.parametrize(("package", "name"), exported(), ids=lambda each: str(each)[:30])
def test_an_exported_class_has_its_own_docstring(package: ModuleType, name: str) -> None:
    value = getattr(package, name)
    if inspect.isclass(value):
        assert (vars(value).get("__doc__") or "").strip()
        # The docstring that a dataclass gets by itself is its signature.
        assert not (value.__doc__ or "").startswith(f"{name}(")


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_module_and_every_public_name_in_it_is_documented(module: ModuleType) -> None:
    undocumented = [] if (module.__doc__ or "").strip() else [module.__name__]
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            undocumented += [
                f"{name}.{member}" for member, function in members(value) if not function.__doc__
            ]
        if (inspect.isclass(value) or inspect.isfunction(value)) and not vars(value).get(
            "__doc__", value.__doc__
        ):
            undocumented.append(name)
    assert undocumented == []


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_what_is_imported_into_a_package_from_its_own_modules_is_exported(
    package: ModuleType,
) -> None:
    own = {
        name
        for name, value in vars(package).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
        if is_own(value)
    }
    assert own - {"install"} <= set(package.__all__)


def test_type_checkers_may_rely_on_the_annotations() -> None:
    assert files(protime_source).joinpath("py.typed").is_file()
