"""Rights to data, held apart (三权分置): to hold, to process, to operate.

Each is a signed grant of its own, of one dataset, to one organisation, for everything (整体), for
one measure (分领域) or for one purpose (依场景), until it ends or is withdrawn. The registration
office confirms who holds a dataset; its holder grants the other two. Each step of the market needs
one of the three and looks at no other, so a missing one stops that step alone, and says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from gridsecure.circulation.documents import MarketDocument, Named, Note, Slug, Title, When, moment
from gridsecure.errors import InvalidMessageError, ReleaseRefusedError
from gridsecure.plans.cells import MEASURES
from gridsecure.plans.purposes import PURPOSES
from gridsecure.written_words import OneLine

Right = Literal["hold", "process", "operate"]
RIGHT_NAMES: Final[Mapping[Right, str]] = {
    "hold": "数据资源持有权",
    "process": "数据加工使用权",
    "operate": "数据产品经营权",
}
Step = Literal["grant", "list", "design", "meter", "publish", "offer", "agree", "show", "deliver"]
NEEDED: Final[Mapping[Step, Right]] = {
    "grant": "hold",
    "list": "hold",
    "design": "process",
    "meter": "process",
    "publish": "operate",
    "offer": "operate",
    "agree": "operate",
    "show": "operate",
    "deliver": "operate",
}
"""The one right that each step needs, of whoever takes it. A use is two steps: whoever designed the
product meters (`meter`), and whoever sold it delivers (`deliver`)."""
MOST_ZONES: Final = 500
Zone = Annotated[OneLine, Field(min_length=1, max_length=64)]
"""An area of supply, as certificates name it."""
Scope = Literal["everything", "domain", "purpose"]
SCOPE_NAMES: Final[Mapping[Scope, str]] = {
    "everything": "整体授权",
    "domain": "分领域授权",
    "purpose": "依场景授权",
}


class DatasetRecord(MarketDocument):
    """Whose a dataset is: the ownership record (数据产权记录) of its holder.

    It names what lies sealed in the zones of others; nothing of it is here. The newest that the
    registration office confirmed counts.

    Args:
        dataset: Its name in the market.
        number: Counts the dataset's records from 1, without gaps.
        measures: What it tells of at the most.
        zones: Areas of supply whose released cells are of it. Of cells elsewhere, a certificate is
            none of it; so of a dataset that names none nothing is shown, and no open cell metered.
        licence: Under which licence others work with it.
        retained_until: Until when it is kept.
        uses: How often it may be used, all agreements together; 0 for no limit.
    """

    kind: ClassVar[str] = "dataset-record"
    dataset: Slug
    number: int = Field(default=1, ge=1, le=10_000)
    title: Title
    title_zh: Title
    measures: list[str] = Field(min_length=1, max_length=len(MEASURES))
    zones: list[Zone] = Field(default=[], max_length=MOST_ZONES)
    licence: Title
    retained_until: When
    uses: int = Field(default=0, ge=0, le=1_000_000)

    @model_validator(mode="after")
    def _knows_its_measures(self) -> Self:
        if len(set(self.measures)) != len(self.measures) or not set(self.measures) <= set(MEASURES):
            raise ValueError(f"measures are some of {', '.join(MEASURES)}, each named once")
        if len(set(self.zones)) != len(self.zones):
            raise ValueError("every zone is named once")
        return self


class RightGrant(MarketDocument):
    """One right to one dataset for one organisation.

    Args:
        grantee: Who may.
        domain: The measure, of that scope; else empty.
        purpose: The purpose, of that scope; else empty.
        confirms: Of the right to hold, the digest of the dataset's next record, which counts from
            then on; else empty.
    """

    kind: ClassVar[str] = "right-grant"
    right: Right
    dataset: Slug
    grantee: Slug
    scope: Scope
    domain: str = Field(default="", max_length=64)
    purpose: str = Field(default="", max_length=64)
    expires_at: When
    confirms: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    note: Note = ""

    @model_validator(mode="after")
    def _confirms_what_is_held(self) -> Self:
        if self.confirms and self.right != "hold":
            raise ValueError("a record is confirmed by the right to hold")
        return self

    @model_validator(mode="after")
    def _says_its_scope(self) -> Self:
        if (self.scope == "domain") != bool(self.domain) or (
            (self.scope == "purpose") != bool(self.purpose)
        ):
            raise ValueError("a scope says its domain or its purpose, and nothing else")
        if self.domain and self.domain not in MEASURES:
            raise ValueError(f"a domain is one of {', '.join(MEASURES)}")
        if self.purpose and self.purpose not in PURPOSES:
            raise ValueError(f"a purpose is one of {', '.join(PURPOSES)}")
        return self


class Withdrawal(MarketDocument):
    """Takes a document back, at once and for good: a grant, an offer, a need, an agreement.

    Args:
        about: Its digest.
    """

    kind: ClassVar[str] = "withdrawal"
    about: Named
    note: Note = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step is about.

    Args:
        organisation: Who takes it.
    """

    organisation: str
    dataset: str
    measures: tuple[str, ...]
    purpose: str


