"""What a statement says: golden texts, the right arithmetic, and what is refused."""

from __future__ import annotations

import re
from copy import deepcopy
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.errors import InputError
from gridsecure.statements.figures import (
    exact_money_text,
    figure_text,
    half_up,
    is_decimal_text,
    money_text,
    net_of,
)
from gridsecure.statements.wording import PHRASES, Language, Wording
from tests.statements.samples import (
    GOLDEN,
    SAMPLES,
    every_text,
    first_period,
    line,
    period,
    statement,
)
from tests.statements.write_golden import golden_text

EQUATION = re.compile(
    r"^(?P<quantity>\S+) kWh × \(?(?P<rate>[^ )]+)\)? CNY/kWh = (?:CNY )?(?P<exact>\S+)"
    r"(?: → CNY (?P<amount>\S+) \(half-up to the fen\))?$"
)


def number(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace("−", "-"))


def nearest_fen(exact: Fraction) -> Fraction:
    """Half away from zero, written otherwise than in the product."""
    fen = exact * 100
    down = fen.numerator // fen.denominator
    if fen - down == Fraction(1, 2):
        return Fraction(down + 1 if fen > 0 else down, 100)
    return Fraction(round(fen), 100)


@pytest.mark.parametrize("language", Language)
@pytest.mark.parametrize("sample", SAMPLES)
def test_statement_reads_as_it_was_read_by_a_person(sample: str, language: Language) -> None:
    written = (GOLDEN / f"{sample}.{language}.txt").read_text(encoding="utf-8")
    assert golden_text(sample, language) == written


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**7), max_value=10**7)


@given(
    quantity=st.decimals(0, 10**8, places=3),
    rate=st.decimals(-100, 100, places=8),
)
def test_the_shown_product_is_the_exact_amount(quantity: Decimal, rate: Decimal) -> None:
    exact = Fraction(quantity) * Fraction(rate)
    rounded = nearest_fen(exact)
    shown = statement(
        period(
            line(
                quantity=format(quantity, "f"),
                rate=format(rate, "f"),
                amount_exact=format(quantity * rate, "f"),
                amount=f"{int(rounded * 100) / 100:.2f}",
            )
        )
    )
    (view,) = shown.lines
    match = EQUATION.match(view.arithmetic)
    assert match, view.arithmetic
    assert number(match["quantity"]) * number(match["rate"]) == number(match["exact"]) == exact
    assert number(match["amount"] or match["exact"]) == rounded == number(view.cells[-1])


@given(DECIMALS)
def test_figures_are_grouped_and_lose_nothing(value: Decimal) -> None:
    text = figure_text(value)
    assert number(text) == Fraction(value)
    whole = text.lstrip("−").partition(".")[0]
    assert re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})*", whole)
    assert number(money_text(half_up(value))) == nearest_fen(Fraction(value))


def test_figures_at_their_edges() -> None:
    assert [money_text(Decimal(text)) for text in ("-0.00", "999.99", "-1000.5")] == [
        "0.00", "999.99", "−1,000.50",
    ]  # fmt: skip
    assert exact_money_text(Decimal("818.3500")) == "818.35"
    # A number of more digits than the decimal module's default context keeps.
    assert figure_text(Decimal("-" + "9" * 30 + "." + "1" * 20)).count("1") == 20
    assert half_up(Fraction(1, 3)) == Decimal("0.33")
    assert net_of(Decimal("-113.00"), Decimal("0.13")) == Decimal("-100.00")
    assert not any(is_decimal_text(text) for text in ("1e5", "NaN", "", "1.", ".5", "٣", "1 "))
    with pytest.raises(ValueError, match="rounded"):
        money_text(Decimal("0.001"))


def test_periods_end_on_their_last_day() -> None:
    july = statement(period())
    assert july.facts[1].value == "1 July 2026 to 31 July 2026 (inclusive)"
    chinese = statement(period(), Language.CHINESE)
    assert chinese.facts[1].value == "2026年7月1日至2026年7月31日（含）"
    part = statement(period(end="2026-07-15T12:00:00+08:00"))
    assert "15 July" in part.facts[1].value


