"""Products, from resource to asset (资源化 → 产品化 → 资产化): a state machine that skips nothing.

    designed ─review─▶ reviewed ─publish─▶ published ─register─▶ registered
        └─reject─▶ rejected        any but rejected ─withdraw─▶ withdrawn

Each step is a document of its own that names the one before it, so the steps of a version are a
chain with one end. Whoever designed a version does not review it. A version never changes: what is
to change is the next version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from gridsecure.circulation.documents import MarketDocument, Member, Named, Note, Slug, Terms, Title
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, ReleaseRefusedError
from gridsecure.messages import Digest, Message, Signed
from gridsecure.plans.cells import MEASURES
from gridsecure.plans.purposes import PURPOSES

LONGEST_FILE: Final = 1 << 15
"""Of a composition at the market [characters]; those that ship have some 2,000."""

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
        digest: As `recipes` makes it: of a question's text, of a plan's component card, or of
            `file`.
        file: A composition's file, whole (TOML); else empty.
    """

    kind: ClassVar[str] = "recipe"
    recipe: RecipeKind
    name: Title
    digest: Named
    file: str = Field(default="", max_length=LONGEST_FILE)

    @model_validator(mode="after")
    def _holds_its_file(self) -> Self:
        if (self.recipe == "composition") != bool(self.file):
            raise ValueError("a composition holds its file, and no other recipe does")
        if self.file and sm3_hex(self.file.encode()) != self.digest:
            raise ValueError("a composition's digest is that of its file")
        return self

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
        bundle: The bundle itself, of a composition; of other recipes the office keeps it.
    """

    kind: ClassVar[str] = "product-step"
    step: StepName
    design: Named
    previous: Named
    evidence: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    bundle: Signed | None = None
    note: Note = ""

    @model_validator(mode="after")
    def _has_evidence(self) -> Self:
        if (self.step == "register") != bool(self.evidence):
            raise ValueError("a registration names its bundle, and no other step does")
        if self.bundle is not None and self.bundle.digest != self.evidence:
            raise ValueError("the evidence is the digest of the bundle beside it")
        return self


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
        raise same_person()
    if not _may_take(step.step, design, member):
        raise ReleaseRefusedError(
            f"The step {step.step} is another organisation's to take.",
            reason="product.taker",
            remedy="The named reviewer reviews, an operator with its right publishes, the "
            "registration office registers, and the designer withdraws.",
        )
    return after


def same_person() -> ReleaseRefusedError:
    """For a review with the name, or with the key, of whoever designed it."""
    return ReleaseRefusedError(
        "Whoever designed a product does not review it.",
        reason="product.same-person",
        remedy="Have another person of the reviewing organisation review it.",
    )


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
