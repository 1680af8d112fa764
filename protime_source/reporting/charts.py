"""The charts of the pictures, in colours that colour-blind people tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import altair as alt

from protime_source.reporting.pictures import NOTICES, OTHERS, UNKNOWN, WEEKDAYS, Picture
from protime_source.reporting.reading import Row

Drawn = alt.LayerChart | alt.FacetChart

WIDTH = 720
"""Of the plot, in pixels."""

_HEIGHT = 250
_MOST_LABELS = 14
"""Of weeks, which then also have their sums above them."""
_SUBTITLE_CHARACTERS = 118
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_INK, _FAINT = "#333333", "#8a8a8a"
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
"""Okabe and Ito's."""
_GREYS = {OTHERS: "#BBBBBB", UNKNOWN: "#DDDDDD"}

_LABELS = alt.Axis(title=None, domain=False, ticks=False)
_HOURS = alt.Axis(title="hours", format=",.0f", tickCount=5, domain=False, ticks=False)


def chart_of(picture: Picture, *, titled: bool = True) -> Drawn | None:
    """Returns the chart of a picture; None when it has nothing to show.

    Args:
        picture: The picture.
        titled: Whether its title and subtitle are part of it.
    """
    if not picture.rows:
        return None
    draw = _CHARTS[picture.name]
    chart = draw(picture).properties(width=WIDTH)
    return chart.properties(title=title_of(picture)) if titled else chart


def title_of(picture: Picture) -> alt.TitleParams:
    """Returns the title and subtitle of a picture, in lines that fit above it."""
    lines = textwrap.wrap(picture.subtitle, _SUBTITLE_CHARACTERS)
    return alt.TitleParams(picture.title, subtitle=lines)


def config() -> alt.Config:
    """Returns what all charts have in common."""
    return alt.Config(
        background="white",
        font=_FONT,
        view=alt.ViewConfig(stroke=None),
        title=alt.TitleConfig(
            anchor="start",
            color=_INK,
            fontSize=16,
            frame="group",
            offset=14,
            subtitleColor="#666666",
            subtitleFontSize=12,
            subtitlePadding=5,
        ),
        axis=alt.AxisConfig(
            gridColor="#e6e6e6",
            labelColor=_INK,
            labelFontSize=12,
            titleColor=_FAINT,
            titleFontSize=12,
            titleFontWeight="normal",
        ),
        legend=alt.LegendConfig(
            labelColor=_INK, labelFontSize=12, orient="top", title=None, symbolType="square"
        ),
    )


