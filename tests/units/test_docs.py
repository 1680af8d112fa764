"""What the README and docs/ say agrees with the code: tables, names, files and links."""

from __future__ import annotations

import re
import signal
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

import protime_source
from protime_source import ProtimeError, Settings, __version__
from protime_source.catalogue import COLLECTIONS
from protime_source.catalogue import __main__ as catalogue
from protime_source.catalogue.pages import with_generated_parts
from protime_source.decode.soft_delete import SYNC_COLUMNS
from protime_source.demo import Behaviour
from protime_source.models import __main__ as models
from protime_source.pipeline.failures import STOPPED
from protime_source.warehouse import receipts
from tests.pages import DOCS, PAGES, README, ROOT, names_in, section, table_rows, text_of

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


GENERATED = {**catalogue.GENERATED, **models.GENERATED}


def error_classes() -> list[type[ProtimeError]]:
    found: list[type[ProtimeError]] = [ProtimeError]
    for each in found:
        found.extend(each.__subclasses__())
    return found


def anchors(page: Path) -> set[str]:
    """The fragments by which the headings of a page are linked to."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@every_page
def test_generated_parts_are_as_they_are_generated_now(page: Path) -> None:
    assert with_generated_parts(text_of(page), GENERATED) == text_of(page)


def test_every_generated_part_is_in_one_page() -> None:
    pages = "".join(map(text_of, PAGES))
    for name in GENERATED:
        assert pages.count(f"<!-- begin generated: {name} -->") == 1
        assert pages.count(f"<!-- end generated: {name} -->") == 1


def test_the_catalogue_prints_all_collections_and_all_sensitive_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    catalogue.main([])
    printed = capsys.readouterr().out
    for table, each in COLLECTIONS.items():
        assert f"| {each.name} |" in printed
        for column in each.columns:
            assert (f"`{table}.{column.name}`" in printed) == column.sensitive


def test_the_catalogue_rewrites_the_pages_of_a_folder(tmp_path: Path) -> None:
    page = tmp_path / "collections.md"
    outdated = re.sub(r"^\| clockings .*\n", "", text_of(DOCS / page.name), flags=re.MULTILINE)
    page.write_text(outdated, encoding="utf-8")
    catalogue.main([str(tmp_path)])
    assert text_of(page) == text_of(DOCS / page.name) != outdated


def test_the_table_of_settings_has_all_settings_with_their_defaults() -> None:
    rows = table_rows(text_of(DOCS / "settings.md").split("\n## ")[0])
    documented = {names_in(name)[0]: default for name, default, _ in rows}
    assert documented.keys() == {each.name for each in fields(Settings)}
    for each in fields(Settings):
        match each.default:
            case str() | bool() | float():
                assert documented[each.name] == f"`{each.default}`".replace("False", "false")
            case (name,):
                assert documented[each.name] == f"`{name}`"
            case ():
                assert documented[each.name] == "none"
            case None:
                assert "`" not in documented[each.name]
            case _:
                is_required = each.default_factory is MISSING
                assert documented[each.name] == ("required" if is_required else "none")


def test_the_sync_columns_are_those_of_every_table() -> None:
    rows = table_rows(section(DOCS / "data-model.md", "## Sync columns"))
    assert {names_in(name)[0]: kind for name, kind, _ in rows} == {
        name: f"{column['data_type']}{'' if column['nullable'] else ', not null'}"
        for name, column in SYNC_COLUMNS.items()
    }


def test_the_columns_of_the_receipts_are_those_of_the_table() -> None:
    rows = table_rows(section(DOCS / "data-model.md", "## Receipts"))
    documented = {names_in(name)[0]: kind for name, kind, _ in rows}
    assert documented == {name: kind for name, (kind, _) in receipts.COLUMNS.items()}


def test_the_exit_codes_are_those_of_the_errors() -> None:
    codes = {each.exit_code for each in error_classes()}
    codes |= {0, STOPPED + signal.SIGINT, STOPPED + signal.SIGTERM}
    table = table_rows(section(DOCS / "running.md", "## Exit codes"))
    assert {int(code) for code, _ in table} == codes


def test_the_packages_of_the_architecture_are_all_packages() -> None:
    rows = table_rows(section(DOCS / "architecture.md", "## The packages"))
    package = Path(protime_source.__file__).parent
    folders = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").is_file()}
    named = {names_in(cells[0])[0] for cells in rows}
    assert {name for name in named if name.endswith("/")} == folders
    assert all((package / name).exists() for name in named)


def test_the_readme_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", text_of(README)))
    assert linked == {f"docs/{page.name}" for page in DOCS.glob("*.md")}


@every_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        assert not fragment or fragment in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for command in re.findall(r"uv run (\S+\.py)", text_of(page)):
        assert (ROOT / command).is_file(), command
    for path in re.findall(r"`((?:\.dlt|tests|pipelines|protime_source)/[\w./]*)`", text_of(page)):
        if path not in (".dlt/", ".dlt/secrets.toml", ".dlt/config.toml"):
            assert (ROOT / path).exists(), path


def test_every_promise_names_a_test_file() -> None:
    rows = table_rows(section(DOCS / "guarantees.md", "## Promises").split("\n\nValues", 1)[0])
    assert len(rows) > 20
    assert all("`tests/" in tested for _, _, tested in rows)


def test_every_open_question_names_a_switch_of_the_demo_tenant() -> None:
    rows = table_rows(section(DOCS / "guarantees.md", "## Where the documentation is silent"))
    assert len(rows) == 18
    switches = {each.name for each in fields(Behaviour)}
    for _, _, shown_by in rows:
        named = {name for name in names_in(shown_by) if "/" not in name}
        assert named, shown_by
        assert named <= switches, shown_by


def test_the_readme_installs_from_a_clone_until_there_is_a_release() -> None:
    is_released = "unreleased" not in text_of(ROOT / "CHANGELOG.md")
    notice = f"Until {__version__} is released"
    assert (notice in text_of(README)) != is_released
    assert is_released or f"dlt_source_protime-{__version__}-py3-none-any.whl" in text_of(README)


def test_the_changelog_begins_with_this_version() -> None:
    first = re.findall(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)[0]
    assert first == __version__
