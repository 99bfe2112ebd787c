"""The market's workshop (数据工坊) and catalogue (数据目录): what the command does, over HTTP.

Products are proven and previewed on a synthetic city, one at a time and in a lane of their own:
whatever somebody else's file costs, it costs one processor and no turn of documents, and whoever
would wait too long for it is told at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from sqlmodel import Session

from gridsecure.circulation.products import LONGEST_FILE
from gridsecure.circulation.recipes import file_recipe, measures_of_file
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.market import catalogue
from gridsecure.products.checks import check_design
from gridsecure.products.components import make_library
from gridsecure.products.datasets import Search
from gridsecure.products.designs import Issue, list_standard, read_design, standard_text
from gridsecure.products.previews import preview_design, sample_of
from gridsecure.products.references import MEASURED_BY
from gridsecure.simulator.open_cities import city_for
from gridsecure.store import evidence
from gridsecure.wire.workshop import (
    CardTold,
    ComponentsTold,
    ComponentTold,
    ProductFile,
    ProductFiles,
    ProductPreviewed,
    ProductProven,
)
from gridsecure_api.lanes import Lanes, Turn
from gridsecure_api.lists import PAGED, Paging, answer_page
from gridsecure_api.market_state import MemberClaims, State, read_member

_KEPT: Final = 8
"""Files whose proof, and whose sample, are kept: a form asks for the same again."""
_CARDS: Final = TypeAdapter(list[CardTold])

router = APIRouter(dependencies=[Depends(read_member)])


class ComposedProduct(BaseModel):
    """A product's file (TOML), and the period of the issue that it is tried for."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    file: Annotated[str, Field(min_length=1, max_length=LONGEST_FILE)]
    period: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$")] = "2026-07"


@router.get("/workshop/components", tags=["workshop"])
def list_components() -> ComponentsTold:
    """The component library (数据组件库): the card of every plan, measure, step and statistic."""
    return _components()


@cache
def _components() -> ComponentsTold:
    cards = [
        ComponentTold(card=card, version=card.version, depth=card.depth)
        for card in make_library().cards
    ]
    return ComponentsTold(measured_by=MEASURED_BY, cards=cards)


@router.get("/workshop/products", tags=["workshop"])
def list_products() -> ProductFiles:
    """The products that ship, each with its file, to begin one's own with."""
    return _standard()


@cache
def _standard() -> ProductFiles:
    found = [(read_design(text), text) for text in map(standard_text, list_standard())]
    return ProductFiles(
        products=[
            ProductFile(
                **design.model_dump(include={"name", "version", "title", "title_zh", "price_yuan"}),
                file=text,
            )
            for design, text in found
        ]
    )


@router.post("/workshop/checks", tags=["workshop"])
async def check_product(composed: ComposedProduct, request: Request) -> ProductProven:
    """Prove a product before anything runs: who is told of, bounds, noise, cost, or why not.

    A synthetic city of 320 meter points is what it is laid out on. Nothing is kept.
    """
    return await _one_by_one(_prove, composed, request)


@router.post("/workshop/previews", tags=["workshop"])
async def preview_product(composed: ComposedProduct, request: Request) -> ProductPreviewed:
    """Make a product of synthetic readings, as its buyer would see it. Nothing is kept."""
    return await _one_by_one(_preview, composed, request)


AnswerT = TypeVar("AnswerT")


async def _one_by_one(
    work: Callable[[str, str], AnswerT], composed: ComposedProduct, request: Request
) -> AnswerT:
    turn: Turn = request.state.turn
    lanes: Lanes = request.state.lanes
    await turn.move(lanes.files)
    return await run_in_threadpool(work, composed.file, composed.period)


@lru_cache(maxsize=_KEPT)
def _prove(text: str, period: str) -> ProductProven:
    recipe, design = file_recipe(text), read_design(text)
    check = check_design(design, city=city_for(design), issue=Issue(period))
    # Of a file that is refused there may be a question that is none, and so no measures.
    measures = [] if check.refusals else sorted(measures_of_file(design))
    return ProductProven(digest=recipe.digest, measures=measures, check=check)


@lru_cache(maxsize=_KEPT)
def _preview(text: str, period: str) -> ProductPreviewed:
    design, issue = read_design(text), Issue(period)
    city = city_for(design)
    frames = preview_design(design, city=city, issue=issue)
    sample = sample_of(design, frames, city=city, issue=issue)
    return ProductPreviewed(digest=sm3_hex(sample.model_dump_json().encode()), sample=sample)


async def _wanted(
    customer_class: Annotated[str, Query(max_length=64)] = "",
    zone: Annotated[str, Query(max_length=64)] = "",
    at: Annotated[str, Query(max_length=40, description="2026-07, or a moment.")] = "",
    measure: Annotated[str, Query(max_length=64)] = "",
    measured: Annotated[int, Query(ge=0, le=100, description="Least share measured [%].")] = 0,
) -> Search:
    return Search(customer_class, zone, at, measure, measured)


@router.get("/catalogue", tags=["catalogue"], response_model=list[CardTold], responses=PAGED)
async def search_catalogue(
    request: Request,
    _claims: MemberClaims,
    state: State,
    wanted: Annotated[Search, Depends(_wanted)],
    asked: Paging,
) -> Response:
    """Cards of releases that suppliers entered, by class, zone, period, measure and quality.

    Oldest first, page by page of all entries; of those that match there may be fewer on a page.
    """

    def read(session: Session) -> tuple[list[CardTold], int | None]:
        return catalogue.find_cards(session, wanted, asked=asked)

    def revision(session: Session) -> str:
        head = evidence.find_head(session)
        return head.hash if head else ""

    return await answer_page(
        request, state.zone.engine, revision=revision, read=read, write=_CARDS.dump_json
    )
