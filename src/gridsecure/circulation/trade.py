"""Supply and demand (供需对接): offers, needs, requests, and the agreement that both sign.

An agreement is one text with two signatures under one digest. It has the release policy in it,
whole: what holds for the data is read where it was agreed, and stays readable when another policy
is in force. Under that one a certificate is no use of the agreement; the parties agree anew.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from pydantic import Field, model_validator

from gridsecure.circulation.documents import (
    MarketDocument,
    Named,
    Note,
    Slug,
    Terms,
    Title,
    When,
    moment,
)
from gridsecure.circulation.products import ProductDesign
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import ConflictError, InvalidMessageError, ReleaseRefusedError
from gridsecure.messages import Message, Signed
from gridsecure.policy.language import Policy
from gridsecure.policy.signed_policies import LONGEST_TEXT

MOST_FEN = 10**12
"""Highest price of a use [fen]: ten thousand million yuan."""
MOST_USES = 100_000
"""Most uses of an agreement."""


class Offer(MarketDocument):
    """A product on sale.

    Args:
        design: Digest of the version's design.
        price_fen: Of one use [fen].
    """

    kind: ClassVar[str] = "market-offer"
    product: Slug
    version: int = Field(ge=1)
    design: Named
    price_fen: int = Field(ge=0, le=MOST_FEN)
    valid_until: When
    terms: Terms = ""


class Need(MarketDocument):
    """What somebody looks for (需求)."""

    kind: ClassVar[str] = "market-need"
    title: Title
    title_zh: Title
    text: Terms = ""
    valid_until: When


class OfferRequest(MarketDocument):
    """Somebody wants what is offered.

    Args:
        offer: Digest of the offer.
        uses: How often.
    """

    kind: ClassVar[str] = "offer-request"
    offer: Named
    uses: int = Field(ge=1, le=MOST_USES)
    begins_at: When
    ends_at: When
    note: Note = ""


class Agreement(Message):
    """What both sides sign, word for word; either of them sends it first.

    Args:
        policy: Digest of `policy_text`, which is the release policy that was in force, whole.
    """

    kind: ClassVar[str] = "agreement"
    provider: Slug
    consumer: Slug
    offer: Named
    request: Named
    product: Slug
    version: int
    design: Named
    purpose: str
    plan: str
    price_fen: int = Field(ge=0, le=MOST_FEN)
    uses: int = Field(ge=1, le=MOST_USES)
    begins_at: When
    ends_at: When
    terms: Terms = ""
    policy: Named
    policy_text: str = Field(max_length=LONGEST_TEXT)

    @model_validator(mode="after")
    def _holds_its_policy(self) -> Self:
        if sm3_hex(self.policy_text.encode()) != self.policy:
            raise ValueError("the policy's digest is that of its text")
        if self.provider == self.consumer:
            raise ValueError("an agreement has two sides")
        return self


def make_agreement(
    offer: Signed, request: Signed, *, design: ProductDesign, policy: Policy
) -> Agreement:
    """The one agreement that an offer and a request for it lead to, under a policy.

    Args:
        offer: As its signer sent it; likewise the request.
        design: The one that the offer names.
        policy: In force at the market.

    Raises:
        InvalidMessageError: The request is for another offer (`agreement.request`), or its period
            is none (`market.time`).
    """
    sold, wanted = Offer.parse(offer.body), OfferRequest.parse(request.body)
    if wanted.offer != offer.digest:
        raise InvalidMessageError(
            "The request is for another offer.",
            reason="agreement.request",
            remedy="Name the request and the offer that it names.",
        )
    check_period(wanted)
    return Agreement(
        provider=sold.organisation,
        consumer=wanted.organisation,
        offer=offer.digest,
        request=request.digest,
        product=sold.product,
        version=sold.version,
        design=sold.design,
        purpose=design.purpose,
        plan=design.recipe.plan,
        price_fen=sold.price_fen,
        uses=wanted.uses,
        begins_at=wanted.begins_at,
        ends_at=wanted.ends_at,
        terms=sold.terms,
        policy=policy.digest,
        policy_text=policy.text,
    )


def check_period(request: OfferRequest) -> None:
    """Refuse a request whose period is none.

    Raises:
        InvalidMessageError: It ends before it begins, or a time is none (`market.time`).
    """
    if not moment(request.begins_at) < moment(request.ends_at):
        raise InvalidMessageError(
            "An agreement ends before it begins.",
            reason="market.time",
            remedy="Ask again, with ends_at after begins_at.",
        )


def check_agreement(said: Agreement, made: Agreement) -> None:
    """Refuse an agreement that is not what its offer and request lead to, word for word.

    Args:
        made: From `make_agreement`, under the policy in force.

    Raises:
        ConflictError: It has another policy in it than the one in force (`agreement.policy`).
        ReleaseRefusedError: Anything else differs (`agreement.terms`).
    """
    if said.policy != made.policy:
        raise ConflictError(
            "The agreement has another release policy in it than the one in force.",
            reason="agreement.policy",
            remedy="Draw it up anew (gridsecure market draft), and have both sides sign that.",
        )
    if said != made:
        raise ReleaseRefusedError(
            "The agreement says something else than its offer and request.",
            reason="agreement.terms",
            remedy="Draw it up with gridsecure market draft, and sign what that wrote.",
        )


def check_open(until: str, *, now: datetime, what: str) -> None:
    """Refuse what has ended.

    Raises:
        ConflictError: Its time is over (`market.over`).
    """
    if now >= moment(until):
        raise ConflictError(
            f"The {what} is over.",
            reason="market.over",
            remedy="Ask for a new one.",
        )
