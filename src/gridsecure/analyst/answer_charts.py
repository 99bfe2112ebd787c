"""Charts of answers. Drawing needs binary numbers: they are made here and nowhere else.

Nothing is loaded from anywhere: a page holds what draws it, and its policy forbids connections.
Times are drawn as written, in the supply area's local time: a time axis would be shifted to the
reader's own zone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import altair as alt
import pandas as pd
import vl_convert

from gridsecure.errors import InputError
from gridsecure.queries.answers import UNCERTAINTY
from gridsecure.queries.language import Question
from gridsecure.queries.lines import TOLD

_POLICY: Final = (
    '<head>\n  <meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'none'; base-uri 'none'\">"
)
_WIDTH: Final = 720
_HEIGHT: Final = 300
_BAR: Final = 26
_MOST_TICKS: Final = 12
_MOST_BARS: Final = 60
_SPACE: Final = 0.12
_COLUMNS: Final = ["series", "start", "value", "low", "high", "unit"]
_MOST_LINES: Final = 20
_SHORT: Final = ",.6~g"
"""How numbers beside bars are written; tables have all digits."""
_SCALE: Final = 2
"""Dots of a PNG for each of the chart's."""
_CHINESE: Final = "\u2e80"
"""The first letter of those that few fonts have."""
_NO_LETTER: Final = "\ue123"
_LETTER: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">'
    '<text x="4" y="30" font-size="24" font-family="sans-serif">{}</text></svg>'
)


def plot_answer(question: Question, answer: pd.DataFrame) -> alt.VConcatChart:
    """A chart for each unit: lines of what has several steps, bars of what has one.

    Args:
        question: What was asked; the title says it.
        answer: As `queries.answers.answer_question` gives it.

    Raises:
        InputError: No number of it is told (`query.nothing-told`).
    """
    if not answer["state"].eq(TOLD).any():
        raise InputError(
            "No number of the answer is told, so there is nothing to draw.",
            reason="query.nothing-told",
            remedy="Ask about larger groups, or longer steps.",
        )
    drawn = _drawn(question, answer)
    steps = drawn.groupby("quantity")["start"].transform("nunique") > 1
    parts, left_out = [], 0
    for (unit, is_line), part in drawn.groupby(["unit", steps], sort=False):
        if part["value"].isna().all():
            continue
        # A line breaks where a number is withheld; a bar that is none is left out.
        kept = _largest(part, most=_MOST_LINES if is_line else _MOST_BARS)
        left_out += part["series"].nunique() - kept["series"].nunique()
        told = kept[kept["value"].notna()]
        parts.append(_lines(question, kept, str(unit)) if is_line else _bars(told, str(unit)))
    chart: alt.VConcatChart = (
        alt.vconcat(*parts)
        .resolve_scale(color="independent")
        .properties(title=alt.TitleParams(_title(question), subtitle=_missing(answer, left_out)))
        .configure_axis(titleFontWeight="normal", labelLimit=320)
        .configure_title(anchor="start")
        .configure_view(stroke=None)
    )
    return chart


def _drawn(question: Question, answer: pd.DataFrame) -> pd.DataFrame:
    """What is drawn of each row: its series, and the number in binary."""
    groups = answer[list(question.group_by)].astype(str).agg(" · ".join, axis=1)
    drawn = pd.DataFrame(
        {
            "group": groups if question.group_by else "all",
            "start": answer["start"],
            "end": answer["end"],
            "quantity": answer["quantity"],
            "value": pd.Series(
                [None if value is None else float(value) for value in answer["value"]],
                index=answer.index,
                dtype="float64",
            ),
            "unit": answer["unit"],
        }
    )
    near = answer[UNCERTAINTY] if UNCERTAINTY in answer.columns else [None] * len(answer)
    within = [None if one is None else float(one) for one in near]
    drawn["low"] = drawn["value"] - pd.Series(within, index=drawn.index, dtype="float64")
    drawn["high"] = 2 * drawn["value"] - drawn["low"]
    for name in ("group", "quantity", "unit"):
        # A name ends up inside a script of the page, which no tag may end.
        drawn[name] = drawn[name].str.replace("<", "‹")
    several = drawn.groupby("unit")["quantity"].transform("nunique") > 1
    named = [name for name in ("group", "quantity") if name == "group" or several.any()]
    drawn["series"] = drawn[named].agg(" · ".join, axis=1)
    if not question.group_by:
        drawn["series"] = drawn["quantity"]
    return drawn