def test_known_labels_are_translated_and_others_shown_as_they_are() -> None:
    labels = ["sharp", "peak", "flat", "valley", "deep valley", "deep-valley", "Super off-peak"]
    bill = period(*(line(tou_period=label) for label in labels))
    chinese = [view.cells[1] for view in statement(bill, Language.CHINESE).lines]
    assert chinese == ["尖", "峰", "平", "谷", "深谷", "深谷", "Super off-peak"]
    english = [view.cells[1] for view in statement(bill).lines]
    assert english == [*labels[:5], "deep valley", "Super off-peak"]
    assert statement(period(line(charge="wheeling"))).lines[0].cells[0] == "wheeling"
    tiers = [
        view.cells[1]
        for view in statement(
            period(line(tier=2), line(tier=11), line(tier=0)), Language.CHINESE
        ).lines
    ]
    assert tiers == ["第二阶梯", "第11阶梯", "第0阶梯"]


def test_every_phrase_is_in_both_languages_and_takes_the_same_values() -> None:
    for key, (chinese, english) in PHRASES.items():
        holes = [set(re.findall(r"{\w+}", text)) for text in (chinese, english)]
        assert all((chinese, english)), key
        assert holes[0] == holes[1], key
    assert Wording(Language.ENGLISH, "GBP").hundredth == "penny"


def test_price_documents_are_numbered_and_a_source_without_one_is_not_named() -> None:
    sources = {
        "notice": {"document": "Price notice"},
        "same": {"document": "Price notice"},
        "table": {"document": "Price table"},
    }
    named = ["table", "notice", "nowhere", "same", None]
    shown = statement(period(*(line(source=name) for name in named), sources=sources))
    assert [view.source for view in shown.lines] == ["[1]", "[2]", "", "[2]", ""]
    assert [(view.reference, view.title) for view in shown.sources] == [
        ("[1]", "Price table"),
        ("[2]", "Price notice"),
    ]
    assert not shown.warning


def test_remarks_of_earlier_documents_do_not_reach_a_customer() -> None:
    remark = {"title": "A rumour", "confidence": "unconfirmed"}
    sources = {"heard": remark, "told": remark | {"document": "Price notice"}}
    shown = statement(period(line(source="heard"), line(source="told"), sources=sources))
    assert [view.source for view in shown.lines] == ["", "[1]"]
    assert "rumour" not in " ".join(every_text(shown))
    assert "confirmed" not in " ".join(every_text(shown)).lower()


def test_a_document_of_hours_or_limits_is_listed_though_no_line_names_it() -> None:
    sources = {"hours": {"document": "Hours"}, "price": {"document": "Price notice"}}
    shown = statement(period(line(source="price"), sources=sources))
    assert [view.title for view in shown.sources] == ["Price notice", "Hours"]


def test_a_plain_contract_document_is_enough() -> None:
    shown = statement(first_period("plain-contract"))
    assert shown.total.value == "CNY 172.35"
    assert "not stated in the bill" in [fact.value for fact in shown.facts]
    # Nothing is claimed that the document does not say.
    assert "encrypted" not in " ".join(every_text(shown))
    assert not shown.sources


@pytest.mark.parametrize(
    ("quantity", "rate"), [("-0.75", None), ("0.95", "-0.75"), ("0.95", "-0.0075")]
)
def test_percentages_in_each_form(quantity: str, rate: str | None) -> None:
    factor = line(
        charge="power-factor", unit="%", quantity=quantity, rate=rate, base="1000.3333",
        amount_exact="-7.50249975", amount="-7.50", computed="gateway",
    )  # fmt: skip
    view = statement(period(line(), factor)).lines[1]
    assert view.arithmetic == (
        "base CNY 1,000.3333 × (−0.75%) = −7.50249975 → CNY −7.50 (half-up to the fen)"
    )
    assert view.cells[1] == ("−0.75%" if rate is None else "power factor 0.95")


