"""What takes numbers off a page notices one that no release holds."""

from __future__ import annotations

import pytest

from tests.analyst.zone_services import certificate
from tests.browser.shown_numbers import find_strange, numbers_of

RELEASED = [certificate(), certificate(plan="load-curve")]


def test_numbers_are_taken_with_their_units_and_dates_are_none() -> None:
    text = "2026-07 · 49.22 万 · 492.22 k, -3.2 %, 2026-07-01 08:30 +08:00, 12 of ab12cd34ef56ab12"
    assert [one.text for one in numbers_of(text)] == ["49.22 万", "492.22 k", "-3.2 %", "12"]
    named = "2026 年 6 月 · June 2026 · CSV, UTF-8 或 GB 18030 · 2026 kWh"
    assert [one.text for one in numbers_of(named)] == ["2026"]
    assert [int(one.value) for one in numbers_of("49.22 万 0.71 GWh")] == [492_200, 710_000]


@pytest.mark.parametrize(
    ("text", "strange"),
    [
        ("492,222.13 yuan, 710,000 kWh of 2,185 at 0.6933", []),
        ("福田 322,222.12 · 49.22 万", []),
        ("492,222.14", ["492,222.14"]),
        ("49.23 万", ["49.23 万"]),
        ("1,234", ["1,234"]),
        ("98.7 %", ["98.7 %"]),
    ],
)
def test_a_number_that_no_release_holds_is_strange(text, strange) -> None:
    assert find_strange(text, RELEASED) == strange


def test_what_a_page_may_show_besides_is_named() -> None:
    assert find_strange("4,096 meter points", RELEASED) == ["4,096"]
    assert find_strange("4,096 meter points", RELEASED, allowed=[4096]) == []
