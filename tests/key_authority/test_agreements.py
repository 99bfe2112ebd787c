"""Releases under agreements: denied by default, each signature looked at, each use counted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import select

from gridsecure.approvals import ReleaseSubject, subject_digest
from gridsecure.circulation.agreed_releases import (
    AgreedRelease,
    AgreementProof,
    ProvedBy,
    read_proof,
)
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.errors import GridSecureError, ReleaseRefusedError
from gridsecure.key_authority.checker.agreements import (
    _MOST,
    record_agreement,
    require_agreement,
)
from gridsecure.key_authority.checker.answering import RELEASED, WAITING, answer_request
from gridsecure.key_authority.checker.tables import AgreedReleaseRow
from gridsecure.key_authority.vault.gate import Passage
from gridsecure.key_authority.vault.spent_budgets import SpentBudgets
from gridsecure.messages import ReleaseRequest, Signed
from gridsecure.policy.decisions import compare_policies
from gridsecure.policy.language import parse_policy
from gridsecure.policy.strictest import find_strictest
from gridsecure.products.usage_rights import usage_of
from gridsecure.store.database import write_session
from tests.approving import vault_policies
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority, approve_all
from tests.grid_simulator import NOW, GridUpload
from tests.held_policy import POLICY
from tests.market import market_world as world
from tests.market.agreed_proofs import (
    CLERK,
    TERM,
    WANTING,
    agreement,
    proof,
    proved_by,
    standing,
)


@pytest.fixture
def authority(authority: Authority) -> Iterator[Authority]:
    """An authority whose policy wants agreements, and that knows the registration office."""
    authority.zone = replace(authority.zone, policy=WANTING, agreements_by=proved_by())
    authority.vault.gate.policies = vault_policies(authority.folder / "wanting", WANTING)
    authority.vault.gate.agreements_by = proved_by()
    return authority


def request_of(authority: Authority, uploads: list[GridUpload]) -> Signed:
    """A day's load curve that somebody of the consumer's ordered."""
    transcript = authority.load_curve_transcript(uploads)
    return authority.request([transcript], seeds=[SEED], requested_by=CLERK)


def name_of(request: Signed) -> str:
    return ReleaseRequest.parse(request.body).request_id


def name(authority: Authority, shown: AgreementProof, *, bearer: str = CLERK) -> str:
    """Name an agreement; the reason of a refusal, or nothing."""
    try:
        record_agreement(authority.zone, shown, bearer=bearer, now=NOW)
    except GridSecureError as error:
        return error.reason
    return ""


def answered(
    authority: Authority, request: Signed, *, now: datetime = NOW
) -> tuple[str, str | None]:
    answer_request(authority.zone, request, view=authority.view, clock=lambda: now)
    approve_all(authority.zone)
    outcome = answer_request(authority.zone, request, view=authority.view, clock=lambda: now)
    return outcome.state, outcome.reason


def test_a_release_waits_for_its_agreement_and_the_certificate_names_it(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    request = request_of(authority, uploads)
    release = name_of(request)
    assert answered(authority, request) == (WAITING, "agreement.missing")
    assert authority.certificates == []
    for other in (
        {"plan": "bill"},
        {"purpose": "tariff-design"},
        {"ends_at": (NOW - timedelta(seconds=1)).isoformat(),
         "begins_at": (NOW - timedelta(days=1)).isoformat()},
    ):  # fmt: skip
        assert name(authority, proof(release, agreement(**other))) == ""
        assert answered(authority, request) == (WAITING, "agreement.missing"), other
    shown = proof(release)
    assert name(authority, shown) == name(authority, shown) == ""
    assert answered(authority, request) == (RELEASED, None)
    (certificate,) = authority.certificates
    assert certificate.agreement == shown.signatures[0].digest


def test_what_is_invented_fills_no_database(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gridsecure.key_authority.checker.agreements._MOST_OPEN", 1)
    most = agreement().uses + 1
    named = [name(authority, proof(f"{number:032x}")) for number in range(most + 1)]
    assert named == [""] * most + ["agreement.many"]


def test_what_shows_no_agreement_is_refused(authority: Authority) -> None:
    release = "7" * 32
    assert name(authority, proof(release), bearer="bank-2") == "agreement.bearer"
    assert (
        name(authority, proof(release, signers=("exchange-1", "exchange-2"))) == "agreement.proof"
    )
    assert name(authority, proof(release, signers=("rival-1", "bank-1"))) == "agreement.proof"
    assert name(authority, proof(release, namer="exchange-1"), bearer="exchange-1") == (
        "agreement.proof"
    )
    others = [world.record(one) for one in ("rival", "bank")]
    assert name(authority, proof(release, organisations=others)) == "agreement.proof"
    own = [
        world.record("exchange"),
        world.sign("bank-1", OrganisationRecord.parse(world.record("bank").body)),
    ]
    assert name(authority, proof(release, organisations=own)) == "agreement.proof"
    elsewhere = AgreedRelease(**world.by(CLERK), agreement="9" * 64, release=release)
    assert name(authority, proof(release, named=world.sign(CLERK, elsewhere))) == "agreement.named"
    timeless = agreement(begins_at="never")
    assert name(authority, proof(release, timeless)) == "market.time"
    agreed = proof(release).signatures[0].digest
    for days in (-2, 1, 300):
        word = standing(agreed, at=NOW + timedelta(days=days))
        assert name(authority, proof(release, standing=word)) == "agreement.old"
    for own in (standing("9" * 64), standing(agreed, signer="rival-1")):
        assert name(authority, proof(release, standing=own)) == "agreement.proof"
    for keys in (ProvedBy(), replace_market({})):
        authority.zone = replace(authority.zone, agreements_by=keys)
        assert name(authority, proof(release)) == "agreement.proof"


def replace_market(market: dict) -> ProvedBy:
    return proved_by()._replace(market=market)


def test_what_others_name_for_a_request_is_not_in_its_way(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    """A rival names as many as it may, for a request of the bank's."""
    request = request_of(authority, uploads)
    release = name_of(request)
    theirs = {"organisations": [world.record(one) for one in ("exchange", "rival")]}
    for price in range(_MOST + 1):
        agreed = agreement(consumer="rival", price_fen=price)
        shown = proof(release, agreed, signers=("exchange-1", "rival-1"), namer="rival-1", **theirs)
        reason = name(authority, shown, bearer="rival-1")
        assert reason == ("agreement.many" if price == _MOST else "")
    with write_session(authority.zone.engine) as session:  # as a release of before kept it
        proofs = session.exec(select(AgreedReleaseRow.proof)).all()
        changed = update(AgreedReleaseRow).where(AgreedReleaseRow.proof == proofs[0])
        session.exec(changed.values(proof=proofs[0].replace("load-curve", "load curve")))
    assert answered(authority, request) == (WAITING, "agreement.missing")
    assert name(authority, proof(release)) == ""
    assert answered(authority, request) == (RELEASED, None)


