"""What a product is computed by, held to what there is: questions, plans, files of the workshop.

A design names its recipe by a digest that only this very recipe has. So a design that was reviewed
is of what was looked at, and a bundle that registers it is of the same file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import cache
from typing import Final, get_args

from gridsecure.circulation.products import LONGEST_FILE, ProductDesign, ProductStep, Recipe
from gridsecure.circulation.rights import DatasetRecord
from gridsecure.crypto.sm2 import Sm2PublicKey
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, InvalidMessageError, ReleaseRefusedError
from gridsecure.messages import Digest, PlanName, open_message
from gridsecure.products import designs
from gridsecure.products.components import plan_card
from gridsecure.products.designs import Issue, ask_part, read_design
from gridsecure.products.registration import RegistrationBundle, check_bundle
from gridsecure.queries.packs import list_packs

_ISSUES: Final = {"month": Issue("2026-07"), "day": Issue("2026-07-31")}
"""Any period: what a question is of does not hang on it."""


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


@cache
def plan_digest(name: str) -> Digest:
    """What a design says of a registered plan: the version of its component card.

    It changes with the plan's code, its bounds and its minima, so a design is of one release.

    Raises:
        InputError: No plan has this name (`product.plan`).
    """
    plan: PlanName | None = next((one for one in get_args(PlanName) if one == name), None)
    if plan is None:
        raise InputError(
            "No plan of this name is registered.",
            reason="product.plan",
            remedy=f"Name one of {', '.join(get_args(PlanName))}.",
        )
    return plan_card(plan).version


def file_recipe(text: str) -> Recipe:
    """The recipe of a composition of the workshop.

    Args:
        text: Its file (TOML).

    Raises:
        InputError: It is none (`product.<what>`), or longer than the market takes
            (`product.long`).
    """
    found = read_design(text)
    if len(text) > LONGEST_FILE:
        raise InputError(
            f"The file has more than {LONGEST_FILE:,} characters.",
            reason="product.long",
            remedy="Make a product of fewer parts.",
        )
    return Recipe(recipe="composition", name=found.name, digest=sm3_hex(text.encode()), file=text)


def measures_of_file(found: designs.ProductDesign) -> frozenset[str]:
    """What a composition tells of, by all its questions.

    Raises:
        InputError: A question of it is none, as `ask_part`.
    """
    issue = _ISSUES[found.period]
    asked = [ask_part(part, design=found, issue=issue) for part in found.parts]
    return frozenset(measure for question in asked for measure in question.measures)


def check_measures(design: ProductDesign, *, records: Sequence[DatasetRecord]) -> None:
    """Refuse a design that tells of what none of its datasets has.

    Args:
        records: Of all its datasets.

    Raises:
        InvalidMessageError: No dataset of its own tells of a measure (`rights.measure`).
    """
    told = {measure for record in records for measure in record.measures}
    beyond = sorted(set(design.measures) - told)
    if beyond:
        raise InvalidMessageError(
            f"None of the product's datasets tells of {', '.join(beyond)}.",
            reason="rights.measure",
            remedy="Leave the measure out, or name a dataset that has it.",
        )


def check_recipe(design: ProductDesign) -> None:
    """Refuse a design whose recipe is not there, or not what its digest or file says.

    Raises:
        InvalidMessageError: It is another (`product.recipe`).
        InputError: Nothing has the name, as `question_digest` and `plan_digest`; or the file is no
            composition.
    """
    recipe = design.recipe
    if recipe.recipe == "composition":
        _check_file(design)
        return
    made = question_digest(recipe.name) if recipe.recipe == "question" else plan_digest(recipe.name)
    if made != recipe.digest:
        raise _other_recipe("The digest is not that of the question or plan that it names")


def _check_file(design: ProductDesign) -> None:
    """Hold a design to the composition in it: its name, purpose and measures are the file's."""
    found = read_design(design.recipe.file)
    if found.name != design.recipe.name:
        raise _other_recipe("The recipe has another name than its file")
    if found.purpose != design.purpose:
        raise _other_recipe("The product is for another purpose than its file")
    if measures_of_file(found) != set(design.measures):
        raise _other_recipe("The product tells of other measures than its file's questions")


def _other_recipe(why: str) -> InvalidMessageError:
    return InvalidMessageError(
        f"{why}.",
        reason="product.recipe",
        remedy="Take it from gridsecure market recipe; a new release may have changed it.",
    )


def check_registration(
    step: ProductStep,
    design: ProductDesign,
    *,
    registrant: str,
    key: Sm2PublicKey | None,
    holders: Collection[str],
) -> None:
    """Refuse a registration whose bundle is of another product, or of nobody who may register it.

    Of a question or a plan the office keeps what it was handed; the market has its digest.

    Args:
        registrant: The organisation whose key signed the bundle; `key` is that key, None for
            nobody's of the market.
        holders: Whose the product's datasets are.

    Raises:
        InvalidMessageError: A composition's bundle is missing, or another recipe has one
            (`product.bundle`); or it is another message.
        ReleaseRefusedError: Somebody else signed it than the designer's or a holder's people
            (`product.registrant`), or it registers another file (`product.bundle`).
        GridSecureError: As `open_message` and `check_bundle`.
    """
    if (design.recipe.recipe == "composition") != (step.bundle is not None):
        raise InvalidMessageError(
            "A composition is registered with its bundle, and no other recipe has one.",
            reason="product.bundle",
            remedy="Put what gridsecure workshop register wrote into the field bundle.",
        )
    if step.bundle is None:
        return
    if key is None or registrant not in {design.organisation, *holders}:
        raise ReleaseRefusedError(
            "The bundle is signed by nobody of the designer's or of a holder of the data.",
            reason="product.registrant",
            remedy="Have one of them put it together (gridsecure workshop register).",
        )
    trusted = {key.thumbprint: key}
    bundle = open_message(step.bundle, expect=RegistrationBundle, trusted=trusted)
    check_bundle(bundle)
    if sm3_hex(bundle.design.encode()) != design.recipe.digest:
        raise ReleaseRefusedError(
            "The bundle registers another file than the product was published with.",
            reason="product.bundle",
            remedy="Put the bundle together of the file in the product's design.",
        )