def _title(question: Question) -> str:
    span = question.period.month or question.period.day
    by = f" by {' and '.join(question.group_by)}" if question.group_by else ""
    name = question.statistic.name.replace("_", " ")
    what = question.measure if name == "sum" else f"{question.measure}: {name}"
    return f"{what[0].upper()}{what[1:]}{by}, {span}".replace("<", "‹").replace("_", " ")


def _largest(part: pd.DataFrame, *, most: int) -> pd.DataFrame:
    """What has the largest numbers, if there is more than can be told apart."""
    sizes = part.assign(size=part["value"].abs()).groupby("series", sort=False)["size"].max()
    if len(sizes) <= most:
        return part
    return part[part["series"].isin(sizes.nlargest(most).index)]


def _missing(answer: pd.DataFrame, left_out: int) -> list[str] | str:
    missing = int(answer["state"].ne(TOLD).sum())
    said = [f"{missing} of {len(answer)} numbers are not told"] if missing else []
    if UNCERTAINTY in answer.columns:
        said.append("with noise: exact numbers lie within the range shown in 95 of 100 cases")
    if left_out:
        said.append(f"{left_out} smaller ones are not drawn: they are in tables and files")
    return said or ""


def _value_title(part: pd.DataFrame, unit: str) -> str:
    names = part["quantity"].unique()
    name = names[0] if len(names) == 1 else "value"
    return f"{name} [{unit}]" if unit else name


def _tips(*names: str) -> list[alt.Tooltip]:
    return [alt.Tooltip("value:Q", format=",.6~f"), *(alt.Tooltip(f"{n}:N") for n in names)]


