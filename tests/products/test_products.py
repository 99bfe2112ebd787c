"""Products: each that ships is proven and previewed, and says the same numbers as plain sums."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridsecure.errors import InputError
from gridsecure.products.checks import check_design
from gridsecure.products.designs import (
    SAMPLE_ENDING,
    STANDARD,
    Issue,
    ProductDesign,
    ask_part,
    design_schema,
    list_standard,
    read_design,
)
from gridsecure.products.joined_parts import run_step
from gridsecure.products.previews import sample_of
from gridsecure.simulator.open_cities import METERS, MINUTES, SEED
from gridsecure.simulator.synthetic_meters import simulate
from tests.products.small_city import JULY, city_of, previewed

SCHEMA = Path(__file__).parents[2] / "docs" / "product.schema.json"
NAMED = """
name = "own"
version = 1
title = "Own"
title_zh = "自定"
purpose = "research"
policy = "{policy}"
period = "month"
price_yuan = "1"
[[parts]]
name = "part"
title = "Part"
title_zh = "分项"
question = {question}
"""


def own(question: str, *, policy: str = "uniform-15") -> ProductDesign:
    return read_design(NAMED.format(question=question, policy=policy))


@pytest.mark.parametrize("name", list_standard())
def test_a_standard_product_is_proven_and_has_its_sample(name: str) -> None:
    design, city, frames = previewed(name)
    found = check_design(design, city=city, issue=JULY)
    assert found.refusals == []
    for part in found.parts:
        assert part.margin_bits >= 5
        assert part.operations
        assert part.approvals == ["data-owner", "privacy-officer"]
        assert any(group.is_told for group in part.groups)
    kept = json.loads((STANDARD / f"{name}{SAMPLE_ENDING}").read_text(encoding="utf-8"))
    assert sample_of(design, frames, city=city, issue=JULY).model_dump() == kept, (
        f"write it anew: gridsecure workshop preview {name} --to …/standard/{name}{SAMPLE_ENDING}"
    )


def plain(month: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Contracts and energies [meter points, intervals] as the simulator draws them."""
    made = simulate(METERS, month=month, interval_minutes=MINUTES, seed=SEED)
    return made.contracts, made.energy_wh.reshape(METERS, -1)


def test_an_index_is_that_of_plain_sums() -> None:
    _, _, frames = previewed("two-utility-index")
    contracts, july = plain("2026-07")
    _, june = plain("2026-06")
    inside = contracts["customer_class"].isin(["household", "shop"]).to_numpy()
    first = july[inside, :48].sum() / (june[inside].sum() / 30) * 100
    assert abs(float(frames["fused"]["value"][0]) - first) < 1e-6
    gap = frames["first"]["value"][0] - frames["second"]["value"][0]
    assert frames["gap"]["value"][0] == gap


def test_tiers_are_those_of_each_home() -> None:
    _, _, frames = previewed("tier-revenue-study")
    contracts, july = plain("2026-07")
    homes = (contracts["tariff_id"] == "shenzhen-residential-tiers").to_numpy()
    used = july[homes].sum(axis=1)
    second = int(np.clip(used - 260_000, 0, 340_000).sum())
    third = int(np.clip(used - 600_000, 0, None).sum())
    assert frames["second"]["value"][0] == Decimal(second) * Decimal("0.05") / 1000
    assert frames["third"]["value"][0] == Decimal(third) * Decimal("0.30") / 1000
    total = sum(frames[name]["value"][0] for name in ("base", "second", "third"))
    assert abs(frames["revenue"]["value"][0] - total) < Decimal("0.000001")


def test_counts_are_those_of_homes_and_few_are_withheld() -> None:
    _, _, frames = previewed("vacancy-index")
    contracts, july = plain("2026-07")
    homes = july[(contracts["customer_class"] == "household").to_numpy()].sum(axis=1)
    below = Decimal(int((homes < 100_000).sum())) * 100 / len(homes)
    assert abs(frames["low-use"]["value"][0] - below) < Decimal("0.000001")
    assert set(frames["vacant"]["state"]) == {"withheld"}


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ('{ measure = "energy", period = { month = "2026-07" } }', "product.period"),
        ('{ measure = "energy", statistic = { name = "gini" } }', "query.not-computable"),
        ('{ measure = "export" }', "query.limits"),
        ('{ measure = "energy", every = "week" }', "query.field"),
        ('{ measure = "energy", where = { zone = ["nowhere"] } }', "query.nobody"),
        ('{ measure = "energy", group_by = ["zone", "customer_class"], where = '
         '{ customer_class = ["shop"] } }', "product.nobody"),
        ('{ measure = "energy", every = "day", private = { epsilon = "0.5" } }', "release.private"),
        ('{ measure = "energy", statistic = { name = "index", base = "yesterday" } }',
         "product.period"),
    ],
)  # fmt: skip
def test_a_refusal_names_its_field(question: str, reason: str) -> None:
    found = check_design(own(question), city=city_of(1), issue=JULY)
    assert [(one.field, one.reason) for one in found.refusals] == [("parts.0.question", reason)]


