"""Registration (登记) and balance sheet (入表): what a product's holder hands in, in one bundle.

A bundle names the product, who has which right, what it was made of and by which rules, what
processing cost, and the evidence of its issues, each by digest, and is signed by its holder.
Whoever has it checks it offline. It claims no approval: whether something is registered, or is an
asset, is for a registry and an auditor to say.

Sources, read 2026-11-30:
[1] 《深圳市数据产权登记管理暂行办法》 (深发改规〔2023〕5号), in force 2023-07-01 for three years:
    data products include data indices, analyses and encrypted data; records are kept for no less
    than 30 years. Whether it was prolonged is for the registrant to ask.
[2] 《数据资产全过程管理试点方案》 (财资〔2024〕167号, 2024-12-19): ledger, registration, authorised
    operation, distribution of income and trading of data assets, a pilot of 2025 and 2026.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, localcontext
from typing import Annotated, ClassVar, Final, Literal, NamedTuple

from pydantic import Field

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, InputError
from gridsecure.messages import Digest, Message, ReleaseCertificate
from gridsecure.policy.language import parse_policy
from gridsecure.products.checks import ProductCheck, check_design
from gridsecure.products.cities import OpenCity
from gridsecure.products.components import ComponentCard
from gridsecure.products.datasets import Text
from gridsecure.products.designs import Issue, ProductDesign, read_design
from gridsecure.products.previews import ProductSample, preview_design, sample_of
from gridsecure.queries.exact import Unsigned

LEAST_YEARS: Final = 30
"""How long records are kept [1]."""
RIGHTS: Final = {
    "hold": "数据资源持有权",
    "process": "数据加工使用权",
    "operate": "数据产品经营权",
}
RULES: Final = (
    "《深圳市数据产权登记管理暂行办法》（深发改规〔2023〕5号，2023年7月1日起施行，有效期三年）",
    "《数据资产全过程管理试点方案》（财资〔2024〕167号）",
)
EDITIONS: Final = (RULES,)
"""Every edition of the rules that a release named: bundles are kept for decades, so none goes."""
NO_APPROVAL: Final = (
    "本材料由持有方自行编制，未经任何登记机构、主管部门或审计机构审核、登记或批准；"
    "能否登记、能否入表由其认定。"
)
OWN_WORD: Final = ("ownership.basis", "statements", "costs", "product_type")
"""What of a bundle is its holder's own word (自述), which nothing in it proves."""
_FEN: Final = Decimal("0.01")
_DIGITS: Final = 60
_MOST_USED: Final = (1 << 63) - 1


class Ownership(Message):
    """Who has a right, and by what.

    Args:
        basis: Where that is written, as a contract's number.
    """

    kind: ClassVar[str] = "ownership"
    right: Literal["hold", "process", "operate"]
    holder: Text
    basis: Text


class ComplianceStatement(Message):
    """What the holder states, and where it can be seen.

    Args:
        clause: Of which rule.
        evidence: A digest, a command or a document.
    """

    kind: ClassVar[str] = "compliance-statement"
    clause: Text
    statement: Text
    evidence: Text


class CostLine(Message):
    """What was used of a measure, and what the holder values it at.

    Args:
        party: As the metering ledger names it.
        yuan_per_unit: The holder's own; None where it has none, and the line counts nothing.
    """

    kind: ClassVar[str] = "processing-cost"
    month: Text
    zone: Text
    party: Text
    measure: Text
    amount: Annotated[int, Field(ge=0, le=_MOST_USED)]
    yuan_per_unit: Unsigned | None = None


class RegistrationBundle(Message):
    """What is handed in of a product.

    Args:
        product_type: In the words of [1].
        design: The product's file, `policy` the text of its release policy.
        components: Name and version of the cards that it is composed of.
        certificates: The signed certificates of issues, with their proofs in the log.
        registered_on: The day it was put together.
        retained_until: Until when all of it is kept.
    """

    kind: ClassVar[str] = "registration-bundle"
    version: Literal[1] = 1
    holder: Text
    product_type: Literal["data-index", "data-report", "dataset", "encrypted-data"]
    design: Annotated[str, Field(max_length=1 << 17)]
    policy: Annotated[str, Field(max_length=1 << 17)]
    check: ProductCheck
    sample: ProductSample
    components: dict[str, Digest]
    ownership: Annotated[list[Ownership], Field(min_length=1)]
    statements: Annotated[list[ComplianceStatement], Field(min_length=1)]
    costs: list[CostLine]
    certificates: list[str]
    rules: list[str] = Field(default_factory=lambda: list(RULES))
    notice: Literal[
        "本材料由持有方自行编制，未经任何登记机构、主管部门或审计机构审核、登记或批准；"
        "能否登记、能否入表由其认定。"
    ] = NO_APPROVAL
    registered_on: Text
    retained_until: Text

    @property
    def digests(self) -> dict[str, Digest]:
        """What each part is called."""
        return {
            "design": sm3_hex(self.design.encode()),
            "policy": sm3_hex(self.policy.encode()),
            "check": sm3_hex(self.check.model_dump_json().encode()),
            "sample": sm3_hex(self.sample.model_dump_json().encode()),
            **{
                f"certificate {number}": sm3_hex(text.encode())
                for number, text in enumerate(self.certificates, 1)
            },
        }

    @property
    def processing_yuan(self) -> Decimal:
        """What processing cost by the holder's own rates [yuan], to the fen, half up."""
        with localcontext() as exact:
            exact.prec = _DIGITS
            total = sum(
                (line.amount * Decimal(line.yuan_per_unit or 0) for line in self.costs), Decimal(0)
            )
            return total.quantize(_FEN, rounding="ROUND_HALF_UP")