def _lines(question: Question, part: pd.DataFrame, unit: str) -> alt.LayerChart:
    starts = list(dict.fromkeys(part["start"]))
    is_one = part["series"].nunique() == 1
    ticks, label, day = _ticks(starts)
    # Without a last point, the last step would have no width.
    ends = part.groupby("series", sort=False).tail(1).assign(start=lambda last: last["end"])
    legend = (
        None
        if is_one
        else alt.Legend(
            orient="bottom", columns=3, labelLimit=340, symbolType="stroke", symbolOpacity=1
        )
    )
    chart = alt.Chart(pd.concat([part, ends])[_COLUMNS]).encode(
        x=alt.X(
            "start:O",
            title=f"start of the step{day}, local time ({question.period.timezone})",
            sort=None,
            scale=alt.Scale(padding=0),
            axis=alt.Axis(values=ticks, labelExpr=label, labelAngle=0, labelOverlap=True),
        ),
        color=alt.Color("series:N", title=None, sort=None, legend=legend),
        tooltip=_tips("series", "start", "unit"),
    )
    value = alt.Y("value:Q", title=_value_title(part, unit), axis=alt.Axis(format=",~f"))
    lines = [chart.mark_line(interpolate="step-after", strokeWidth=1.5).encode(y=value)]
    if part["low"].notna().any():
        band = chart.mark_area(interpolate="step-after", opacity=0.2)
        lines.append(band.encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")))
    layers: alt.LayerChart = alt.LayerChart(layer=lines).properties(width=_WIDTH, height=_HEIGHT)
    return layers


def _ticks(starts: list[str]) -> tuple[list[str], str, str]:
    """Where labels stand, how they are written (as days, or hours of one day), and which day."""
    firsts = list({start[:10]: start for start in reversed(starts)}.values())[::-1]
    is_day = len(firsts) == 1
    found = starts if is_day else firsts
    step = -(-len(found) // _MOST_TICKS)
    label = f"slice(datum.value, {'11, 16' if is_day else '5, 10'})"
    return found[::step], label, f" on {starts[0][:10]}" if is_day else ""


def _bars(part: pd.DataFrame, unit: str) -> alt.LayerChart:
    ends = pd.concat([part["value"], part["low"], part["high"]])
    outer = part["high"].where(part["value"] >= 0, part["low"])
    drawn = part[_COLUMNS].assign(beside=outer.fillna(part["value"]))
    chart = alt.Chart(drawn).encode(
        x=alt.X(
            "value:Q",
            title=_value_title(part, unit),
            scale=alt.Scale(domain=_domain(ends), nice=False),
            axis=alt.Axis(format=",~f", tickCount=6),
        ),
        y=alt.Y("series:N", title=None, sort=None, axis=alt.Axis(grid=False)),
        tooltip=_tips("series", "start", "unit"),
    )
    text = alt.Text("value:Q", format=_SHORT)
    sides = (
        chart.transform_filter("datum.value >= 0").mark_text(align="left", dx=4),
        chart.transform_filter("datum.value < 0").mark_text(align="right", dx=-4),
    )
    shown = [chart.mark_bar(), *(side.encode(text=text, x="beside:Q") for side in sides)]
    if part["low"].notna().any():
        rule = chart.mark_rule(strokeWidth=3, color="black", opacity=0.6)
        shown.append(rule.encode(x=alt.X("low:Q"), x2=alt.X2("high:Q")))
    layers: alt.LayerChart = alt.LayerChart(layer=shown).properties(
        width=_WIDTH, height=_BAR * part["series"].nunique()
    )
    return layers


def _domain(values: pd.Series) -> list[float]:
    """From zero to the ends of bars, with space for the numbers beside them."""
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    space = _SPACE * (high - low) or 1.0
    return [low - space if low < 0 else 0.0, high + space if high > 0 or low == 0 else 0.0]


def chart_page(chart: alt.VConcatChart) -> bytes:
    """A chart as a page of HTML, with all that it needs inside."""
    # The menu's editor is a public page that the figures would be sent to.
    options = {"actions": {"export": True, "source": False, "compiled": False, "editor": False}}
    with alt.data_transformers.enable("default", max_rows=None):
        page: str = chart.to_html(inline=True, embed_options=options)
    return page.replace("<head>", _POLICY, 1).encode()


def chart_svg(chart: alt.VConcatChart) -> bytes:
    """A chart as a drawing, whose letters the reader's machine sets."""
    svg: str = vl_convert.vegalite_to_svg(_specify(chart))
    return svg.encode()


def chart_png(chart: alt.VConcatChart) -> bytes:
    """A chart as an image.

    Raises:
        InputError: This machine has no font for its letters (`query.chart-font`).
    """
    text = _specify(chart)
    empty = vl_convert.svg_to_png(_LETTER.format(_NO_LETTER))
    letters = sorted({letter for letter in text if letter >= _CHINESE})[:8]
    if any(vl_convert.svg_to_png(_LETTER.format(letter)) == empty for letter in letters):
        raise InputError(
            "This machine has no font for the letters of the answer.",
            reason="query.chart-font",
            remedy="Install one, as fonts-noto-cjk on Debian; or draw to a file .svg or .html.",
        )
    png: bytes = vl_convert.vegalite_to_png(text, scale=_SCALE)
    return png


def _specify(chart: alt.VConcatChart) -> str:
    with alt.data_transformers.enable("default", max_rows=None):
        text: str = chart.to_json(ensure_ascii=False)
    return text


CHART_KINDS: Final[dict[str, Callable[[alt.VConcatChart], bytes]]] = {
    ".html": chart_page,
    ".png": chart_png,
    ".svg": chart_svg,
}
"""What writes a chart, by the ending of a file's name."""


def draw_answer(question: Question, answer: pd.DataFrame, *, ending: str) -> bytes:
    """A chart as the content of a file.

    Args:
        ending: Of the file's name, as ".png".

    Raises:
        InputError: Charts have no such form (`query.chart-kind`), or as `plot_answer` and
            `chart_png`.
    """
    write = CHART_KINDS.get(ending.lower())
    if write is None:
        raise InputError(
            "A chart is not written in this form.",
            reason="query.chart-kind",
            remedy=f"Give a file that ends with {', '.join(CHART_KINDS)}.",
        )
    return write(plot_answer(question, answer))