def test_policy_decides_who_is_enough() -> None:
    question = '{ measure = "energy", group_by = ["customer_class"] }'
    groups = {
        policy: check_design(own(question, policy=policy), city=city_of(1), issue=JULY).parts[0]
        for policy in ("uniform-15", "strict")
    }
    minima = {
        policy: {group.values[0]: group.minimum for group in part.groups}
        for policy, part in groups.items()
    }
    assert minima["uniform-15"] == {"household": 15, "shop": 15, "factory": 15}
    assert minima["strict"] == {"household": 100, "shop": 15, "factory": 15}
    money = check_design(
        own('{ measure = "line:energy" }', policy="strict"), city=city_of(1), issue=JULY
    )
    assert [one.reason for one in money.refusals] == ["product.nobody"]


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        (('version = 1', 'version = "1"'), "product.field", "version"),
        (('purpose = "research"', 'purpose = "billing"'), "product.field", "purpose"),
        (('title_zh = "自定"', ""), "product.field", "title_zh"),
        (('name = "part"', 'name = "Part"'), "product.field", "parts.0.name"),
        (("[[parts]]", "[[parts"), "product.syntax", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_file_is_refused_by_its_field(change: tuple[str, str], reason: str, field: str) -> None:
    text = NAMED.format(question='{ measure = "energy" }', policy="uniform-15")
    with pytest.raises(InputError) as refused:
        read_design(text.replace(*change))
    assert refused.value.reason == reason
    assert field in refused.value.message


def test_a_base_moves_with_the_issue() -> None:
    design = own('{ measure = "energy", statistic = { name = "index", base = "previous" } }')
    question = ask_part(design.parts[0], design=design, issue=Issue("2027-01"))
    assert question.base is not None
    assert (question.period.month, question.base.month) == ("2027-01", "2026-12")
    with pytest.raises(InputError) as refused:
        ask_part(design.parts[0], design=design, issue=Issue("2027-01-05"))
    assert refused.value.reason == "product.period"


def test_a_step_joins_what_is_of_the_same_groups_only() -> None:
    design, _, frames = previewed("monthly-class-report")
    (step,) = design.steps
    with pytest.raises(InputError) as refused:
        run_step(step, [frames["energy"], frames["mean"].head(2)])
    assert refused.value.reason == "product.step"
    price = run_step(step, [frames["energy-charges"], frames["energy"]])
    shops = price[price["customer_class"] == "shop"]
    assert list(shops["value"]) == [Decimal("0.861670")]


STEPS = """
[[parts]]
name = "other"
title = "Other"
title_zh = "另一项"
question = {question}
[[steps]]
name = "both"
title = "Both"
title_zh = "两项"
do = "sum"
of = ["part", "other"]
unit = "Wh"
[[steps]]
name = "more"
title = "More"
title_zh = "更多"
do = "ratio"
of = ["both", "{last}"]
unit = "1"
"""


@pytest.mark.parametrize(
    ("first", "second", "last", "refused"),
    [
        ("", "", "other", []),
        ("", ', every = "day"', "part", ["steps.0"]),
        ("", ', group_by = ["zone"]', "both", ["steps.0"]),
        (', every = "day"', ', every = "day"', "part", []),
    ],
)
def test_a_step_of_other_groups_or_times_is_refused_before_anything_runs(
    first: str, second: str, last: str, refused: list[str]
) -> None:
    texts = [f'{{ measure = "energy"{more} }}' for more in (first, second)]
    text = NAMED.format(question=texts[0], policy="uniform-15")
    design = read_design(text + STEPS.format(question=texts[1], last=last))
    _, city, _ = previewed("monthly-class-report")
    found = check_design(design, city=city, issue=JULY)
    assert [(one.field, one.reason) for one in found.refusals] == [
        (field, "product.step") for field in refused
    ]


@pytest.mark.parametrize("sign", ["\x9b2J", "\u202e", "\u3164"])
def test_a_title_steers_no_terminal(sign: str) -> None:
    """Of C1 controls, what turns words round, and what is not seen."""
    text = NAMED.format(question='{ measure = "energy" }', policy="uniform-15")
    with pytest.raises(InputError):
        read_design(text.replace('title = "Own"', f'title = "Own{sign}"'))


def test_the_schema_is_published() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == design_schema(), (
        "write it anew: gridsecure workshop schema > docs/product.schema.json"
    )
