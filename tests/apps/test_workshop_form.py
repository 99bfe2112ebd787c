"""The workshop's form: what it is filled in with, and the file that it comes to."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from gridsecure.products.components import list_components
from gridsecure.products.designs import list_standard, read_design, standard_text
from gridsecure_dashboard.wording import ENGLISH

KEY = "product_vacancy-index_part_0"


ALONE = """
import streamlit as st
from gridsecure.errors import InputError
from gridsecure.products.designs import read_design, standard_text
from gridsecure_api import market_workshop
from gridsecure_dashboard.product_form import by_sort, compose_file

cards = by_sort([one.card for one in market_workshop._components().cards])
try:
    st.code(compose_file(read_design(standard_text({name!r})), cards))
except InputError as error:
    st.error(error.reason)
"""
"""A page that is the form alone."""


def form(name: str) -> AppTest:
    app = AppTest.from_string(ALONE.format(name=name), default_timeout=30)
    app.session_state["language"] = ENGLISH
    app.run()
    assert not app.exception
    return app


def file_of(app: AppTest) -> str:
    return str(app.code[0].value)


@pytest.mark.parametrize("name", list_standard())
def test_a_form_left_as_it_was_comes_to_the_product_it_began_with(name) -> None:
    assert read_design(file_of(form(name))) == read_design(standard_text(name))


def test_a_product_is_composed_of_other_components_part_by_part() -> None:
    app = form("vacancy-index")
    app.text_input("product_vacancy-index_name").input("own-index")
    app.selectbox(f"{KEY}_energy_statistic").select("quantile").run()
    app.text_input(f"{KEY}_quantile_edges_kwh").input("[50, 100.5]")
    app.text_input(f"{KEY}_quantile_points").input('["0.5"]')
    app.multiselect(f"{KEY}_zone").set_value(["futian"])
    app.text_input(f"{KEY}_further").input('{"where": {"large": false}}').run()
    app.button("product_vacancy-index_part_1_remove").click().run()
    app.button("product_vacancy-index_part_add").click().run()
    part = "product_vacancy-index_part_2"
    for field, said in (("name", "peak"), ("title", "Peak energy"), ("title_zh", "峰段电量")):
        app.text_input(f"{part}_{field}").input(said)
    app.selectbox(f"{part}_measure").select("register").run()
    app.text_input(f"{part}_register_of").input("peak").run()
    design = read_design(file_of(app))
    assert design.name == "own-index"
    assert [one.name for one in design.parts] == ["vacant", "peak"]
    assert design.parts[0].question == {
        "measure": "energy",
        "where": {"zone": ["futian"], "customer_class": ["household"], "large": False},
        "statistic": {"name": "quantile", "edges_kwh": [50, "100.5"], "points": ["0.5"]},
    }
    assert design.parts[1].question == {"measure": "register:peak"}


def test_what_is_of_no_statistic_is_not_offered() -> None:
    app = form("vacancy-index")
    app.selectbox(f"{KEY}_measure").select("bill").run()
    offered = app.selectbox(f"{KEY}_bill_statistic").options
    assert 0 < len(offered) < len(list_components()["statistic"])
    assert not any("Quantile" in title or "ariance" in title for title in offered)
    assert len(app.selectbox(f"{KEY}_sum_every").options) > 0


def test_steps_are_computed_of_parts_and_of_steps_before_them() -> None:
    app = form("monthly-class-report")
    key = "product_monthly-class-report_step"
    app.button(f"{key}_add").click().run()
    for field, said in (("name", "twice"), ("title", "Twice"), ("title_zh", "两倍")):
        app.text_input(f"{key}_1_{field}").input(said)
    app.multiselect(f"{key}_1_of").set_value(["average-price", "mean"])
    app.text_input(f"{key}_1_unit").input("yuan").run()
    (_, step) = read_design(file_of(app)).steps
    assert (step.name, step.do, step.of) == ("twice", "sum", ["average-price", "mean"])


@pytest.mark.parametrize("text", ["[1]", "weekends", '{"where": 3}'])
def test_further_conditions_that_are_no_object_are_refused_by_name(text) -> None:
    app = form("vacancy-index")
    app.text_input(f"{KEY}_further").input(text).run()
    assert [one.value for one in app.error] == ["product.field"]