def _weeks(picture: Picture) -> Drawn:
    """Bars of hours by week, with their sums above; what is to come is paler."""
    monday = picture.today - timedelta(days=picture.today.weekday())
    weeks = sorted({row["week"] for row in picture.rows})
    groups = [*dict.fromkeys(row["group"] for row in sorted(picture.rows, key=_place))]
    data = _data(
        {**row, "label": _week(row["week"]), "is_to_come": row["week"] > monday}
        for row in picture.rows
    )
    order = [_week(week) for week in weeks]
    step = -(-len(weeks) // _MOST_LABELS)
    axis = alt.Axis(
        title=None,
        domain=False,
        ticks=False,
        labelAngle=0,
        labelExpr="slice(split(datum.label, '|'), 1)",
        values=order[::step],
    )
    base = alt.Chart(data).encode(
        x=alt.X("label:N", sort=order, axis=axis, scale=alt.Scale(paddingInner=0.2))
    )
    bars = base.mark_bar().encode(
        y=alt.Y("sum(hours):Q", axis=_HOURS),
        color=alt.Color("group:N", scale=_scale(groups), sort=groups, title=None),
        order=alt.Order("place:Q", sort="ascending"),
        opacity=alt.Opacity(
            "is_to_come:N", scale=alt.Scale(domain=[False, True], range=[1, 0.55]), legend=None
        ),
        tooltip=[
            alt.Tooltip("week:N", title="week of"),
            alt.Tooltip("group:N", title=picture.name.rpartition(" ")[2]),
            alt.Tooltip("sum(hours):Q", title="hours", format=",.1f"),
        ],
    )
    sums = base.mark_text(dy=-7, color=_INK, fontSize=11).encode(
        y=alt.Y("sum(hours):Q"), text=alt.Text("sum(hours):Q", format=",.0f")
    )
    # Without it, the grid would be seen through the paler bars.
    behind = base.mark_bar(color="white").encode(y=alt.Y("sum(hours):Q"))
    return _layers(behind, bars, *([sums] if step == 1 else []), height=_HEIGHT)


def _coverage(picture: Picture) -> Drawn:
    """A heat map: half hours by weekday."""
    hours = [f"{hour:02}:00" for hour in range(0, 24, 2)]
    base = alt.Chart(_data(picture.rows)).encode(
        x=alt.X(
            "time:O",
            axis=alt.Axis(
                title=None, values=hours, labelAngle=0, domain=False, tickBand="extent", grid=False
            ),
        ),
        y=alt.Y("weekday:O", sort=[*WEEKDAYS], axis=_LABELS),
    )
    cells = base.mark_rect(stroke="white", strokeWidth=0.5).encode(
        color=alt.Color(
            "people:Q",
            scale=alt.Scale(scheme="viridis", reverse=True, domainMin=0),
            legend=alt.Legend(
                title="people planned",
                titleColor=_FAINT,
                titleFontWeight="normal",
                format=",.0f",
                gradientLength=220,
                tickCount=5,
            ),
        ),
        tooltip=[
            alt.Tooltip("weekday:N"),
            alt.Tooltip("time:N", title="half hour from"),
            alt.Tooltip("people:Q", format=",.1f"),
        ],
    )
    weekdays = {row["weekday"] for row in picture.rows}
    return _layers(cells, height=len(weekdays) * 28)


def _clocked(picture: Picture) -> Drawn:
    """Planned as broad bars, clocked as narrow ones in front of them."""
    time = "week" if "week" in picture.rows[0] else "day"
    data = _data({**row, "date": f"{row[time]:%a} {row[time]}"} for row in picture.rows)
    days = sorted({row[time] for row in picture.rows})
    mondays = [str(day) for day in days if day.weekday() == 0] or [str(days[0])]
    bars_wide = (days[-1] - days[0]).days / (7 if time == "week" else 1) + 2
    width = WIDTH / bars_wide
    colours = {"planned": "#A9CFE6", "clocked": _COLOURS[0]}
    base = alt.Chart(data).encode(
        x=alt.X(
            f"{time}:T",
            scale=alt.Scale(type="utc", padding=width),
            axis=alt.Axis(
                title=None,
                values=mondays[:: -(-len(mondays) // _MOST_LABELS)],
                format="%a %-d %b",
                grid=False,
                domain=False,
            ),
        ),
        y=alt.Y("hours:Q", axis=_HOURS, stack=None),
        color=alt.Color(
            "kind:N", scale=alt.Scale(domain=[*colours], range=[*colours.values()]), title=None
        ),
        tooltip=[
            alt.Tooltip("date:N", title=time),
            alt.Tooltip("kind:N"),
            alt.Tooltip("hours:Q", format=",.1f"),
        ],
    )
    bars = (
        base.transform_filter(f"datum.kind === '{kind}'").mark_bar(size=max(width * share, 1))
        for kind, share in (("planned", 0.8), ("clocked", 0.4))
    )
    return _layers(*bars, height=_HEIGHT)


def _notice(picture: Picture) -> Drawn:
    """Bars of changes by lead time, with their sums behind."""
    kinds = {"added": _COLOURS[0], "moved": _COLOURS[1], "cancelled": _COLOURS[3]}
    scale = alt.Scale(domain=[*kinds], range=[*kinds.values()])
    return _counts(picture.rows, "notice", [*NOTICES], "changes", "change", scale)


def _deleted(picture: Picture) -> Drawn:
    """Bars of deleted rows by table, with their sums behind."""
    reasons = {"announced": _COLOURS[0], "vanished": _COLOURS[1]}
    scale = alt.Scale(domain=[*reasons], range=[*reasons.values()])
    tables = sorted({row["table_name"] for row in picture.rows})
    return _counts(picture.rows, "table_name", tables, "deleted_rows", "reason", scale)


def _counts(
    rows: Sequence[Row], line: str, lines: list[str], count: str, kind: str, scale: alt.Scale
) -> Drawn:
    data = _data({**row, "place": scale.to_dict()["domain"].index(row[kind])} for row in rows)
    base = alt.Chart(data).encode(
        y=alt.Y(
            f"{line}:N", sort=lines, axis=_LABELS, scale=alt.Scale(domain=lines, paddingInner=0.3)
        )
    )
    axis = alt.Axis(
        title=count.replace("deleted_rows", "rows"),
        format=",.0f",
        tickMinStep=1,
        tickCount=6,
        domain=False,
    )
    bars = base.mark_bar().encode(
        x=alt.X(f"sum({count}):Q", axis=axis),
        color=alt.Color(f"{kind}:N", scale=scale, title=None),
        order=alt.Order("place:Q"),
        tooltip=[
            alt.Tooltip(f"{line}:N", title=line.removesuffix("_name")),
            alt.Tooltip(f"{kind}:N"),
            alt.Tooltip(f"sum({count}):Q", title=count.replace("_", " "), format=","),
        ],
    )
    sums = base.mark_text(align="left", dx=5, color=_INK, fontSize=12).encode(
        x=alt.X(f"sum({count}):Q"), text=alt.Text(f"sum({count}):Q", format=",")
    )
    return _layers(bars, sums, height=max(len(lines), 2) * 30)


def _layers(*charts: alt.Chart, height: int) -> Drawn:
    return alt.layer(*charts).properties(height=height)


def _scale(groups: Sequence[str]) -> alt.Scale:
    named = iter(_COLOURS)
    return alt.Scale(domain=[*groups], range=[_GREYS.get(group) or next(named) for group in groups])


def _data(rows: Any) -> alt.InlineData:
    return alt.InlineData(
        values=[
            {name: str(v) if isinstance(v, date) else v for name, v in row.items()} for row in rows
        ]
    )


def _place(row: Row) -> int:
    place: int = row["place"]
    return place


def _week(monday: date) -> str:
    """A week as no other one, its number, and its Monday: the last two are lines of an axis."""
    return f"{monday}|wk {monday.isocalendar().week}|{monday.day} {monday:%b}"


_CHARTS: dict[str, Callable[[Picture], Drawn]] = {
    "hours by activity": _weeks,
    "hours by department": _weeks,
    "coverage": _coverage,
    "planned and clocked": _clocked,
    "short notice": _notice,
    "deleted": _deleted,
}
