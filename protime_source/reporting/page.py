"""The report as a page or an image: complete in one file, without scripts or addresses."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from html import escape
from typing import Any

import altair as alt
import dlt
import vl_convert

from protime_source.reporting.charts import WIDTH, Drawn, chart_of, config, title_of
from protime_source.reporting.pictures import Picture, all_pictures
from protime_source.reporting.reading import OF_PEOPLE, Selection, day_of, open_dataset

TITLE = "Protime: plan and work"

_IMAGE_COLUMNS = 2

_STYLE = """
body { margin: 0; background: #f3f4f6; color: #333;
  font: 15px/1.5 "Liberation Sans", Arial, Helvetica, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 8px 0 4px; }
h2 { font-size: 19px; line-height: 1.3; margin: 0 0 4px; }
p { margin: 0 0 8px; color: #5c5c5c; }
section { background: #fff; border-radius: 6px; margin: 20px 0 0; padding: 20px 24px; }
img { display: block; width: 100%; height: auto; margin: 12px 0 4px; }
summary { cursor: pointer; color: #0072b2; font-size: 13px; }
table { border-collapse: collapse; font-size: 13px; margin-top: 8px; }
th, td { text-align: left; padding: 2px 16px 2px 0; border-bottom: 1px solid #eee; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
@media print { body { background: #fff; } section { break-inside: avoid; padding: 12px 0; } }
"""


@dataclass(frozen=True)
class Report:
    """The pictures of a dataset, and what is said above them.

    Attributes:
        pictures: The pictures.
        lines: From which dataset, of which days, and how fresh.
    """

    pictures: tuple[Picture, ...]
    lines: tuple[str, ...]

    def html(self) -> str:
        """Returns one page, with the figures of each picture as a table."""
        return "".join(self._html())

    def png(self) -> bytes:
        """Returns one image of all pictures."""
        charts = [chart_of(each) or _without_chart(each) for each in self.pictures]
        title = alt.TitleParams(TITLE, subtitle=[*self.lines], fontSize=24, offset=24)
        page = alt.concat(*charts, columns=_IMAGE_COLUMNS, align="each", spacing=50)
        page = page.resolve_scale(color="independent").properties(title=title, padding=28)
        return vl_convert.vegalite_to_png(_spec(page), allowed_base_urls=[])

    def _html(self) -> Iterator[str]:
        yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        yield f"<title>{TITLE}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        yield f"<h1>{TITLE}</h1>\n"
        yield from (f"<p>{escape(line)}</p>\n" for line in self.lines)
        for each in self.pictures:
            yield f"<section>\n<h2>{escape(each.title)}</h2>\n<p>{escape(each.subtitle)}</p>\n"
            chart = chart_of(each, titled=False)
            if chart is not None:
                svg = vl_convert.vegalite_to_svg(_spec(chart), allowed_base_urls=[])
                data = b64encode(svg.encode()).decode()
                text = escape(each.title, quote=True)
                yield f'<img alt="{text}" src="data:image/svg+xml;base64,{data}">\n'
                yield from _figures(each)
            yield "</section>\n"
        yield "</main>\n</body>\n</html>\n"


def report(pipeline: dlt.Pipeline, now: datetime | None = None) -> Report:
    """Draws a dataset around today; changes and creates nothing there.

    Args:
        pipeline: The pipeline that the warehouse is loaded with.
        now: The present moment (UTC), for tests.

    Raises:
        WarehouseError: When there is no dataset, or its destination is not supported or installed.
        DestinationException: When the destination refuses; `explain` says why.
    """
    now = now or datetime.now(UTC)
    today = day_of(now)
    selection = Selection.around(today)
    with open_dataset(pipeline) as dataset:
        pictures = all_pictures(dataset, selection, today)
        return Report(
            pictures=tuple(pictures),
            lines=(
                f"{_day(selection.first_day)} to {_day(selection.last_day)}, from the dataset"
                f" {dataset.name} ({dataset.engine}). Made on {_minute(now)} UTC.",
                _freshness(dataset.last_success),
            ),
        )


def _freshness(last_success: dict[str, datetime]) -> str:
    tables: dict[str, list[str]] = {}
    for name in OF_PEOPLE:
        if name in last_success:
            tables.setdefault(_minute(last_success[name].astimezone(UTC)), []).append(name)
    if not tables:
        return "No run has succeeded yet: the figures may be incomplete."
    each = (f"{', '.join(names)} on {moment} UTC" for moment, names in tables.items())
    return f"Last loaded: {'; '.join(each)}."


def _figures(picture: Picture) -> Iterator[str]:
    """The rows behind a picture, for those who need the figures or cannot see it."""
    names = [name for name in picture.rows[0] if name != "place"]
    yield "<details>\n<summary>Figures</summary>\n<table>\n<tr>"
    for name in names:
        head = picture.name.rpartition(" ")[2] if name == "group" else name.replace("_", " ")
        yield f"<th{_alignment(picture.rows[0][name])}>{escape(head)}</th>"
    yield "</tr>\n"
    for row in picture.rows:
        cells = (f"<td{_alignment(row[name])}>{escape(_cell(row[name]))}</td>" for name in names)
        yield f"<tr>{''.join(cells)}</tr>\n"
    yield "</table>\n</details>\n"


def _alignment(value: Any) -> str:
    return ' class="number"' if isinstance(value, int | float) else ""


def _cell(value: Any) -> str:
    return f"{value:,.1f}" if isinstance(value, float) else str(value)


def _without_chart(picture: Picture) -> Drawn:
    empty = alt.Chart(alt.InlineData(values=[{}])).mark_point(opacity=0)
    return alt.layer(empty).properties(title=title_of(picture), width=WIDTH, height=40)


def _spec(chart: alt.TopLevelMixin) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict()
    return {**spec, "config": config().to_dict()}


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _minute(moment: datetime) -> str:
    return f"{_day(moment.date())} {moment:%H:%M}"
