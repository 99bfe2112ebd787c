"""A product's life: every state and step, and nothing between them."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from gridsecure.circulation.documents import REGISTRAR, Member
from gridsecure.circulation.products import (
    STAGE_OF,
    ProductDesign,
    ProductState,
    ProductStep,
    Recipe,
    StepName,
    take_step,
)
from gridsecure.circulation.recipes import (
    check_measures,
    check_recipe,
    file_recipe,
    plan_digest,
    question_digest,
)
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.errors import GridSecureError
from gridsecure.products.components import make_library
from gridsecure.products.designs import standard_text
from gridsecure.queries.packs import list_packs
from tests.market.market_world import dataset, design, key_of

DESIGN = ProductDesign.parse(design().body)
LAST = "a" * 64
LEADS = {
    ("designed", "review"): "reviewed",
    ("designed", "reject"): "rejected",
    ("reviewed", "publish"): "published",
    ("published", "register"): "registered",
    **{(state, "withdraw"): "withdrawn" for state in ("designed", "reviewed", "published")},
    ("registered", "withdraw"): "withdrawn",
}
TAKERS = {
    "review": ("grid", "grid-2", "supplier"),
    "reject": ("grid", "grid-2", "supplier"),
    "publish": ("exchange", "exchange-1", "operator"),
    "register": (REGISTRAR, REGISTRAR, "registrar"),
    "withdraw": ("workshop", "workshop-1", "processor"),
}


def taker(name: str) -> Member:
    organisation, person, role = TAKERS[name]
    return Member(organisation, person, key_of(person).public_key, frozenset({role}))


def taken(state: str, name: str, member: Member, **changes: object) -> str:
    """The state that a step leads to, or the reason why it leads nowhere."""
    values = {
        "organisation": member.organisation, "person": member.person, "signed_at": "",
        "step": name, "design": "b" * 64, "previous": LAST,
        "evidence": "c" * 64 if name == "register" else "",
    }  # fmt: skip
    step = ProductStep(**(values | changes))
    try:
        return take_step(state, step, design=DESIGN, last=LAST, member=member)
    except GridSecureError as error:
        return error.reason


@pytest.mark.parametrize("name", get_args(StepName))
@pytest.mark.parametrize("state", get_args(ProductState))
def test_nothing_is_skipped(state, name):
    assert taken(state, name, taker(name)) == LEADS.get((state, name), "product.order")


def test_the_stages_are_resource_product_and_asset():
    road = ["designed", "reviewed", "published", "registered"]
    assert [STAGE_OF[one] for one in road] == ["resource", "resource", "product", "asset"]


def test_whoever_designed_does_not_review_whichever_organisation_is_named():
    own = replace(taker("review"), person=DESIGN.person)
    assert taken("designed", "review", own) == "product.same-person"
    assert taken("designed", "reject", own) == "product.same-person"


@pytest.mark.parametrize("name", get_args(StepName))
def test_each_step_is_of_one_kind_of_organisation(name):
    state = next(before for before, step in LEADS if step == name)
    stranger = Member("bank", "bank-1", key_of("bank-1").public_key, frozenset({"consumer"}))
    assert taken(state, name, stranger) == "product.taker"


def test_a_step_names_the_one_before_it():
    assert taken("designed", "review", taker("review"), previous="f" * 64) == "product.chain"


def test_a_registration_names_its_bundle():
    with pytest.raises(ValueError, match="bundle"):
        taken("published", "register", taker("register"), evidence="")


def refused(**changes: object) -> str:
    """Why a design's recipe, or what it tells of, is refused; nothing if it is not."""
    said = DESIGN.model_copy(update=changes)
    try:
        check_recipe(said)
        check_measures(said, records=[DatasetRecord.parse(dataset().body)])
    except GridSecureError as error:
        return error.reason
    return ""


def test_a_design_names_a_question_or_plan_by_its_digest():
    made = {name: question_digest(name) for name in list_packs()}
    assert len(set(made.values())) == len(made)
    for recipe, name, digest in (
        ("question", "recovery-index", made["recovery-index"]),
        ("plan", "bill", plan_digest("bill")),
    ):
        said = DESIGN.recipe.model_copy(update={"recipe": recipe, "name": name, "digest": digest})
        assert refused(recipe=said) == ""
        assert refused(recipe=said.model_copy(update={"digest": "e" * 64})) == "product.recipe"
    assert refused(measures=["bills"]) == "rights.measure"


def test_a_plans_digest_is_the_version_of_its_component_card():
    (card,) = (one for one in make_library().cards if (one.sort, one.name) == ("plan", "bill"))
    assert plan_digest("bill") == card.version


def test_a_composition_is_what_its_file_says():
    text = standard_text("recovery-index")
    recipe = file_recipe(text)
    assert refused(recipe=recipe, purpose="research") == ""
    assert refused(recipe=recipe, purpose="operations") == "product.recipe"
    both = ["energy_wh", "amount_fen"]
    assert refused(recipe=recipe, purpose="research", measures=both) == "product.recipe"
    other = recipe.model_copy(update={"name": "another"})
    assert refused(recipe=other, purpose="research") == "product.recipe"
    with pytest.raises(ValueError, match="its file"):
        Recipe(recipe="composition", name="own", digest="d" * 64)
    with pytest.raises(ValueError, match="digest is that of its file"):
        Recipe(**recipe.model_dump() | {"file": text + "# more"})