class Holder(NamedTuple):
    """Who registers, what, and since when.

    Args:
        years: How long all of it is kept.
    """

    name: str
    product_type: Literal["data-index", "data-report", "dataset", "encrypted-data"]
    on: date
    years: int = LEAST_YEARS


def make_bundle(  # noqa: PLR0913 - one parameter a part of the bundle
    text: str,
    *,
    holder: Holder,
    check: ProductCheck,
    sample: ProductSample,
    cards: Sequence[ComponentCard],
    ownership: Sequence[Ownership],
    statements: Sequence[ComplianceStatement],
    costs: Sequence[CostLine] = (),
    certificates: Sequence[str] = (),
) -> RegistrationBundle:
    """Put a bundle together, and check it as whoever gets it does.

    Args:
        text: The product's file.

    Raises:
        InputError: As `check_bundle`, or it is kept for less than 30 years
            (`registration.retention`).
        AuthenticityError: As `check_bundle`.
    """
    design = read_design(text)
    made = RegistrationBundle(
        holder=holder.name,
        product_type=holder.product_type,
        design=text,
        policy=design.release_policy.text,
        check=check,
        sample=sample,
        components=component_versions(design, cards),
        ownership=list(ownership),
        statements=list(statements),
        costs=list(costs),
        certificates=list(certificates),
        registered_on=holder.on.isoformat(),
        retained_until=_years_later(holder.on, holder.years).isoformat(),
    )
    check_bundle(made)
    return made


def component_versions(design: ProductDesign, cards: Sequence[ComponentCard]) -> dict[str, Digest]:
    """The cards that a product's questions use, with their versions."""
    used = {("plan", "query")}
    for part in design.parts:
        measure = str(part.question.get("measure", "")).partition(":")[0]
        statistic = part.question.get("statistic", {})
        named = statistic.get("name", "sum") if isinstance(statistic, dict) else "sum"
        used |= {
            ("measure", measure),
            ("statistic", str(named)),
            ("step", str(part.question.get("every", "month"))),
        }
    return {
        f"{card.sort} {card.name}": card.version for card in cards if (card.sort, card.name) in used
    }


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError as error:  # 29 February, or beyond the calendar
        if day.year + years > date.max.year:
            raise _too_short("It is kept beyond all calendars.") from error
        return day.replace(year=day.year + years, month=3, day=1)


def check_bundle(bundle: RegistrationBundle) -> ProductDesign:
    """Check all that a bundle says of itself.

    Its certificates are checked by whoever has the keys (`check_issue`), and its proofs by whoever
    makes them again (`check_proofs`).

    1. it is kept for 30 years at the least;
    2. its design can be read, and what was proven and sampled is of that design;
    3. the policy beside it is the one that it was proven under, by name and digest;
    4. every right of the three is somebody's, and its holder is who holds;
    5. it claims nothing of which the proof says otherwise: no refused field;
    6. the rules that it names are those of a release.

    Raises:
        InputError: `registration.retention`, `registration.rights`, `registration.holder`,
            `registration.refused`, `registration.rules`, or it is no design or policy.
        AuthenticityError: A digest is another one's (`registration.digest`).
    """
    try:
        first, last = map(date.fromisoformat, (bundle.registered_on, bundle.retained_until))
    except ValueError as error:
        raise _too_short("Its days are no days.") from error
    if last < _years_later(first, LEAST_YEARS):
        raise _too_short(f"It is kept for less than {LEAST_YEARS} years.")
    design, policy = read_design(bundle.design), parse_policy(bundle.policy)
    if (bundle.check.design, bundle.sample.design) != (design.digest, design.digest):
        raise _other("check or sample", "design")
    if bundle.check.policy != policy.digest or design.policy != policy.name:
        raise _other("check", "policy")
    missing = RIGHTS.keys() - {one.right for one in bundle.ownership}
    if missing:
        raise InputError(
            f"Nobody is named who has the right to {', '.join(sorted(missing))}.",
            reason="registration.rights",
            remedy="Name who may hold, process and operate, each with its basis.",
        )
    if bundle.holder not in {one.holder for one in bundle.ownership if one.right == "hold"}:
        raise InputError(
            "Whoever registers is not named as who holds.",
            reason="registration.holder",
            remedy="Name one holder, in --holder as in the right to hold.",
        )
    if tuple(bundle.rules) not in EDITIONS:
        raise InputError(
            "The bundle names rules that no release named which this one knows.",
            reason="registration.rules",
            remedy="Check it with the release that made it, or a newer one.",
        )
    if bundle.check.refusals:
        raise InputError(
            "A field of the product was refused when it was checked.",
            reason="registration.refused",
            remedy="Mend the product until `gridsecure workshop check` refuses nothing.",
        )
    return design


