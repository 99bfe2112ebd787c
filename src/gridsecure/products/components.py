"""The component library (数据组件库): a card for each plan, measure, step and statistic there is.

A card is made from the code's own registries: inputs, bounds, depth and operations come from
running the plan on columns that count, minima from the policies that ship, and its version is the
digest of all that, with the code that computes it. So a card changes when its plan does. Only names
in Chinese and what a number tells besides itself are written for people (`component_words.toml`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, cast, get_args

from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError
from gridsecure.messages import Digest, Message, PlanName, Signed, open_message
from gridsecure.plans.cells import ENERGY, MONEY, measures_of
from gridsecure.plans.purposes import RESEARCH, RESEARCH_PLANS, STAFF_PURPOSES
from gridsecure.policy.decisions import Asked, find_minima
from gridsecure.policy.language import Resolution
from gridsecure.policy.packs import list_packs, load_pack
from gridsecure.products import references
from gridsecure.products.references import Reference
from gridsecure.queries.answers import computing_module
from gridsecure.queries.forms import CLOCKED, COUNT, STEPS, TOTALLED, Form, Statistic
from gridsecure.queries.language import Question

Sort = Literal["plan", "measure", "step", "statistic"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
_WORDS: Final = Path(__file__).with_name("component_words.toml")
_PLAN_CODE: Final[Mapping[PlanName, tuple[str, ...]]] = {
    "bill": ("bills", "circuit", "outputs", "needs", "lines"),
    "load-curve": ("load_curve", "cell_pieces", "merging"),
    "query": ("query_totals", "query_parts", "query_measures", "query_bills", "query_counts"),
    "rebill": ("bills", "circuit", "outputs", "needs", "lines", "correction_rules"),
}
"""The modules of `plans` that compute each plan."""


class ComponentCard(Message):
    """What is known of a component before it runs.

    Args:
        parameters: What whoever uses it has to say, by name.
        measures: What a statistic may be of; nothing for other sorts.
        steps: In which steps.
        references: What it is computed from and costs, on rosters that ship; none where nothing
            is computed on ciphertext.
        minimum: By policy that ships, the fewest customers of each class; None permits nothing.
        asked_as: Whom these minima are for: role, purpose and resolution.
        code: Digest of the modules that compute it.
    """

    kind: ClassVar[str] = "component-card"
    sort: Sort
    name: str
    title: str
    title_zh: str
    parameters: list[str]
    measures: list[str]
    steps: list[str]
    references: list[Reference]
    minimum: dict[str, dict[str, int | None]]
    asked_as: list[str]
    leaks: str
    leaks_zh: str
    code: Digest

    @property
    def version(self) -> Digest:
        """SM3 of everything on it."""
        return sm3_hex(self.model_dump_json().encode())

    @property
    def depth(self) -> int:
        """Ciphertext products in a row, at the most."""
        return max((one.depth for one in self.references), default=0)


class ComponentLibrary(Message):
    """All cards, as their maker signs them."""

    kind: ClassVar[str] = "component-library"
    cards: list[ComponentCard]


def list_components() -> dict[Sort, list[str]]:
    """What is registered, by sort: the names that cards are made of."""
    return {
        "plan": list(get_args(PlanName)),
        "measure": sorted({*TOTALLED, COUNT}),
        "step": list(STEPS),
        "statistic": [form_name(form) for form in list_forms()],
    }


def list_forms() -> tuple[type[Form], ...]:
    """The statistics of the language."""
    union, _ = get_args(Statistic)
    forms: tuple[type[Form], ...] = get_args(union)
    return forms


def form_name(form: type[Form]) -> str:
    """What questions call a statistic."""
    (name,) = get_args(form.model_fields["name"].annotation)
    return str(name)


def make_library() -> ComponentLibrary:
    """The card of every component, in the order of `list_components`."""
    cards = [
        *(plan_card(plan) for plan in get_args(PlanName)),
        *(_measure_card(name) for name in list_components()["measure"]),
        *(_step_card(step) for step in STEPS),
        *(_statistic_card(form) for form in list_forms()),
    ]
    return ComponentLibrary(cards=cards)


def open_library(envelope: Signed, *, maker: Sm2PublicKey) -> ComponentLibrary:
    """Read a library that its maker signed.

    Raises:
        AuthenticityError: The maker did not (`components.signature`).
        InvalidMessageError: It is another message.
    """
    try:
        return open_message(envelope, expect=ComponentLibrary, trusted={maker.thumbprint: maker})
    except AuthenticityError as error:
        raise AuthenticityError(
            "The component library is not signed by the maker whose key is pinned.",
            reason="components.signature",
            remedy="Take the library that came with the release, or compare the pinned key with "
            "the maker's.",
        ) from error


def compare_libraries(signed: ComponentLibrary, own: ComponentLibrary) -> list[str]:
    """The components that one library has otherwise, or alone, as "plan bill"."""
    first, second = (
        {f"{card.sort} {card.name}": card.version for card in library.cards}
        for library in (signed, own)
    )
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))


def plan_card(plan: PlanName) -> ComponentCard:
    """The card of a registered plan."""
    found = {
        "bill": references.bill_references,
        "rebill": references.bill_references,
        "load-curve": references.curve_references,
        "query": references.curve_references,
    }[plan]()
    resolution: Resolution = "interval" if plan == "load-curve" else "monthly"
    purposes = sorted(STAFF_PURPOSES[plan]) or [RESEARCH]
    if plan in RESEARCH_PLANS and RESEARCH not in purposes:
        purposes.append(RESEARCH)
    return _card(
        "plan",
        plan,
        references=found,
        asked=[_asked(purpose, resolution) for purpose in purposes],
        # A question may be about energy alone; of bills policy has to permit more (`measure bill`).
        told=(ENERGY,) if plan == "query" else measures_of(plan),
        code=[f"gridsecure.plans.{name}" for name in _PLAN_CODE[plan]],
    )


def _measure_card(name: str) -> ComponentCard:
    is_money = name in ("bill", "line")
    return _card(
        "measure",
        name,
        references=references.measure_references(name),
        asked=[_asked(RESEARCH, "monthly")],
        told=(ENERGY, MONEY) if is_money else (ENERGY,),
        code=["gridsecure.plans.query_measures", "gridsecure.plans.query_totals"],
    )


def _step_card(step: str) -> ComponentCard:
    resolution: Resolution = (
        "interval" if step in CLOCKED else "daily" if step == "day" else "monthly"
    )
    return _card(
        "step",
        step,
        asked=[_asked(RESEARCH, resolution)],
        told=(ENERGY,),
        code=["gridsecure.queries.steps"],
    )


def _statistic_card(form: type[Form]) -> ComponentCard:
    name = form_name(form)
    # Unchecked, for only the names of its totals are asked: they follow from the statistic's type.
    bare, asking = cast("Any", form), cast("Any", Question)
    unset = bare.model_construct(name=name, edges_kwh=[references.EDGE_KWH], tariff=None)
    totals = asking.model_construct(measure="energy", statistic=unset).totals
    is_own = totals != ("energy",)
    return _card(
        "statistic",
        name,
        title=(form.__doc__ or "").partition("\n")[0],
        parameters=[field for field in form.model_fields if field != "name"],
        measures=sorted(form.measures),
        steps=[step for step in STEPS if step in form.steps],
        references=references.totals_references(totals) if is_own else [],
        asked=[_asked(RESEARCH, "monthly" if "month" in form.steps else "interval")],
        told=(ENERGY,),
        code=["gridsecure.queries.forms", computing_module(form)],
    )


def _asked(purpose: str, resolution: Resolution) -> Asked:
    return Asked("analyst" if purpose == RESEARCH else "staff", purpose, resolution)


def _card(
    sort: Sort,
    name: str,
    *,
    asked: Sequence[Asked],
    told: Sequence[str],
    code: Sequence[str],
    title: str = "",
    **said: Any,
) -> ComponentCard:
    words = component_words()[sort][name]
    empty: dict[str, list[Any]] = {"parameters": [], "measures": [], "steps": [], "references": []}
    return ComponentCard(
        sort=sort,
        name=name,
        title=title or words["en"],
        title_zh=words["zh"],
        minimum={pack: _minimum(pack, asked[0], told) for pack in list_packs()},
        asked_as=[f"{one.role}, {one.purpose}, {one.resolution}" for one in asked],
        leaks=words["leaks_en"],
        leaks_zh=words["leaks_zh"],
        code=code_digest(code),
        **empty | said,
    )


def _minimum(pack: str, asked: Asked, told: Sequence[str]) -> dict[str, int | None]:
    """The fewest customers by class, of all that is told together; None where some is not."""
    minima = find_minima(load_pack(pack), asked)
    return {
        name: max(own[measure] for measure in told) if set(told) <= own.keys() else None
        for name, own in minima.by_class.items()
    }


@cache
def component_words() -> dict[str, dict[str, dict[str, str]]]:
    """What people are told of each component, by sort and name."""
    return tomllib.loads(_WORDS.read_text(encoding="utf-8"))


def code_digest(modules: Sequence[str]) -> Digest:
    """SM3 of the sources of some modules, and of all modules of a package among them."""
    lines = [
        f"{name} {sm3_hex(path.read_bytes())}\n"
        for module in sorted(set(modules))
        for name, path in sorted(_sources(module))
    ]
    return sm3_hex("".join(lines).encode())


def _sources(module: str) -> Iterator[tuple[str, Path]]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    place = Path(spec.origin)
    if spec.submodule_search_locations is None:
        yield module, place
        return
    for path in place.parent.glob("*.py"):
        yield f"{module}.{path.stem}", path
