"""`gridsecure cost`: the formula by hand, and that nothing is assumed of anybody's figures."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridsecure.cli import cost_model
from gridsecure.cli.main import app
from gridsecure.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "security-cost.md"
ZEROS = "\n".join(f"{name} = 0" for name in cost_model.names_of(cost_model.Way))
SMALL = f"""
[scope]
points = 1000
releases = 10
years = 2

[this-system]
one_off_yuan = 2400
fixed_yuan_a_month = 50.5
core_ms_a_point = 3600
core_hour_yuan = 0.5
kb_a_point = 2000
gb_yuan = 0.25
person_hours_a_release = 0.5
person_hour_yuan = 100
incidents_a_year = 0.12
incident_yuan = 1000

[review]
{ZEROS.replace("a_release = 0", "a_release = 2").replace("hour_yuan = 0", "hour_yuan = 100")}
"""


def test_the_formula_is_the_one_that_is_written() -> None:
    found = cost_model.compare(cost_model.read_inputs(SMALL))
    assert found["ways"]["this-system"] == {
        "one-off": "100.00",  # 2400 / 24
        "fixed": "50.50",
        "computing": "0.50",  # 1000 · 3600 ms is an hour of a core
        "storing": "0.50",  # 1000 · 2000 kB is 2 GB
        "people": "500.00",  # 10 · 0.5 · 100
        "incidents": "10.00",  # 0.01 · 1000
        "total": "661.50",
    }
    assert found["ways"]["review"]["total"] == "2000.00"
    assert found["against"] == {
        "review": {
            "difference_yuan": "-1338.50",
            "difference_percent": "-66.93",
            "equal_at_releases": "1.08",  # 161.5 / (200 - 50)
        }
    }
    assert found["measured"] == {}


def test_what_is_dearer_is_said_as_well() -> None:
    dear = SMALL.replace("fixed_yuan_a_month = 50.5", "fixed_yuan_a_month = 5000")
    found = cost_model.compare(cost_model.read_inputs(dear))["against"]["review"]
    assert found["difference_yuan"] == "3611.00"
    same = dear.replace("person_hours_a_release = 2", "person_hours_a_release = 0.5")
    found = cost_model.compare(cost_model.read_inputs(same))["against"]["review"]
    assert found["equal_at_releases"] is None


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("points = 1000\n", "", "cost.field"),
        ("points = 1000\n", 'points = "?"\n', "cost.field"),
        ("points = 1000\n", "points = -1\n", "cost.field"),
        ("points = 1000\n", "points = nan\n", "cost.field"),
        ("points = 1000\n", "points = true\n", "cost.field"),
        ("points = 1000\n", "points = 1e-400\n", "cost.field"),
        ("points = 1000\n", "points = 1000\nmetres = 3\n", "cost.field"),
        ("years = 2", "years = 0", "cost.field"),
        ("core_hour_yuan = 0.5\n", "", "cost.field"),
        ("[review]", '["\\u001b[2J"]', "cost.ways"),
        ("[this-system]", "[another]", "cost.ways"),
        ("[scope]", "[[scope]]", "cost.field"),
        ("[scope]", "[scope", "cost.file"),
    ],
)
def test_a_figure_that_is_missing_or_none_is_refused(old: str, new: str, reason: str) -> None:
    assert old in SMALL
    with pytest.raises(InputError) as refused:
        cost_model.read_inputs(SMALL.replace(old, new, 1))
    assert refused.value.reason == reason


def test_the_largest_and_smallest_figures_are_computed_with() -> None:
    for number in ("1e12", "0.000000001"):
        text = re.sub(r"= [0-9.]+", f"= {number}", SMALL)
        assert cost_model.compare(cost_model.read_inputs(text))["ways"]["review"]["total"]


def test_the_form_has_every_field_and_no_figure(tmp_path: Path) -> None:
    form = tmp_path / "own.toml"
    printed = CliRunner().invoke(app, ["cost", "form"])
    form.write_text(printed.stdout)
    refused = CliRunner().invoke(app, ["cost", "compare", str(form)])
    assert (refused.exit_code, "cost.field scope.points" in refused.stderr) == (1, True)
    form.write_text(printed.stdout.replace('"?"', "1"))
    told = CliRunner().invoke(app, ["cost", "compare", str(form), "--format", "json"])
    assert json.loads(told.stdout)["measured"] == {
        name: str(number) for name, number in cost_model.MEASURED.items()
    }


def test_the_example_of_the_page_gives_the_table_of_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    found = cost_model.compare(cost_model.read_inputs(text))
    rows = re.findall(r"^\| ([a-z-]+) [^ a-z|]+ \|(.*)\|(.*)\|$", page, re.MULTILINE)
    assert len(rows) == 7
    for line, *figures in rows:
        told = [figure.strip().replace(",", "") for figure in figures]
        assert told == [way[line] for way in found["ways"].values()], line
    for one in found["against"].values():
        for figure in (one["difference_yuan"], one["equal_at_releases"]):
            assert figure in page.replace(",", "")