def test_a_policy_without_agreements_is_looser_and_the_strictest_wants_them() -> None:
    looser = [one for one in compare_policies(WANTING, POLICY) if one.is_looser]
    assert {one.case.purpose for one in looser} == {"operations"}
    assert not any(one.is_looser for one in compare_policies(POLICY, WANTING))
    assert find_strictest([POLICY, WANTING]).agreement == {"operations"}
    for wrong in ('agreement = ["billing"]', "agreement = []", 'agreement = "operations"'):
        with pytest.raises(GridSecureError):
            parse_policy(WANTING.text.replace(TERM, wrong))
    with pytest.raises(GridSecureError) as refused:
        usage_of(WANTING, target="urn:gridsecure:x", assigner="grid")
    assert refused.value.reason == "odrl.agreement"


CHECKED = "gridsecure.key_authority.checker.agreements:_find"


@attack(
    "a checker that looks at no agreement",
    rule(
        "No release is made but under an agreement, where policy wants one.",
        "agreement.missing",
        cut(CHECKED, "subject.purpose not in zone.policy.agreement", "True"),
    ),
    rule(
        "The vault is shown the agreement by which it decrypts, and verifies it.",
        "agreement.missing",
        cut(
            "gridsecure.key_authority.vault.gate:ReleaseGate._prove_agreed",
            "subject.purpose not in policy.agreement",
            "True",
        ),
    ),
)
def test_the_vault_wants_the_agreement_itself(
    authority: Authority, uploads: list[GridUpload], attacked: Attacked
) -> None:
    """Nobody named an agreement, and the checker's rule is taken out: the vault refuses alone."""
    state, reason = answered(authority, request_of(authority, uploads))
    assert (state == RELEASED) == attacked.goes_through
    attacked.ends(reason)


