"""The parts of a page of the docs that are generated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

Generated = Mapping[str, Callable[[], str]]
"""What generates each part, by the name in the comments that enclose it in a page."""


def with_generated_parts(page: str, generated: Generated) -> str:
    """Returns a page with each generated part as it is generated now."""
    for name, generate in generated.items():
        begin, end = f"<!-- begin generated: {name} -->\n", f"<!-- end generated: {name} -->"
        before, found, rest = page.partition(begin)
        if found:
            page = f"{before}{begin}\n{generate()}\n{end}{rest.partition(end)[2]}"
    return page


def rewrite_pages(folder: Path, generated: Generated) -> None:
    """Rewrites the generated parts in the pages of a folder."""
    for path in sorted(folder.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        path.write_text(with_generated_parts(page, generated), encoding="utf-8")
