"""Charts of answers: what is drawn, in which units and times."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

from gridsecure.analyst.answer_charts import CHART_KINDS, draw_answer, plot_answer
from gridsecure.cli.query import CHART_ENDINGS
from gridsecure.errors import InputError
from gridsecure.queries.answers import answer_question
from gridsecure.queries.language import Question
from tests.queries.plain_grid import plain_grid, total_up
from tests.queries.questions import question

GRID = plain_grid([f"2026-07-0{day}" for day in range(1, 4)])


def answered(withheld: Any = None, **fields: Any) -> tuple[Question, pd.DataFrame]:
    asked = question(**fields)
    legs = [total_up(leg, GRID, withheld=withheld) for leg in asked.legs]
    return asked, answer_question(asked, legs)


def parts_of(asked: Question, frame: pd.DataFrame) -> list[dict[str, Any]]:
    return list(plot_answer(asked, frame).to_dict()["vconcat"])


def test_steps_are_lines_in_local_time_that_break_where_a_number_is_withheld() -> None:
    day = "2026-07-02T00:00:00+08:00"
    asked, frame = answered({("futian",): day}, every="day", group_by=["zone"])
    chart = plot_answer(asked, frame).to_dict()
    (part,) = chart["vconcat"]
    (line,) = part["layer"]
    part["encoding"] = line["encoding"]
    assert part["encoding"]["x"]["title"] == "start of the step, local time (Asia/Shanghai)"
    assert part["encoding"]["x"]["type"] == "ordinal", "no browser shifts it to its own zone"
    assert part["encoding"]["y"]["title"] == "energy [kWh]"
    assert chart["title"] == {
        "text": "Energy by zone, 2026-07", "subtitle": ["1 of 6 numbers are not told"],
    }  # fmt: skip
    (rows,) = chart["datasets"].values()
    futian = [row["value"] for row in rows if row["series"] == "futian"]
    told = [float(value) for value in frame[frame["zone"] == "futian"]["value"] if value]
    assert futian == [told[0], None, told[1], told[1]], "the last step has a width"


def test_numbers_of_one_step_are_bars_by_unit() -> None:
    asked, frame = answered(every="hour", statistic={"name": "load_factor"})
    power, ratio = parts_of(asked, frame)
    assert power["layer"][0]["encoding"]["x"]["title"] == "value [kW]"
    assert ratio["layer"][0]["encoding"]["x"]["title"] == "value"


def test_numbers_with_noise_have_a_range() -> None:
    asked, frame = answered(group_by=["zone"])
    noisy = frame.assign(uncertainty=[Decimal("1.5"), None])
    chart = plot_answer(asked, noisy).to_dict()
    (rows,) = chart["datasets"].values()
    value = float(frame["value"][0])
    assert [(row["low"], row["high"]) for row in rows] == [
        (value - 1.5, value + 1.5), (None, None),
    ]  # fmt: skip
    marks = [layer["mark"]["type"] for layer in chart["vconcat"][0]["layer"]]
    assert marks == ["bar", "text", "text", "rule"]
    assert "95 of 100" in chart["title"]["subtitle"][0]


def test_of_many_groups_those_are_drawn_that_can_be_told_apart() -> None:
    asked, frame = answered(group_by=["zone"])
    many = pd.concat(
        [frame.iloc[[0]].assign(zone=f"z{at}", value=Decimal(at)) for at in range(100)],
        ignore_index=True,
    )
    chart = plot_answer(asked, many).to_dict()
    (rows,) = chart["datasets"].values()
    assert {row["value"] for row in rows} == set(range(40, 100))
    assert "40 smaller ones are not drawn" in chart["title"]["subtitle"][0]


def test_only_known_forms_are_written_and_only_letters_that_can_be() -> None:
    assert tuple(CHART_KINDS) == CHART_ENDINGS
    asked, frame = answered(group_by=["zone"])
    with pytest.raises(InputError) as refused:
        draw_answer(asked, frame, ending=".gif")
    assert refused.value.reason == "query.chart-kind"
    # Of private use: no font has it.
    frame["zone"] = frame["zone"].replace("futian", "\ue124")
    with pytest.raises(InputError) as refused:
        draw_answer(asked, frame, ending=".png")
    assert refused.value.reason == "query.chart-font"
    frame["state"], frame["value"] = "withheld", None
    with pytest.raises(InputError) as refused:
        plot_answer(asked, frame)
    assert refused.value.reason == "query.nothing-told"
