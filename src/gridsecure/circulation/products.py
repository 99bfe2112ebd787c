"""Products, from resource to asset (资源化 → 产品化 → 资产化): a state machine that skips nothing.

    designed ─review─▶ reviewed ─publish─▶ published ─register─▶ registered
        └─reject─▶ rejected        any but rejected ─withdraw─▶ withdrawn

Each step is a document of its own that names the one before it, so the steps of a version are a
chain with one end. Whoever designed a version does not review it. A version never changes: what is
to change is the next version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import ClassVar, Final, Literal, Self, get_args

from pydantic import Field, model_validator

from gridsecure.circulation.documents import MarketDocument, Member, Named, Note, Slug, Terms, Title
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InputError, InvalidMessageError, ReleaseRefusedError
from gridsecure.messages import Digest, Message, PlanName
from gridsecure.plans.cells import MEASURES
from gridsecure.plans.purposes import PURPOSES
from gridsecure.queries.packs import list_packs

RecipeKind = Literal["question", "plan", "composition"]
ProductState = Literal["designed", "rejected", "reviewed", "published", "registered", "withdrawn"]
Stage = Literal["resource", "product", "asset"]
STAGE_OF: Final[Mapping[ProductState, Stage]] = {
    "designed": "resource",
    "rejected": "resource",
    "reviewed": "resource",
    "published": "product",
    "registered": "asset",
    "withdrawn": "resource",
}
STAGE_NAMES: Final[Mapping[Stage, str]] = {"resource": "资源", "product": "产品", "asset": "资产"}
StepName = Literal["review", "reject", "publish", "register", "withdraw"]
_STEPS: Final[Mapping[StepName, Mapping[ProductState, ProductState]]] = {
    "review": {"designed": "reviewed"},
    "reject": {"designed": "rejected"},
    "publish": {"reviewed": "published"},
    "register": {"published": "registered"},
    "withdraw": {
        "designed": "withdrawn",
        "reviewed": "withdrawn",
        "published": "withdrawn",
        "registered": "withdrawn",
    },
}
ON_SALE: Final[frozenset[ProductState]] = frozenset({"published", "registered"})
"""States in which a product is offered."""


class Recipe(Message):
    """What a product is computed by.

    Args:
        recipe: A question that ships (`gridsecure.queries`), a registered plan, or a composition of
            the workshop.
        name: Its name.
        digest: `question_digest`, `plan_digest`, or the composition's own.
    """

    kind: ClassVar[str] = "recipe"
    recipe: RecipeKind
    name: Title
    digest: Named

    @property
    def plan(self) -> str:
        """The plan whose certificates it makes; every question is of one plan."""
        return self.name if self.recipe == "plan" else "query"


class ProductDesign(MarketDocument):
    """A version of a product, as its designer drew it.

    Args:
        version: Counts from 1, without gaps.
        datasets: What it is made of, by their names.
        measures: What it tells of.
        purpose: What its certificates are for.
        reviewer: The organisation that is asked to review it; it may be the designer's own.
        sample: Digest of a sample on synthetic data; empty for none.
    """

    kind: ClassVar[str] = "product-design"
    product: Slug
    version: int = Field(ge=1, le=10_000)
    title: Title
    title_zh: Title
    summary: Terms = ""
    datasets: list[Slug] = Field(min_length=1, max_length=16)
    measures: list[str] = Field(min_length=1, max_length=len(MEASURES))
    purpose: str = Field(max_length=64)
    recipe: Recipe
    reviewer: Slug
    sample: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")

    @model_validator(mode="after")
    def _knows_its_words(self) -> Self:
        for several in (self.datasets, self.measures):
            if len(set(several)) != len(several):
                raise ValueError("every dataset and measure is named once")
        if not set(self.measures) <= set(MEASURES):
            raise ValueError(f"measures are some of {', '.join(MEASURES)}")
        if self.purpose not in PURPOSES:
            raise ValueError(f"a purpose is one of {', '.join(PURPOSES)}")
        return self


class ProductStep(MarketDocument):
    """One step of a version's life.

    Args:
        design: Digest of the design.
        previous: Digest of the step before; of the design, where this is the first.
        evidence: Digest of the registration bundle, of the step `register`; else empty.
    """

    kind: ClassVar[str] = "product-step"
    step: StepName
    design: Named
    previous: Named
    evidence: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    note: Note = ""

    @model_validator(mode="after")
    def _has_evidence(self) -> Self:
        if (self.step == "register") != bool(self.evidence):
            raise ValueError("a registration names its bundle, and no other step does")
        return self


@cache
def question_digest(name: str) -> Digest:
    """What a design says of a question that ships.

    Raises:
        InputError: None of this name ships (`query.pack`).
    """
    found = list_packs().get(name)
    if found is None:
        raise InputError(
            "No question of this name ships.",
            reason="query.pack",
            remedy="Name one that `gridsecure query pack list` prints.",
        )
    text = json.dumps(found.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return sm3_hex(f"gridsecure/question/{name}\n{text}".encode())


def plan_digest(name: str) -> Digest:
    """What a design says of a registered plan.

    Raises:
        InputError: No plan has this name (`product.plan`).
    """
    if name not in get_args(PlanName):
        raise InputError(
            "No plan of this name is registered.",
            reason="product.plan",
            remedy=f"Name one of {', '.join(get_args(PlanName))}.",
        )
    return sm3_hex(f"gridsecure/plan/{name}".encode())


def check_design(design: ProductDesign, *, records: Sequence[DatasetRecord]) -> None:
    """Refuse a design of something that is not there.

    Args:
        records: Of all its datasets.

    Raises:
        InvalidMessageError: No dataset of its own tells of a measure (`rights.measure`), or the
            digest is not that of the question or plan (`product.recipe`).
        InputError: Nothing has the name, as `question_digest` and `plan_digest`.
    """
    told = {measure for record in records for measure in record.measures}
    beyond = sorted(set(design.measures) - told)
    if beyond:
        raise InvalidMessageError(
            f"None of the product's datasets tells of {', '.join(beyond)}.",
            reason="rights.measure",
            remedy="Leave the measure out, or name a dataset that has it.",
        )
    recipe = design.recipe
    if recipe.recipe == "composition":  # the workshop's own, which its card explains
        return
    made = question_digest(recipe.name) if recipe.recipe == "question" else plan_digest(recipe.name)
    if made != recipe.digest:
        raise InvalidMessageError(
            "The digest is not that of the question or plan that the product names.",
            reason="product.recipe",
            remedy="Take it from gridsecure market recipe; a new release may have changed it.",
        )


def take_step(
    state: ProductState,
    step: ProductStep,
    *,
    design: ProductDesign,
    last: Digest,
    member: Member,
) -> ProductState:
    """The state that a step leads to.

    Args:
        state: Where the version stands.
        last: Digest of the step that led there, or of the design.
        member: Who takes it. Rights are `rights.check_right`'s.

    Raises:
        ConflictError: The step does not follow that state (`product.order`), or names another one
            as the last (`product.chain`).
        ReleaseRefusedError: Who designed it reviews it (`product.same-person`), or it is another's
            to take (`product.taker`).
    """
    after = _STEPS[step.step].get(state)
    if after is None:
        raise ConflictError(
            f"A product that is {state} is not taken to the step {step.step}.",
            reason="product.order",
            remedy="Take the steps in their order: review, publish, register; none is left out.",
        )
    if step.previous != last:
        raise ConflictError(
            "The step names another step as the last one.",
            reason="product.chain",
            remedy="Look at the product (gridsecure market show), and sign the step anew.",
        )
    if step.step in ("review", "reject") and member.person == design.person:
        raise ReleaseRefusedError(
            "Whoever designed a product does not review it.",
            reason="product.same-person",
            remedy="Have another person of the reviewing organisation review it.",
        )
    if not _may_take(step.step, design, member):
        raise ReleaseRefusedError(
            f"The step {step.step} is another organisation's to take.",
            reason="product.taker",
            remedy="The named reviewer reviews, an operator with its right publishes, the "
            "registration office registers, and the designer withdraws.",
        )
    return after


def _may_take(step: StepName, design: ProductDesign, member: Member) -> bool:
    if step in ("review", "reject"):
        return member.organisation == design.reviewer
    if step == "register":
        return member.is_registrar
    if step == "withdraw":
        return member.organisation == design.organisation or member.is_registrar
    return "operator" in member.roles


def check_version(design: ProductDesign, *, newest: int) -> None:
    """Refuse a version that leaves one out, or is there already.

    Args:
        newest: The product's newest version; 0 before the first.

    Raises:
        ConflictError: It is not the next one (`product.version`).
    """
    if design.version != newest + 1:
        raise ConflictError(
            f"The next version of {design.product} is {newest + 1}.",
            reason="product.version",
            remedy="Give the design that number.",
        )