def test_a_percentage_is_cut_at_the_last_decimal() -> None:
    factor = line(
        charge="power-factor", unit="%", quantity="-0.15", rate=None, base="1.23456789012",
        amount_exact="-0.00185185183", amount="0.00", computed="gateway",
    )  # fmt: skip
    assert "≈ −0.00185185183 → CNY 0.00" in statement(period(line(), factor)).lines[1].arithmetic
    beyond = factor | {"amount_exact": "-0.00185185184"}
    with pytest.raises(InputError, match="does not add up"):
        statement(period(line(), beyond))


def test_minimum_lines() -> None:
    top_up = line(charge="minimum", unit="month", rate=None, quantity="1")
    energy = line(quantity="10.001", amount_exact="5.0005")
    over_exact = top_up | {"amount_exact": "14.9995", "amount": "15.00"}
    shown = statement(period(energy, over_exact))
    assert shown.lines[1].arithmetic == (
        "minimum 20.00 − all other lines 5.0005 = 14.9995; over the rounded lines: "
        "minimum 20.00 − all other lines 5.00 = CNY 15.00"
    )
    nothing_to_round = top_up | {"amount_exact": "15", "amount": "15.00"}
    shown = statement(period(line(), nothing_to_round))
    assert shown.lines[1].arithmetic == "minimum 20.00 − all other lines 5.00 = 15.00"
    # Rounded half-up on their own, these lines would come to 20.01.
    low = line(quantity="10.009", amount_exact="5.0045", amount="5.00")
    lifted = top_up | {"amount_exact": "9.991", "amount": "10.00"}
    shown = statement(period(low, low, lifted))
    assert (shown.total_figure, shown.lines[2].cells[-1]) == ("20.00", "10.00")
    assert "lines 10.009 = 9.991; over the rounded" in shown.lines[2].arithmetic
    reached = top_up | {"amount_exact": "0.002", "amount": "0.00"}
    nearly = line(quantity="19.998", amount_exact="9.999", amount="10.00")
    assert "over the rounded lines: the other lines reach the minimum" in (
        statement(period(nearly, nearly, reached)).lines[2].arithmetic
    )
    short = line(quantity="10.008", amount_exact="5.004")
    rounding = top_up | {"amount_exact": "0", "amount": "0.01"}
    assert "come to 10.00, which CNY 0.01 makes up" in (
        statement(period(short, short, rounding)).lines[2].arithmetic
    )
    nothing = top_up | {"amount_exact": "0", "amount": "0.00"}
    assert "nothing is added" in statement(period(energy, nothing)).lines[1].arithmetic
    flat = top_up | {"rate": "15", "amount_exact": "15", "amount": "15.00"}
    assert "1 month × 15 CNY/month" in statement(period(energy, flat)).lines[1].arithmetic


def test_a_fixed_amount_and_energy_shared_out_in_proportion() -> None:
    fixed = line(charge="meter-rent", unit="month", rate=None, quantity="1")
    assert statement(period(fixed)).lines[0].arithmetic == "fixed amount: CNY 5.00"
    third = line(quantity="3.333", rate="0.6", amount_exact="2", amount="2.00")
    shown = statement(period(third))
    assert "≈" in shown.lines[0].arithmetic
    assert "shared out in proportion" in (shown.lines[0].arithmetic)


def test_price_build_up() -> None:
    commercial = statement(first_period("commercial-four-period"))
    section = next(each for each in commercial.sections if "price of a kWh" in each.title)
    (table,) = section.tables
    assert table.rows[-1][1:] == ("1.43716875", "1.15526875", "0.75776875", "0.25716875")

    tiers = statement(first_period("residential-tiers"))
    section = next(each for each in tiers.sections if "price of a kWh" in each.title)
    assert section.tables[0].rows[-1][1:] == ("0.66286875", "0.71286875", "0.96286875")
    assert section.tables[0].rows[1][1:] == ("—", "0.05", "0.3")

    single = statement(first_period("shanghai-annual-tiers"))
    assert not single.sections