def test_the_vault_believes_no_checker_about_an_agreement(
    authority: Authority, uploads: list[GridUpload], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checker that passes whatever was named: nothing that does not cover it is decrypted."""
    request = request_of(authority, uploads)
    release = name_of(request)
    checker = "gridsecure.key_authority.checker"
    shown: list[AgreementProof] = []
    monkeypatch.setattr(f"{checker}.approvals.require_agreement", lambda *_a, **_k: shown[0])
    monkeypatch.setattr(f"{checker}.releases.spend_agreement", lambda *_a, **_k: "")
    agreed = agreement()
    over = {
        "begins_at": (NOW - timedelta(days=1)).isoformat(),
        "ends_at": (NOW - timedelta(seconds=1)).isoformat(),
    }
    digest = proof(release).signatures[0].digest
    for one in (
        proof(release, agreement(plan="bill")),
        proof(release, agreement(**over)),
        proof(release, agreed, signers=("exchange-1", "exchange-2")),
        proof("7" * 32),
        proof(release, standing=standing(digest, at=NOW - timedelta(days=1))),
        proof(release, standing=standing(digest, signer="rival-1")),
    ):
        shown[:] = [one]
        assert answered(authority, request) == (WAITING, "agreement.missing")
    shown[:] = [proof(release)]
    gate = authority.vault.gate
    monkeypatch.setattr(gate, "agreements_by", ProvedBy())
    assert answered(authority, request) == (WAITING, "agreement.missing"), "its keys are its own"
    gate.agreements_by = proved_by()
    # The word was fresh when the order began, and is a day old at the first column.
    opened = gate.open

    def open_late(*asked: Any, **more: Any) -> Passage:
        passage = opened(*asked, **more)
        monkeypatch.setattr(gate, "_clock", lambda: NOW + timedelta(days=1))
        return passage

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(gate, "open", open_late)
        outcome = answer_request(authority.zone, request, view=authority.view, clock=lambda: NOW)
        assert (outcome.state, outcome.reason) == (WAITING, "agreement.missing")
    monkeypatch.setattr(gate, "_clock", lambda: NOW)
    assert answered(authority, request) == (RELEASED, None)


def test_an_agreement_is_named_again_when_the_markets_word_is_a_day_old(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    request = request_of(authority, uploads)
    release = name_of(request)
    for days, state in ((1, WAITING), (0, RELEASED)):
        shown = proof(release)
        word = standing(shown.signatures[0].digest, at=NOW - timedelta(days=days, seconds=-1))
        named_at = NOW - timedelta(seconds=2) if days else NOW
        shown = shown.model_copy(update={"standing": word})
        record_agreement(authority.zone, shown, bearer=CLERK, now=named_at)
        late = NOW + timedelta(seconds=5) if days else NOW
        assert answered(authority, request, now=late)[0] == state


@attack(
    "a neighbour's total, told under another policy than both cities agreed on",
    rule(
        "A release under an agreement is under the policy that stands in it.",
        "agreement.missing",
        cut(
            "gridsecure.circulation.agreed_releases:check_asked",
            "asked.policy != agreed.policy",
            "False",
        ),
    ),
)
def test_an_agreement_is_about_one_policy(
    authority: Authority, uploads: list[GridUpload], attacked: Attacked
) -> None:
    """The supplier put another policy in force after both had signed."""
    request = request_of(authority, uploads)
    agreed = agreement(policy=POLICY.digest, policy_text=POLICY.text)
    assert name(authority, proof(name_of(request), agreed)) == ""
    attacked.ends(answered(authority, request)[1])


@attack(
    "a release for somebody else's agreement",
    rule(
        "Somebody of the consumer's people asked for a release under its agreement.",
        "agreement.missing",
        cut(
            "gridsecure.circulation.agreed_releases:check_asked",
            "asked.requested_by not in proved.consumers",
            "False",
        ),
    ),
)
def test_a_release_of_others_uses_no_agreement(
    authority: Authority, uploads: list[GridUpload], attacked: Attacked
) -> None:
    """Somebody of a bank's names its agreement for a release that a clerk ordered."""
    request = authority.load_curve_request(uploads)
    assert name(authority, proof(name_of(request))) == ""
    _, reason = answered(authority, request)
    attacked.ends(reason or "")


@attack(
    "one use of an agreement, for two releases",
    rule(
        "A release is made while uses of its agreement are left.",
        "agreement.missing",
        cut(
            "gridsecure.key_authority.checker.agreements:_check_uses",
            ">= proved.agreement.uses",
            "> proved.agreement.uses",
        ),
    ),
)
def test_an_agreement_is_used_as_often_as_agreed(
    authority: Authority, uploads: list[GridUpload], attacked: Attacked
) -> None:
    request, other = request_of(authority, uploads), "8" * 32
    for release in (name_of(request), other):
        assert name(authority, proof(release)) == ""
    assert answered(authority, request) == (RELEASED, None)
    (certificate,) = authority.certificates
    subject = ReleaseSubject.parse(certificate.subject).model_copy(update={"request_id": other})
    try:
        require_agreement(authority.zone, subject, now=NOW)
    except GridSecureError as error:
        attacked.ends(error.reason)
    else:
        attacked.ends("")


def test_the_vault_counts_uses_itself_and_each_is_one_subject_for_good(
    authority: Authority, uploads: list[GridUpload]
) -> None:
    """A checker that was taken over has one naming, and asks for more than was approved by it."""
    request = request_of(authority, uploads)
    release = name_of(request)
    assert name(authority, proof(release)) == ""
    assert answered(authority, request) == (RELEASED, None)
    (certificate,) = authority.certificates
    subject, own = ReleaseSubject.parse(certificate.subject), subject_digest(certificate.subject)
    again = SpentBudgets(authority.vault.gate.policies.key_lock)  # after a restart
    for budgets in (authority.vault.gate.budgets, again):
        for digest, named in ((own, release), ("9" * 64, release), (own, "8" * 32)):
            under = read_proof(proof(named))
            if (digest, named) == (own, release):
                budgets.spend(WANTING, subject, digest=digest, at=NOW, under=under)
                continue
            budgets._passed = ("", "")
            with pytest.raises(ReleaseRefusedError) as refused:
                budgets.spend(WANTING, subject, digest=digest, at=NOW, under=under)
            assert refused.value.reason == "agreement.used"
