"""A product's design: questions of the language, steps over their answers, terms; a TOML file.

    name = "recovery-index"
    version = 1
    title = "Recovery index of shops"
    title_zh = "复工电力指数"
    purpose = "research"
    policy = "uniform-15"
    period = "month"
    price_yuan = "1200"

    [[parts]]
    name = "index"
    title = "Activity beside the month before"
    title_zh = "活跃度"
    question = { measure = "energy", statistic = { name = "index", base = "previous" } }

A question has no period: each issue has its own. Steps compute with what parts were told, so they
need nobody's permission and touch no ciphertext.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self

import tomli_w
from pydantic import AfterValidator, Field, ValidationError, model_validator

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import InputError, NotFoundError
from gridsecure.messages import Digest, Message
from gridsecure.month_texts import read_month
from gridsecure.policy.language import Policy
from gridsecure.policy.packs import load_pack
from gridsecure.queries.exact import Unsigned
from gridsecure.queries.language import Question, parse_question
from gridsecure.queries.spans import SHANGHAI
from gridsecure.toml_documents import read_document
from gridsecure.written_words import one_line

STANDARD: Final = Path(__file__).with_name("standard")
SAMPLE_ENDING: Final = ".sample.json"
MAX_PARTS: Final = 16
_NAME: Final = r"^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$"
_TEXT: Final = r"^[^\x00-\x1f\x7f]+$"

Name = Annotated[str, Field(pattern=_NAME)]
Title = Annotated[str, Field(pattern=_TEXT, max_length=200), AfterValidator(one_line)]
Base = Literal["previous", "last-year"]
"""The month that a question compares its own with: the one before, or the same of last year."""


class Part(Message):
    """A question of a product.

    Args:
        question: In the language, without its period; a base is `Base`.
    """

    kind: ClassVar[str] = "product-part"
    name: Name
    title: Title
    title_zh: Title
    question: dict[str, Any]


class Step(Message):
    """Something computed of the numbers of two or more parts, row by row.

    Args:
        of: Parts, or steps before it; they have to be of the same groups and steps of time.
        do: `ratio` and `percent` divide the first by the second.
        unit: Of what comes out.
    """

    kind: ClassVar[str] = "composition-step"
    name: Name
    title: Title
    title_zh: Title
    do: Literal["sum", "difference", "ratio", "percent"]
    of: Annotated[list[Name], Field(min_length=2, max_length=MAX_PARTS)]
    unit: Title

    @model_validator(mode="after")
    def _has_its_numbers(self) -> Self:
        if self.do != "sum" and len(self.of) != 2:
            raise ValueError(f"a {self.do} is of two")
        return self


class ProductDesign(Message):
    """What a product is.

    Args:
        version: A later design of the name has a larger one.
        purpose: What numbers are asked for, in the policy's words.
        policy: A release policy that ships.
        period: What an issue is about.
        price_yuan: Of one issue.
        suppliers: Whose meter points it is about; empty for one utility alone.
    """

    kind: ClassVar[str] = "composition"
    name: Name
    version: Annotated[int, Field(ge=1, le=9999)]
    title: Title
    title_zh: Title
    purpose: Literal["research"]
    policy: Name
    period: Literal["month", "day"]
    price_yuan: Unsigned
    suppliers: Annotated[list[Title], Field(max_length=16)] = Field(default_factory=list)
    parts: Annotated[list[Part], Field(min_length=1, max_length=MAX_PARTS)]
    steps: Annotated[list[Step], Field(max_length=MAX_PARTS)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        known = [part.name for part in self.parts]
        for step in self.steps:
            if not set(step.of) <= set(known):
                raise ValueError(f"step {step.name} is of what is not computed before it")
            known.append(step.name)
        if len(set(known)) < len(known):
            raise ValueError("two parts or steps have one name")
        return self

    @property
    def digest(self) -> Digest:
        """SM3 of what it says, however it was spelled."""
        return sm3_hex(self.model_dump_json().encode())

    @property
    def release_policy(self) -> Policy:
        """Its policy.

        Raises:
            InputError: None of this name ships (`policy.pack`).
        """
        return load_pack(self.policy)


class Issue(NamedTuple):
    """The period that a product is made for.

    Args:
        period: YYYY-MM, or YYYY-MM-DD of a product of days.
        timezone: Of the supply area.
    """

    period: str
    timezone: str = SHANGHAI


def read_design(text: str) -> ProductDesign:
    """Read a product's file.

    Raises:
        InputError: It is no such file (`product.syntax`, `product.field`); the message names the
            field.
    """
    document = read_document(text, name="product", refuse=_no_syntax, parse_float=str)
    try:
        return ProductDesign.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False)
        where = ".".join(map(str, first["loc"])) or "product"
        raise InputError(
            f"{where}: {first['msg']}.",
            reason="product.field",
            remedy="`gridsecure workshop schema` prints what a product's file may say.",
        ) from error


def spell_design(said: Mapping[str, Any]) -> str:
    """A product's file that says this; whether it may, `read_design` finds out."""
    return tomli_w.dumps(said)


def design_schema() -> dict[str, Any]:
    """The JSON schema of designs; `question` is that of questions, but for its period."""
    schema = ProductDesign.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def list_standard() -> list[str]:
    """The names of the products that ship."""
    return sorted(path.stem for path in STANDARD.glob("*.toml"))


def standard_text(name: str) -> str:
    """The file of a product that ships.

    Raises:
        NotFoundError: None of this name does (`product.unknown`).
    """
    if name not in list_standard():
        raise NotFoundError(
            "No product of this name ships.",
            reason="product.unknown",
            remedy="Name one that `gridsecure workshop list` prints, or a file.",
        )
    return (STANDARD / f"{name}.toml").read_text(encoding="utf-8")


def ask_part(part: Part, *, design: ProductDesign, issue: Issue) -> Question:
    """The question of a part, for an issue.

    Raises:
        InputError: It is none (`query.<what>`), it says its own period or another base
            (`product.period`), or the issue is not a period of the product's kind.
    """
    document = json.loads(json.dumps(part.question))
    if "period" in document:
        raise _own_period("names its own period")
    period = _period(design, issue)
    document["period"] = period
    statistic = document.get("statistic")
    if isinstance(statistic, dict) and "base" in statistic:
        statistic["base"] = _base(statistic["base"], period)
    return parse_question(json.dumps(document, ensure_ascii=False))


def _period(design: ProductDesign, issue: Issue) -> dict[str, str]:
    is_day = issue.period.count("-") > 1
    if is_day != (design.period == "day"):
        raise InputError(
            f"The product is of a {design.period}.",
            reason="product.period",
            remedy="Make it for a month as 2026-07, or for a day as 2026-07-31.",
        )
    return {design.period: issue.period, "timezone": issue.timezone}


def _base(said: object, period: Mapping[str, str]) -> dict[str, str]:
    """The month that a question compares its own with."""
    if said not in ("previous", "last-year") or "month" not in period:
        raise _own_period('has another base than "previous" or "last-year" of a month')
    year, month = read_month(period["month"])
    back = 1 if said == "previous" else 12
    number = year * 12 + month - 1 - back
    first = date(number // 12, number % 12 + 1, 1)
    return {**period, "month": f"{first:%Y-%m}"}


def _own_period(what: str) -> InputError:
    return InputError(
        f"A question of a product {what}.",
        reason="product.period",
        remedy='Leave period out, and write base = "previous" or "last-year".',
    )


def _no_syntax(sentence: str) -> InputError:
    return InputError(
        f"{sentence}.",
        reason="product.syntax",
        remedy="Write a TOML file as those that `gridsecure workshop show` prints.",
    )