def test_price_build_up_of_many_columns_and_of_what_cannot_be_summed() -> None:
    labels = [f"p{number}" for number in range(7)]
    bill = period(
        *(line(tou_period=label) for label in labels),
        line(charge="government-funds"),
        line(charge="feed-in", rate="-0.5", amount_exact="-5", amount="-5.00"),
    )
    (section,) = statement(bill).sections
    assert [len(table.columns) for table in section.tables] == [6, 3]
    assert {cell for table in section.tables for cell in table.rows[-1][1:]} == {"1"}
    twice = period(line(), line(rate="0.5"), line(charge="government-funds"))
    assert not statement(twice).sections
    whole = statement(period(line(), line(charge="government-funds"))).sections[0]
    assert whole.tables[0].columns[1].heading == "all energy"


def test_correction_with_signs_and_directions() -> None:
    shown = statement(first_period("correction"), meter="meter-0002")
    assert shown.title == "Corrected electricity statement"
    assert shown.change is not None
    assert (shown.change.label, shown.change.value) == ("Refunded to you", "CNY 128.18")
    table = shown.sections[0].tables[0]
    assert table.rows[0] == ("Energy", "493.97", "405.73", "−88.24", "refunded to you")
    assert table.rows[-1][-2:] == ("−128.18", "refunded to you")


def test_correction_that_says_less() -> None:
    bill = period(line(), cancels={"version": 1, "total": "5.00", "lines": []})
    shown = statement(bill)
    assert shown.change is not None
    assert shown.change.label == "Unchanged"
    assert "version 2; replaces version 1" in shown.facts[-1].value
    assert shown.sections[0].tables[0].rows == (
        ("Difference in all", "5.00", "5.00", "0.00", "unchanged"),
    )
    supplement = {"charge": "energy", "tou_period": None, "tier": None, "amount": "1.50"}
    alone = statement(period(line(), adjustment={"lines": [supplement], "total": "1.50"}))
    assert alone.sections[0].tables[0].rows[0] == ("Energy", "+1.50", "to pay")


SHAPES: list[tuple[Any, str]] = [
    ("text", "period is not an object"),
    ({}, "period.start is missing"),
    (period(start="yesterday"), "period.start is not a date"),
    (period(start="2026-07-01T00:00:00"), "period.start has no offset"),
    (period(end="2026-07-01T00:00:00+08:00"), "period.end does not come after"),
    (period(lines="x"), "period.lines is not a list"),
    (period(lines=[1]), r"period.lines\[0\] is not an object"),
    (period(line(charge=" ")), r"lines\[0\].charge is not a text"),
    (period(line(tier=True)), r"lines\[0\].tier is not a whole number"),
    (period(line(tier="2")), r"lines\[0\].tier is not a whole number"),
    (period() | {"total": "5"}, "period.total is not an amount with two decimals"),
    (period() | {"total": 5.0}, "period.total is not a decimal text"),
    (period() | {"total_exact": "5e0"}, "period.total_exact is not a decimal text"),
    (period(sources={"a": {"document": " "}}), r"sources\[0\].document is not a text"),
    (period(vat={"rate": "0.13", "net": "1.00"}), "period.vat.tax is missing"),
    (
        period(tariff={"currency": "JPY", "id": "i", "version": "1", "name_en": "n"}),
        "period.tariff.currency is none of",
    ),
    (period(version="2"), "period.version is not a whole number"),
    (period(cancels=[]), "period.cancels is not an object"),
    (period(adjustment={"lines": []}), "period.adjustment.total is missing"),
]