def check_proofs(
    bundle: RegistrationBundle,
    design: ProductDesign,
    *,
    city: OpenCity,
    cards: Sequence[ComponentCard],
) -> None:
    """Make a bundle's proof and sample again, and compare: neither is its holder's word.

    Args:
        design: From `check_bundle`.
        city: Made from what the bundle says of it.
        cards: Of this release, whose versions have to be the bundle's.

    Raises:
        AuthenticityError: A component has another version here, or something else comes out
            (`registration.proof`).
        GridSecureError: As `preview_design`.
    """
    issue = Issue(bundle.check.period)
    if bundle.components != component_versions(design, cards):
        raise _not_again("components")
    if bundle.check != check_design(design, city=city, issue=issue):
        raise _not_again("check")
    frames = preview_design(design, city=city, issue=issue)
    if bundle.sample != sample_of(design, frames, city=city, issue=issue):
        raise _not_again("sample")


def _not_again(what: str) -> AuthenticityError:
    return AuthenticityError(
        f"The {what} of the bundle did not come out again.",
        reason="registration.proof",
        remedy="Verify it with the release of GridSecure that it was put together with; if nothing "
        "else comes out there, the bundle is not what its holder says.",
    )


def check_issue(certificate: ReleaseCertificate, design: ProductDesign) -> None:
    """Refuse a certificate that is of no issue of a product; that it is signed was verified.

    A sealed question's certificate says neither measure nor groups, so these are not compared.

    Raises:
        AuthenticityError: It is of another plan, purpose or policy (`registration.issue`).
    """
    said = (certificate.plan, certificate.purpose, certificate.policy)
    if said != ("query", design.purpose, design.release_policy.digest):
        raise AuthenticityError(
            "A certificate of the bundle is of no issue of its product.",
            reason="registration.issue",
            remedy="Take certificates of the product's questions, released under its policy.",
        )


def _too_short(sentence: str) -> InputError:
    return InputError(
        sentence,
        reason="registration.retention",
        remedy=f"Keep the records for {LEAST_YEARS} years or more.",
    )


def _other(what: str, of: str) -> AuthenticityError:
    return AuthenticityError(
        f"The {what} of the bundle is of another {of} than the one beside it.",
        reason="registration.digest",
        remedy="Take the bundle as its holder signed it.",
    )


def read_costs(
    usages: Sequence[str], *, parties: Sequence[str], rates: Mapping[str, str]
) -> list[CostLine]:
    """Processing costs from the metering ledger.

    Args:
        usages: What `gridsecure usage show --format json` printed.
        parties: Whose use counts; all, if there is none.
        rates: Yuan a unit, by measure.

    Raises:
        InputError: What was used is none of the ledger's, or is there twice (`registration.usage`),
            a rate is of nothing that was used (`registration.rate`), or no amount (`query.number`).
    """
    try:
        found = [
            CostLine(
                month=used["month"],
                zone=used["zone"],
                party=used["party"],
                measure=used["measure"],
                amount=used["amount"],
                yuan_per_unit=rates.get(used["measure"]),
            )
            for rows in map(json.loads, usages)
            for used in rows
            if not parties or used["party"] in parties
        ]
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            "What was used is no answer of the metering ledger.",
            reason="registration.usage",
            remedy="Take what `gridsecure usage show --format json` prints.",
        ) from error
    keys = {(one.month, one.zone, one.party, one.measure) for one in found}
    if len(keys) < len(found):
        raise InputError(
            "A figure of the metering ledger is there twice.",
            reason="registration.usage",
            remedy="Give what was used in each month once.",
        )
    unused = rates.keys() - {one.measure for one in found}
    if unused:
        raise InputError(
            f"Nothing was used of what these rates are of: {', '.join(sorted(unused))}.",
            reason="registration.rate",
            remedy="Name measures as the metering ledger does, as jobs=0.12.",
        )
    return found