def check_right(
    step: Step, wanted: Wanted, grants: Iterable[RightGrant], *, now: datetime
) -> Right:
    """Refuse a step whose right is missing; what is wrong with other rights does not matter.

    Args:
        grants: Those that were not withdrawn, of whatever right.

    Returns:
        The right that the step needed.

    Raises:
        ReleaseRefusedError: No grant of it (`rights.missing`); all have ended (`rights.expired`);
            those that hold are for another purpose (`rights.purpose`) or leave out a measure
            (`rights.domain`).
    """
    right = NEEDED[step]
    own = [
        one
        for one in grants
        if (one.right, one.dataset, one.grantee) == (right, wanted.dataset, wanted.organisation)
    ]
    if not own:
        raise _refused(step, wanted, "missing", "no grant of it is in force")
    holding = [one for one in own if now < moment(one.expires_at)]
    if not holding:
        raise _refused(step, wanted, "expired", "its grant has ended")
    if any(
        one.scope == "everything" or (one.scope == "purpose" and one.purpose == wanted.purpose)
        for one in holding
    ):
        return right
    covered = {one.domain for one in holding if one.scope == "domain"}
    if covered >= set(wanted.measures):
        return right
    if covered:
        beyond = ", ".join(sorted(set(wanted.measures) - covered))
        raise _refused(step, wanted, "domain", f"its grant leaves out {beyond}")
    raise _refused(step, wanted, "purpose", f"its grant is not for {wanted.purpose}")


def _refused(step: Step, wanted: Wanted, code: str, why: str) -> ReleaseRefusedError:
    right = NEEDED[step]
    return ReleaseRefusedError(
        f"The step {step} needs the right to {right} ({RIGHT_NAMES[right]}) {wanted.dataset}, and "
        f"for {wanted.organisation} {why}.",
        reason=f"rights.{code}",
        remedy="Have the dataset's holder grant it (gridsecure market sign, kind right-grant).",
    )


def check_grant(grant: RightGrant, *, record: DatasetRecord, is_registrar: bool) -> None:
    """Refuse a grant whose giver cannot give it; that a holder holds is `check_right`'s.

    Args:
        record: Of the dataset.
        is_registrar: Whether the registration office signed it.

    Raises:
        ReleaseRefusedError: The right to hold comes from somebody else than the registration
            office, or another one not from the dataset's own organisation (`rights.giver`).
        InvalidMessageError: A domain is no measure of the dataset (`rights.measure`), or it ends
            before it begins (`market.time`).
    """
    is_owner = grant.organisation == record.organisation
    if not (is_registrar if grant.right == "hold" else is_owner):
        raise ReleaseRefusedError(
            f"The right to {grant.right} {grant.dataset} is not this signer's to grant.",
            reason="rights.giver",
            remedy="The registration office confirms who holds a dataset; whoever holds it grants "
            "the rights to process and to operate.",
        )
    if grant.right == "hold" and grant.grantee != record.organisation:
        raise ReleaseRefusedError(
            "A dataset is held by the organisation that its record is of.",
            reason="rights.giver",
            remedy="Have that organisation record the dataset, then confirm that it holds it.",
        )
    if grant.domain and grant.domain not in record.measures:
        raise InvalidMessageError(
            f"The dataset {grant.dataset} tells nothing of {grant.domain}.",
            reason="rights.measure",
            remedy=f"Name one of its measures: {', '.join(record.measures)}.",
        )
    if moment(grant.expires_at) <= moment(grant.signed_at):
        raise InvalidMessageError(
            "A grant ends before it begins.",
            reason="market.time",
            remedy="Give a time to come in expires_at.",
        )