@pytest.mark.parametrize(("bill", "message"), SHAPES)
def test_a_wrong_shape_is_refused_with_its_place(bill: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        statement(bill)
    assert caught.value.reason == "statement.shape"
    assert caught.value.remedy


@pytest.mark.parametrize("key", ["charge", "quantity", "rate", "amount_exact", "amount"])
def test_a_missing_key_is_named(key: str) -> None:
    bill = period()
    del bill["lines"][0][key]
    with pytest.raises(InputError, match=rf"lines\[0\].{key} is missing"):
        statement(bill)


def wrong(sample: str, change: Any) -> Any:
    bill = deepcopy(first_period(sample))
    change(bill)
    return bill


SUMS: list[tuple[Any, str]] = [
    (period(line(amount="5.01")), r"lines\[0\].amount"),
    (period(line(amount_exact="5.001")), r"lines\[0\]"),
    (period(line(charge="minimum", rate=None, amount="5.02")), r"lines\[0\].amount"),
    (period(line(charge="minimum", rate=None, amount_exact="0")), r"lines\[0\].amount"),
    (period(line(unit="kW", amount_exact="5.0001")), r"lines\[0\]"),
    (period(line(base="100", unit="%")), r"lines\[0\].amount_exact"),
    (period() | {"total": "5.01"}, "total"),
    (period() | {"total_exact": "5.01"}, "total_exact"),
    (period(vat={"rate": "0.13", "net": "4.43", "tax": "0.57"}), "vat.net"),
    (period(vat={"rate": "0.13", "net": "4.42", "tax": "0.57"}), "vat.tax"),
    (period(vat={"rate": "-0.13", "net": "4.42", "tax": "0.58"}), "vat.rate"),
    (wrong("correction", lambda bill: bill["cancels"].update(total="1.00")), "cancels.total"),
    (wrong("correction", lambda bill: bill["adjustment"].update(total="1.00")), "adjustment.total"),
    (wrong("correction", lambda bill: bill["adjustment"]["lines"].pop()), "adjustment.total"),
    (
        wrong("correction", lambda bill: bill["adjustment"]["lines"][0].update(charge="x")),
        "adjustment.lines",
    ),
    (
        period(cancels={"version": 1, "total": "4.00"}, adjustment={"lines": [], "total": "0.00"}),
        "adjustment.total",
    ),
]


@pytest.mark.parametrize(("bill", "place"), SUMS)
def test_a_bill_that_does_not_add_up_is_not_explained(bill: Any, place: str) -> None:
    with pytest.raises(InputError, match=f"does not add up at {place},") as caught:
        statement(bill)
    assert caught.value.reason == "statement.arithmetic"


@pytest.mark.parametrize(
    ("language", "days", "note"),
    [
        (Language.CHINESE, "2026年7月16日至2026年7月31日（含）", "只计入这些日期的电量"),
        (Language.ENGLISH, "16 July 2026 to 31 July 2026 (inclusive)", "your days alone"),
    ],
)
def test_who_moved_in_is_told_its_days(language, days, note):
    own = {"start": "2026-07-16T00:00:00+08:00", "end": "2026-08-01T00:00:00+08:00"}
    whole, part = (statement({**period(), **served}, language) for served in ({}, {"served": own}))
    assert days in [fact.value for fact in part.facts]
    assert days not in [fact.value for fact in whole.facts]
    assert note in part.notes[0]
    assert not any(note in text for text in whole.notes)
    assert len(part.facts) == len(whole.facts) + 1
    doubted = period()
    doubted["tariff"] = {
        "id": "tiers", "version": "1", "name_en": "Tiers", "name_zh": "阶梯", "currency": "CNY",
        "part_month": "chosen-here",
    }  # fmt: skip
    texts = [statement({**doubted, **own}, language).notes for own in ({}, {"served": own})]
    words = {Language.CHINESE: "整月限额", Language.ENGLISH: "a whole one"}[language]
    assert [words in "".join(notes) for notes in texts] == [False, True]


@pytest.mark.parametrize(
    "served",
    [
        {},
        {"start": "2026-07-16T00:00:00+08:00"},
        {"start": "2026-07-16T00:00:00+08:00", "end": "2026-07-16T00:00:00+08:00"},
        {"start": "2026-06-30T00:00:00+08:00", "end": "2026-07-16T00:00:00+08:00"},
        {"start": "2026-07-16T00:00:00+08:00", "end": "2026-08-02T00:00:00+08:00"},
        "July",
    ],
)
def test_days_that_are_no_part_of_the_period_are_refused(served):
    with pytest.raises(InputError) as refused:
        statement({**period(), "served": served}, Language.ENGLISH)
    assert refused.value.reason == "statement.shape"
