"""No single person opens a release: what officers sign, and what checker and vault refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from gridsecure.approvals import (
    Approver,
    ReleaseAuthorisation,
    ReleaseSubject,
    outputs_digest,
    pin_approvers,
    subject_digest,
)
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import (
    GridSecureError,
    InputError,
    InvalidMessageError,
    ReleaseRefusedError,
)
from gridsecure.key_authority.checker import authorisations
from gridsecure.key_authority.checker.answering import REFUSED, RELEASED, WAITING, answer_request
from gridsecure.key_authority.checker.approvals import (
    _is_like,
    read_revision,
    record_approval,
    revoke_approver,
)
from gridsecure.key_authority.checker.authorisations import (
    record_authorisation,
    revoke_authorisation,
)
from gridsecure.key_authority.checker.subjects import refuse_subject
from gridsecure.key_authority.packages import (
    Approved,
    CheckedBills,
    CheckedRoster,
    CheckedTotals,
    VaultAnswer,
)
from gridsecure.key_authority.vault.decryption import Vault
from gridsecure.key_authority.vault.gate import ReleaseGate
from gridsecure.messages import RosterManifest, Signed, sign_message
from gridsecure.offices.approvals import verify_approved
from gridsecure.plans.cells import UNMERGED
from gridsecure.policy.language import parse_policy
from gridsecure.policy.levels import load_level
from gridsecure.policy.packs import load_pack
from gridsecure.store import evidence
from gridsecure.store.database import read_session, write_session
from gridsecure_api.approver_settings import check_approvers, read_approvers
from gridsecure_api.settings import PersonEntry
from tests.approving import (
    APPROVERS,
    ENTRIES,
    approval_of,
    authorisation_of,
    officer_key,
    subject_of,
    vault_policies,
)
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import Authority, approve_all, settlement, waiting_subjects
from tests.grid_simulator import NOW, GridSimulator, GridUpload
from tests.held_policy import FIFTEEN, POLICY

Uploads = list[GridUpload]
OWNER, PRIVACY = "data-owner", "privacy-officer"


def answer(authority: Authority, request: Signed) -> tuple[str, str | None]:
    outcome = answer_request(authority.zone, request, view=authority.view, clock=lambda: NOW)
    return outcome.state, outcome.reason


def send(authority: Authority, signed: Signed, *, bearer: str = OWNER, after: int = 0) -> str:
    """Hand a decision in some days later; the reason code of a refusal, or nothing."""
    try:
        record_approval(authority.zone, signed, bearer=bearer, now=NOW + timedelta(days=after))
    except GridSecureError as refused:
        return refused.reason
    return ""


@pytest.fixture
def asked(authority: Authority, uploads: Uploads) -> str:
    """The text of what the month's bills wait with."""
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    (subject,) = waiting_subjects(authority.zone)
    return subject.text


# --- at the checker ------------------------------------------------------------------------------


def test_a_release_waits_for_both_officers_and_the_certificate_names_them(
    authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    request = authority.bill_request(uploads)
    for _ in range(2):
        assert answer(authority, request) == (WAITING, "approval.missing")
    (asked,) = waiting_subjects(authority.zone)
    assert asked.missing == [OWNER, PRIVACY]
    assert send(authority, approval_of(asked.text)) == ""
    assert answer(authority, request) == (WAITING, "approval.missing")
    assert decrypted == []
    assert send(authority, approval_of(asked.text, role=PRIVACY), bearer=PRIVACY) == ""
    assert answer(authority, request) == (RELEASED, None)
    assert decrypted

    (certificate,) = authority.certificates
    assert certificate.subject == asked.text
    assert {one.signer for one in certificate.approvals} == set(APPROVERS)
    assert len(authority.entries("approval.asked")) == 1, "however many rounds meet it"
    people = [one.actor for one in authority.entries("approval.given")]
    assert people == [OWNER, PRIVACY]
    (granted,) = authority.entries("release.granted")
    detail = json.loads(granted.detail)
    assert detail["subject"] == subject_digest(asked.text)
    assert detail["approvals"] == [one.digest for one in certificate.approvals]
    assert waiting_subjects(authority.zone) == []


def test_the_list_is_another_one_whenever_something_in_it_changed_and_only_then(
    authority: Authority, uploads: Uploads, asked: str
) -> None:
    request, seen = authority.bill_request(uploads), list[object]()

    def look() -> int:
        with read_session(authority.zone.engine) as session:
            found = read_revision(session)
        seen.append(found)
        return seen.index(found)

    assert look() == 0
    with write_session(authority.zone.engine) as session:
        evidence.append(session, at=NOW, actor="keeper", action="key-set.created", detail={})
    assert look() == 0
    assert send(authority, approval_of(asked)) == ""
    assert look() == 2
    with write_session(authority.zone.engine) as session:
        refuse_subject(session, json.loads(asked)["request_id"])
    assert look() == 3
    assert answer(authority, request) == (WAITING, "approval.missing")  # asked once more
    assert look() == 2, "it is as it was before it was refused"
    assert send(authority, approval_of(asked, role=PRIVACY), bearer=PRIVACY) == ""
    assert look() == 5
    assert answer(authority, request) == (RELEASED, None)
    assert look() == 6
    revoke_approver(authority.zone, OWNER, actor="keeper", at=NOW)
    assert look() == 7


def test_an_officer_sees_what_would_be_told_of_whom(
    authority: Authority, uploads: Uploads, asked: str
) -> None:
    said = json.loads(asked)
    assert (said["plan"], said["purpose"], said["requested_by"]) == ("bill", "billing", "clerk")
    assert (said["policy"], said["needed"]) == (POLICY.digest, [OWNER, PRIVACY])
    points = sum(upload.roster.manifest.slots for upload in uploads)
    assert sum(cell["meter_points"] for cell in said["cells"]) == points


@pytest.mark.parametrize(("changes", "reason"), [
    ({"subject": "f" * 64}, "not-found.release-subject"),
    ({"person": "clerk"}, "approval.role"),
    ({"role": PRIVACY}, "approval.role"),
    ({"expires_at": (NOW + timedelta(days=32)).isoformat()}, "approval.lifetime"),
    ({"expires_at": NOW.isoformat()}, "approval.lifetime"),
    ({"decided_at": "yesterday"}, "approval.time"),
    ({"now": NOW - timedelta(days=8)}, "approval.expired"),
    ({"now": NOW + timedelta(hours=1)}, "approval.expired"),
    ({"key": "stranger"}, "approval.signature"),
    ({"key": PRIVACY}, "approval.role"),
])  # fmt: skip
def test_what_is_no_approval_is_refused(
    authority: Authority, asked: str, changes: dict[str, object], reason: str
) -> None:
    keys = {"stranger": authority.grid.keys.stranger, PRIVACY: officer_key(PRIVACY)}
    said = changes | ({"key": keys[changes["key"]]} if "key" in changes else {})
    assert send(authority, approval_of(asked, **said)) == reason
    assert authority.entries("approval.given") == []


def test_a_changed_approval_is_nobodys(authority: Authority, asked: str) -> None:
    signed = approval_of(asked)
    forged = signed.model_copy(update={"body": signed.body.replace("approve", "reject ")})
    assert send(authority, forged) == "approval.signature"


def test_who_asked_does_not_approve(authority: Authority, uploads: Uploads) -> None:
    request = authority.request(
        [authority.bill_transcript(upload) for upload in uploads], requested_by=OWNER
    )
    assert answer(authority, request) == (WAITING, "approval.missing")
    (asked,) = waiting_subjects(authority.zone)
    assert send(authority, approval_of(asked.text)) == "approval.requester"
    assert send(authority, approval_of(asked.text, role=PRIVACY), bearer=PRIVACY) == ""
    assert answer(authority, request) == (WAITING, "approval.missing")


def test_an_officer_sends_only_what_that_officer_signed(authority: Authority, asked: str) -> None:
    assert send(authority, approval_of(asked), bearer=PRIVACY) == "approval.role"


def test_one_officer_counts_once(authority: Authority, asked: str) -> None:
    signed = approval_of(asked)
    assert send(authority, signed) == ""
    assert send(authority, signed) == "", "the same again changes nothing"
    assert send(authority, approval_of(asked, note="again")) == "approval.repeated"
    assert len(authority.entries("approval.given")) == 1


def test_an_approval_for_another_request_does_not_count(
    authority: Authority, uploads: Uploads, asked: str
) -> None:
    """Neither for the same bills under another purpose, nor for other bills."""
    approve_all(authority.zone)
    other = authority.request(
        [authority.bill_transcript(upload) for upload in uploads], requested_by="other"
    )
    assert answer(authority, other) == (WAITING, "approval.missing")


def test_a_rejection_is_final(
    authority: Authority, uploads: Uploads, asked: str, decrypted: list[str]
) -> None:
    approve_all(authority.zone)
    assert send(authority, approval_of(asked, decision="reject", note="too early")) == ""
    assert answer(authority, authority.bill_request(uploads)) == (REFUSED, "approval.rejected")
    assert send(authority, approval_of(asked, note="after all")) == "approval.rejected"
    assert decrypted == []
    (entry,) = authority.entries("approval.rejected")
    assert entry.actor == OWNER


def test_an_approval_after_the_release_is_refused(
    authority: Authority, uploads: Uploads, asked: str
) -> None:
    approve_all(authority.zone)
    assert answer(authority, authority.bill_request(uploads)) == (RELEASED, None)
    for decision in ("approve", "reject"):
        late = approval_of(asked, decision=decision, note="late")
        assert send(authority, late) == "approval.released"


def test_an_approval_that_expired_counts_no_more_and_the_log_says_so_once(
    authority: Authority, uploads: Uploads, asked: str, decrypted: list[str]
) -> None:
    approve_all(authority.zone)
    later = NOW + timedelta(days=7)
    request = authority.bill_request(uploads)
    for _ in range(2):
        outcome = answer_request(authority.zone, request, view=authority.view, clock=lambda: later)
        assert (outcome.state, outcome.reason) == (WAITING, "approval.missing")
    assert decrypted == []
    assert len(authority.entries("approval.expired")) == 2
    renewed = approval_of(asked, now=later)
    assert send(authority, renewed, after=7) == ""


def test_a_revoked_officer_approves_nothing_any_more(
    authority: Authority, uploads: Uploads, asked: str, decrypted: list[str]
) -> None:
    approve_all(authority.zone)
    for _ in range(2):
        revoke_approver(authority.zone, PRIVACY, actor="custodian", at=NOW)
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    again = approval_of(asked, role=PRIVACY, note="again")
    assert send(authority, again, bearer=PRIVACY) == "approval.revoked"
    assert decrypted == []
    assert [one.actor for one in authority.entries("approver.revoked")] == ["custodian"]
    with pytest.raises(GridSecureError) as refused:
        revoke_approver(authority.zone, "nobody", actor="custodian", at=NOW)
    assert refused.value.reason == "not-found.approver"


def test_another_policy_asks_anew(authority: Authority, uploads: Uploads, asked: str) -> None:
    approve_all(authority.zone)
    strict = load_pack("strict")
    authority.zone = replace(authority.zone, policy=strict)
    authority.vault.gate.policies = vault_policies(authority.folder / "strict", strict)
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    stale = approval_of(asked, role=PRIVACY, note="stale")
    assert send(authority, stale, bearer=PRIVACY) == "approval.policy"


def test_an_officers_new_key_leaves_requests_waiting_for_it(
    authority: Authority, uploads: Uploads, asked: str, decrypted: list[str]
) -> None:
    """What was signed by the old key counts no more, and is no reason to refuse the request."""
    approve_all(authority.zone)
    owner, privacy = APPROVERS.values()
    key = generate_private_key()
    renewed = pin_approvers([replace(owner, key=key.public_key), privacy])
    authority.zone = replace(authority.zone, approvers=renewed)
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    (still,) = waiting_subjects(authority.zone)
    assert (still.missing, decrypted) == ([OWNER], [])
    assert send(authority, approval_of(asked, key=key, note="once more")) == ""
    (done,) = waiting_subjects(authority.zone)
    assert done.missing == []


def test_an_officers_new_name_leaves_requests_waiting_for_it(
    authority: Authority, uploads: Uploads, asked: str
) -> None:
    approve_all(authority.zone)
    assert stand(authority) == ""
    owner, privacy = APPROVERS.values()
    renamed = pin_approvers([replace(owner, person="li"), privacy])
    authority.zone = replace(authority.zone, approvers=renamed)
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    assert send(authority, approval_of(asked, person="li"), bearer="li") == ""
    (done,) = waiting_subjects(authority.zone)
    assert done.missing == []


# --- at the vault, whatever the checker says -----------------------------------------------------


class Order:
    """An order of one roster's bills, which a checker that refuses nothing would sign."""

    def __init__(self, authority: Authority, upload: GridUpload) -> None:
        self.authority = authority
        self.transcript = authority.bill_transcript(upload)
        self.roster = upload.roster.manifest
        self.span = {"start": self.transcript.start, "end": self.transcript.end}
        self.text = subject_of(self.roster, self.transcript.outputs, **self.span)

    def approved(self, grounds: Iterable[Signed], **changes: object) -> Approved:
        said = Approved(subject=self.text, grounds=list(grounds))
        return said.model_copy(update=changes)

    def both(self) -> list[Signed]:
        return [approval_of(self.text, role=role) for role in (OWNER, PRIVACY)]

    def give(
        self, approved: Approved, each: Callable[[], object] = lambda: None, **changes: object
    ) -> str:
        """Give it to the vault; the reason code of a refusal, or nothing.

        Args:
            each: Called before every column.
        """
        store = self.authority.grid.platform_zone.objects
        part = CheckedRoster(
            roster=self.roster,
            outputs=self.transcript.outputs,
            names=settlement(self.roster.domain, self.roster.pseudonyms),
        )
        text = part.model_dump_json().encode()
        manifest = self.roster.tariff
        order = CheckedBills(
            **self.span,
            created_at=NOW.isoformat(),
            rosters=[sm3_hex(text)],
            tariffs={manifest: store.get(manifest).decode()},
            minima=FIFTEEN.as_message(),
            merging=FIFTEEN.merging,
            withheld=[],
            approved=approved,
        ).model_copy(update=changes)

        def files() -> Iterator[bytes]:
            yield text
            for entry in self.transcript.outputs.values():
                each()
                yield store.get(entry.digest)

        key = self.authority.grid.authority_key
        sealed: list[bytes] = []
        try:
            self.authority.vault.release_bills(sign_message(order, key=key), files(), sealed.append)
        except GridSecureError as refused:
            assert sealed == []
            return refused.reason
        return ""


@pytest.fixture
def order(authority: Authority, uploads: Uploads) -> Order:
    return Order(authority, uploads[0])


def test_the_vault_decrypts_what_both_officers_signed(order: Order) -> None:
    assert order.give(order.approved(order.both())) == ""


@pytest.mark.parametrize(("changes", "reason"), [
    ({"subject": "f" * 64}, "approval.subject"),
    ({"decision": "reject"}, "approval.rejected"),
    ({"now": NOW - timedelta(days=8)}, "approval.expired"),
    ({"now": NOW + timedelta(days=1)}, "approval.expired"),
    ({"person": "clerk"}, "approval.role"),
    ({"key": OWNER}, "approval.role"),
    ({"key": "authority"}, "approval.signature"),
    ({"expires_at": (NOW + timedelta(days=300)).isoformat()}, "approval.lifetime"),
])  # fmt: skip
def test_the_vault_refuses_what_the_checker_would_let_pass(
    order: Order, changes: dict[str, object], reason: str
) -> None:
    keys = {"authority": order.authority.grid.authority_key, OWNER: officer_key(OWNER)}
    said = changes | ({"key": keys[changes["key"]]} if "key" in changes else {})
    second = approval_of(order.text, role=PRIVACY, **said)
    assert order.give(order.approved([approval_of(order.text), second])) == reason


@pytest.mark.parametrize("count", [0, 1])
def test_the_vault_counts_for_itself(order: Order, count: int) -> None:
    """The policy is its own: a checker that says that nobody is needed changes nothing."""
    order.text = subject_of(order.roster, order.transcript.outputs, needed=[], **order.span)
    assert order.give(order.approved(order.both()[:count])) == "approval.missing"
    twice = [approval_of(order.text), approval_of(order.text, note="as another role")]
    assert order.give(order.approved(twice)) == "approval.repeated"


@attack(
    "an approval by the requester",
    rule(
        "Whoever asks for a release does not approve it.",
        "approval.requester",
        cut("gridsecure.approvals:_check_holds", "person == subject.requested_by", "False"),
    ),
)
def test_the_vault_refuses_the_requesters_approval(order: Order, attacked: Attacked) -> None:
    order.text = subject_of(
        order.roster, order.transcript.outputs, requested_by=PRIVACY, **order.span
    )
    attacked.ends(order.give(order.approved(order.both())))


@attack(
    "an approval that the officer did not sign",
    rule(
        "An approval is signed with the key that is pinned for its officer.",
        "approval.signature",
        cut(
            "gridsecure.approvals:_open",
            "open_message(envelope, expect=expect, trusted=keys)",
            "expect.parse(envelope.body)",
        ),
    ),
)
def test_an_approval_in_an_officers_name(order: Order, attacked: Attacked) -> None:
    """The checker writes it, and says that the officer signed it."""
    forged = approval_of(order.text, role=PRIVACY, key=order.authority.grid.authority_key)
    named = forged.model_copy(update={"signer": officer_key(PRIVACY).public_key.thumbprint})
    attacked.ends(order.give(order.approved([approval_of(order.text), named])))


@attack(
    "an approval of another request, used again",
    rule(
        "An approval is of one subject, by its digest.",
        "approval.subject",
        cut("gridsecure.approvals:check_approval", "approval.subject != digest", "False"),
    ),
)
def test_approvals_of_another_request(order: Order, attacked: Attacked) -> None:
    used = order.both()
    order.text = subject_of(
        order.roster, order.transcript.outputs, requested_by="another", **order.span
    )
    attacked.ends(order.give(order.approved(used)))


@pytest.mark.parametrize(("changes", "reason"), [
    ({"policy": load_pack("strict").digest}, "policy.differs"),
    ({"plan": "rebill"}, "approval.order"),
    ({"purpose": "preview"}, "approval.order"),
    ({"purpose": "operations"}, "approval.order"),
    ({"resolutions": ["daily"]}, "approval.order"),
    ({"resolutions": []}, "approval.order"),
    ({"resolutions": ["hourly"]}, "approval.order"),
    ({"cells": []}, "approval.order"),
    ({"start": "2026-06-01T00:00:00+08:00"}, "approval.order"),
    ({"outputs": []}, "approval.order"),
    ({"outputs": ["0" * 64] * 2}, "approval.order"),
    ({"rosters": ["0" * 64]}, "approval.order"),
    ({"tariffs": ["0" * 64]}, "approval.order"),
])  # fmt: skip
def test_approved_is_one_order_and_no_other(
    order: Order, changes: dict[str, object], reason: str
) -> None:
    order.text = subject_of(order.roster, order.transcript.outputs, **(order.span | changes))
    assert order.give(order.approved(order.both())) == reason


def test_other_cells_or_columns_than_were_approved(order: Order, grid: GridSimulator) -> None:
    cells = json.loads(order.text)["cells"][1:]
    fewer = json.dumps(json.loads(order.text) | {"cells": cells})
    order.text = fewer
    assert order.give(order.approved(order.both())) == "approval.order"
    other = {
        name: entry.model_copy(update={"digest": "f" * 64})
        for name, entry in order.transcript.outputs.items()
    }
    order.text = subject_of(order.roster, other, **order.span)
    assert order.give(order.approved(order.both())) == "approval.order"


@attack(
    "one household by two orders under one approval",
    rule(
        "What is decrypted is by the rosters that were approved, which say who is in which cell.",
        "approval.order",
        cut(
            "gridsecure.key_authority.vault.gate:Passage.admit_rosters",
            "not set(rosters) <= set(self.subject.rosters)",
            "False",
        ),
    ),
)
def test_one_household_by_two_orders_of_one_subject(order: Order, attacked: Attacked) -> None:
    """Cells of 20 and 19 of the same meter points would differ by one household."""
    approved, true = order.approved(order.both()), order.roster
    assert order.give(approved) == ""
    zones = sorted(set(true.zones))[:2]
    ends = []
    for count in (20, 19):
        told = [zones[0]] * count + [zones[1]] * (true.slots - count)
        order.roster = true.model_copy(update={"zones": told})
        ends.append(order.give(approved))
    assert ends[0] == ends[1]
    attacked.ends(ends[0])


def test_another_text_of_a_tariff(order: Order) -> None:
    name = order.roster.tariff
    text = order.authority.grid.platform_zone.objects.get(name).decode()
    approved = order.approved(order.both())
    assert order.give(approved, tariffs={name: text + "\n"}) == "approval.order"
    assert order.give(approved, tariffs={sm3_hex(b"another"): "another"}) == "approval.order"


def test_fewer_rosters_than_were_approved(order: Order) -> None:
    """What is left out would be the difference."""
    both = [outputs_digest(order.transcript.outputs.values()), "f" * 64]
    order.text = json.dumps(json.loads(order.text) | {"outputs": sorted(both)})
    assert order.give(order.approved(order.both())) == "approval.order"


def test_part_of_a_rosters_outputs(order: Order) -> None:
    entries = list(order.transcript.outputs.values())
    more = entries[0].model_copy(update={"digest": "f" * 64})
    whole = {"outputs": [outputs_digest([*entries, more])]}
    order.text = json.dumps(json.loads(order.text) | whole)
    assert order.give(order.approved(order.both())) == "approval.order"


def test_corrections_are_all_those_that_were_approved_and_each_once(order: Order) -> None:
    passage = order.authority.vault.gate.open(order.approved(order.both()), plan="bill")
    own = list(order.transcript.outputs.values())
    passage.admit_all([own])
    for parts in ([], [own, own]):
        with pytest.raises(ReleaseRefusedError) as refused:
            passage.admit_all(parts)
        assert refused.value.reason == "approval.order"


def test_a_day_of_fewer_rosters_or_others(
    authority: Authority, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, given = type(authority.vault).release_totals, list[tuple[Signed, list[bytes]]]()

    def watched(vault: Vault, order: Signed, files: Iterable[bytes]) -> VaultAnswer:
        given.append((order, list(files)))
        return release(vault, *given[-1])

    monkeypatch.setattr(type(authority.vault), "release_totals", watched)
    assert authority.answer(authority.load_curve_request(uploads)).state == RELEASED
    ((signed, files),) = given
    order = CheckedTotals.parse(signed.body)
    (quantity,) = order.quantities
    entries, count = order.outputs[quantity], len(order.rosters)
    first, others = {quantity: entries[:1]}, {"others": entries[1:]}
    other = RosterManifest.parse(files[0]).model_copy(update={"owner": "another"})
    text = other.model_dump_json().encode()
    for changes, handed in (
        ({"rosters": order.rosters[:1], "outputs": first}, [files[0], files[count]]),
        ({"rosters": order.rosters[:1], "outputs": first | others}, [files[0], files[count]]),
        ({"rosters": [sm3_hex(text), *order.rosters[1:]]}, [text, *files[1:]]),
    ):
        changed = sign_message(order.model_copy(update=changes), key=authority.grid.authority_key)
        with pytest.raises(ReleaseRefusedError) as refused:
            release(authority.vault, changed, handed)
        assert refused.value.reason == "approval.order"


@attack(
    "a checker whose policy was dropped orders cells of two",
    rule(
        "The vault has a policy of its own, and decrypts for no other minima.",
        "policy.differs",
        cut(
            "gridsecure.key_authority.vault.gate:Passage.check_minima",
            "if minima !=",
            "if False and minima !=",
        ),
    ),
)
def test_other_minima_than_the_vaults_policy_has(order: Order, attacked: Attacked) -> None:
    approved = order.approved(order.both())
    few = {"*": dict.fromkeys(FIFTEEN.by_class["*"], 2)}
    attacked.ends(order.give(approved, minima=few))


@attack(
    "a checker of a lower security level has the vault decrypt",
    rule(
        "The vault decrypts for a checker of its own security level alone.",
        "level.differs",
        cut(
            "gridsecure.key_authority.vault.gate:ReleaseGate.open",
            "if approved.level !=",
            "if False and approved.level !=",
        ),
    ),
)
def test_a_checker_of_another_level(order: Order, attacked: Attacked) -> None:
    other = order.approved(order.both(), level=load_level("L1").digest)
    attacked.ends(order.give(other))


def test_other_merging_than_the_vaults_policy_has(order: Order) -> None:
    approved = order.approved(order.both())
    assert order.give(approved, merging=UNMERGED) == "policy.differs"


def test_a_policy_that_is_not_in_force_lets_nothing_pass(order: Order) -> None:
    gate = order.authority.vault.gate
    start = (NOW + timedelta(days=1)).isoformat()
    later = parse_policy(POLICY.text.replace("2026-01-01T00:00:00+00:00", start))
    gate.policies = vault_policies(order.authority.folder / "later", later)
    assert order.give(order.approved(order.both())) == "policy.early"


def test_a_revocation_holds_in_the_middle_of_a_job_and_after_a_start(order: Order) -> None:
    gate, approved = order.authority.vault.gate, order.approved(order.both())
    begun: list[int] = []

    def revoke() -> None:
        begun.append(1)
        revoke_approver(order.authority.zone, PRIVACY, actor="custodian", at=NOW)

    assert order.give(approved, revoke) == "approval.revoked"
    assert len(begun) == 1, "no further column is asked for"
    again = ReleaseGate(
        order.authority.folder, policies=gate.policies, approvers=APPROVERS, clock=lambda: NOW
    )
    object.__setattr__(order.authority.vault, "gate", again)
    assert gate is not again
    assert order.give(approved) == "approval.revoked"


@attack(
    "an approval that ends while the release is at work",
    rule(
        "What a release rests on is looked at again before every column.",
        "approval.expired",
        cut(
            "gridsecure.key_authority.vault.gate:ReleaseGate.check",
            "now >= ground.expires_at",
            "False",
        ),
    ),
)
def test_an_approval_that_ends_in_the_middle_of_a_job(order: Order, attacked: Attacked) -> None:
    gate, times = order.authority.vault.gate, [NOW]
    gate._clock = lambda: times[-1]
    approved = order.approved(order.both())

    def wait() -> None:
        times.append(NOW + timedelta(days=7))

    attacked.ends(order.give(approved, wait))


# --- standing authorisations ---------------------------------------------------------------------


def stand(authority: Authority, *, bearer: str = OWNER, **said: object) -> str:
    """Hand an authorisation in; the reason code of a refusal, or nothing."""
    try:
        signed = authorisation_of(**({"role": bearer} | said))
        record_authorisation(authority.zone, signed, bearer=bearer, now=NOW)
    except GridSecureError as refused:
        return refused.reason
    return ""


SCOPES = [
    {},
    {"scope": "domain", "domain": "bills"},
    {"scope": "purpose", "purpose": "billing"},
]
OTHERS = [{"scope": "domain", "domain": "load-curves"}, {"scope": "purpose", "purpose": "preview"}]


@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_in_scope_is_released_in_its_first_round(
    authority: Authority, uploads: Uploads, scope: dict[str, object]
) -> None:
    for role in (OWNER, PRIVACY):
        for _ in range(2):
            assert stand(authority, bearer=role, **scope) == ""
    assert len(authority.entries("authorisation.given")) == 2, "each is entered once"
    assert answer(authority, authority.bill_request(uploads)) == (RELEASED, None)
    (certificate,) = authority.certificates
    assert {one.body_kind for one in certificate.approvals} == {"release-authorisation"}


@pytest.mark.parametrize("scope", OTHERS)
def test_what_is_out_of_scope_waits(
    authority: Authority, uploads: Uploads, scope: dict[str, object]
) -> None:
    for role in (OWNER, PRIVACY):
        assert stand(authority, bearer=role, **scope) == ""
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")


@attack(
    "a rejected request, ordered again under another name",
    rule(
        "What is like a rejected request waits, and no standing authorisation will do.",
        "approval.missing",
        cut(
            "gridsecure.key_authority.checker.approvals:gather_approvals",
            "not _was_rejected(zone, message)",
            "True",
        ),
    ),
)
def test_what_was_rejected_is_not_released_by_authorisations_under_another_name(
    authority: Authority, uploads: Uploads, decrypted: list[str], attacked: Attacked
) -> None:
    """The name of a request says who asks and by which transcripts: an order again has another."""
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    (asked,) = waiting_subjects(authority.zone)
    assert send(authority, approval_of(asked.text, decision="reject", note="never")) == ""
    for role in (OWNER, PRIVACY):
        assert stand(authority, bearer=role) == ""
    transcripts = [authority.bill_transcript(upload) for upload in uploads]
    again = authority.request(transcripts, requested_by="other")
    attacked.ends(answer(authority, again)[1])
    if attacked.goes_through:
        assert decrypted
        return
    part = authority.request(transcripts[:1], requested_by="clerk")
    assert answer(authority, part) == (WAITING, "approval.missing")
    assert decrypted == []
    approve_all(authority.zone)
    assert answer(authority, again) == (RELEASED, None), "officers may still say yes to it"


@pytest.mark.parametrize(("changes", "is_like"), [
    ({}, True),
    ({"requested_by": "other", "purpose": "operations"}, True),
    ({"plan": "rebill"}, False),
    ({"start": "2026-07-31T00:00:00+08:00", "end": "2026-08-02T00:00:00+08:00"}, True),
    ({"start": "2026-08-01T00:00:00+08:00", "end": "2026-09-01T00:00:00+08:00"}, False),
    ({"start": "whenever"}, True),
    ({"cells": []}, False),
])  # fmt: skip
def test_what_is_like_a_rejected_request(
    order: Order, changes: dict[str, object], is_like: bool
) -> None:
    rejected = ReleaseSubject.parse(order.text)
    assert _is_like(rejected.model_copy(update=changes), rejected) is is_like


def test_one_authorisation_and_one_approval(authority: Authority, uploads: Uploads) -> None:
    assert stand(authority) == ""
    request = authority.bill_request(uploads)
    assert answer(authority, request) == (WAITING, "approval.missing")
    (asked,) = waiting_subjects(authority.zone)
    assert send(authority, approval_of(asked.text, role=PRIVACY), bearer=PRIVACY) == ""
    assert answer(authority, request) == (RELEASED, None)


def test_where_policy_wants_each_release_looked_at_no_authorisation_will_do(
    authority: Authority, uploads: Uploads
) -> None:
    each = parse_policy("".join(
        line for line in POLICY.text.splitlines(keepends=True) if "standing" not in line
    ))  # fmt: skip
    authority.zone = replace(authority.zone, policy=each)
    authority.vault.gate.policies = vault_policies(authority.folder / "each", each)
    for role in (OWNER, PRIVACY):
        assert stand(authority, bearer=role, policy=each.digest) == ""
    request = authority.bill_request(uploads)
    assert answer(authority, request) == (WAITING, "approval.missing")
    approve_all(authority.zone)
    assert answer(authority, request) == (RELEASED, None)


@pytest.mark.parametrize(("said", "reason"), [
    ({"person": "clerk"}, "approval.role"),
    ({"key": "stranger"}, "approval.signature"),
    ({"policy": "0" * 64}, "approval.policy"),
    ({"expires_at": (NOW + timedelta(days=367)).isoformat()}, "approval.lifetime"),
    ({"now": NOW - timedelta(days=31)}, "approval.expired"),
    ({"now": NOW + timedelta(days=3000)}, "approval.expired"),
    ({"bearer": PRIVACY, "role": OWNER}, "approval.role"),
])  # fmt: skip
def test_what_is_no_authorisation_is_refused(
    authority: Authority, said: dict[str, object], reason: str
) -> None:
    changes = said | ({"key": authority.grid.keys.stranger} if "key" in said else {})
    assert stand(authority, **changes) == reason
    assert authority.entries("authorisation.given") == []


def test_an_authorisation_says_its_scope() -> None:
    for wrong in (
        {"scope": "domain"},
        {"scope": "purpose"},
        {"domain": "bills"},
        {"scope": "domain", "domain": "bills", "purpose": "billing"},
    ):
        signed = authorisation_of(**wrong)
        with pytest.raises(InvalidMessageError):
            ReleaseAuthorisation.parse(signed.body)


def test_an_authorisation_taken_back_counts_no_more(
    authority: Authority, uploads: Uploads, decrypted: list[str]
) -> None:
    signed = authorisation_of()
    record_authorisation(authority.zone, signed, bearer=OWNER, now=NOW)
    assert stand(authority, bearer=PRIVACY) == ""
    for _ in range(2):
        revoke_authorisation(authority.zone, signed.digest, actor="custodian", at=NOW)
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    assert decrypted == []
    assert [one.actor for one in authority.entries("authorisation.revoked")] == ["custodian"]
    # The very same cannot be handed in again; a new one can.
    assert stand(authority) == ""
    assert answer(authority, authority.bill_request(uploads)) == (WAITING, "approval.missing")
    assert stand(authority, note="a new one") == ""
    assert answer(authority, authority.bill_request(uploads)) == (RELEASED, None)


def test_the_list_of_authorisations_is_another_one_when_one_comes_or_goes(
    authority: Authority,
) -> None:
    zone, signed, seen = authority.zone, authorisation_of(), list[object]()

    def look() -> int:
        with read_session(zone.engine) as session:
            found = authorisations.read_revision(session)
        seen.append(found)
        return seen.index(found)

    assert look() == 0
    record_authorisation(zone, signed, bearer=OWNER, now=NOW)
    assert look() == 1
    with write_session(zone.engine) as session:
        evidence.append(session, at=NOW, actor="keeper", action="key-set.created", detail={})
    assert look() == 1
    for _ in range(2):
        revoke_authorisation(zone, signed.digest, actor="custodian", at=NOW)
        assert look() == 3, "and taken back once more it stays"
    record_authorisation(zone, authorisation_of(note="new"), bearer=OWNER, now=NOW)
    assert look() == 5


def test_an_authorisation_taken_back_in_the_middle_of_a_job(order: Order) -> None:
    zone, signed = order.authority.zone, authorisation_of()
    record_authorisation(zone, signed, bearer=OWNER, now=NOW)
    approved = order.approved([signed, approval_of(order.text, role=PRIVACY)])
    assert order.give(approved) == ""

    def revoke() -> None:
        revoke_authorisation(zone, signed.digest, actor=OWNER, at=NOW)

    assert order.give(approved, revoke) == "approval.revoked"


@pytest.mark.parametrize(("said", "reason"), [
    ({"policy": "0" * 64}, "approval.scope"),
    ({"scope": "domain", "domain": "load-curves"}, "approval.scope"),
    ({"scope": "purpose", "purpose": "research"}, "approval.scope"),
    ({"key": "authority"}, "approval.signature"),
    ({"now": NOW - timedelta(days=31)}, "approval.expired"),
    ({"expires_at": (NOW + timedelta(days=400)).isoformat()}, "approval.lifetime"),
])  # fmt: skip
def test_the_vault_refuses_authorisations_that_the_checker_would_let_pass(
    order: Order, said: dict[str, object], reason: str
) -> None:
    key = {"key": order.authority.grid.authority_key} if "key" in said else {}
    standing = authorisation_of(role=PRIVACY, **(said | key))
    assert order.give(order.approved([approval_of(order.text), standing])) == reason


# --- who may approve at all ----------------------------------------------------------------------


def test_an_officer_is_one_person_with_one_key_and_one_role() -> None:
    owner, privacy = APPROVERS.values()
    for other in (
        replace(privacy, key=owner.key),
        Approver(owner.person, PRIVACY, privacy.key),
    ):
        with pytest.raises(InputError) as refused:
            pin_approvers([owner, other])
        assert refused.value.reason == "approval.person"


def test_a_policy_that_nobody_can_satisfy_stops_the_start() -> None:
    owner = read_approvers(ENTRIES[:1])
    with pytest.raises(InputError) as refused:
        check_approvers(owner, POLICY)
    assert refused.value.reason == "approval.nobody"
    check_approvers(owner, load_pack("small-demonstration"))


def test_who_approves_has_no_other_role() -> None:
    key = ENTRIES[0].public_key
    with pytest.raises(ValueError, match="no other role"):
        PersonEntry(name="li", roles=("billing", "data-owner"), public_key=key)


# --- whoever reads a certificate -----------------------------------------------------------------


def test_whoever_has_the_officers_keys_checks_a_certificate(
    authority: Authority, uploads: Uploads, asked: str
) -> None:
    approve_all(authority.zone)
    assert answer(authority, authority.bill_request(uploads)) == (RELEASED, None)
    (certificate,) = authority.certificates
    key = authority.grid.authority_key
    officers = [f"{one.role}={one.key.point.hex()}" for one in APPROVERS.values()]

    def read(officers: list[str], **changes: object) -> str:
        envelope = sign_message(certificate.model_copy(update=changes), key=key)
        try:
            grounds = verify_approved(envelope, authority=key.public_key, officers=officers)
        except GridSecureError as refused:
            return refused.reason
        return ", ".join(ground.person for ground in grounds)

    assert read(officers) == f"{OWNER}, {PRIVACY}"
    blank = [cell.model_copy(update={"value": None}) for cell in certificate.cells]
    assert read(officers, cells=blank) == f"{OWNER}, {PRIVACY}", "also the regulator's copy"
    assert read(officers[:1]) == "approval.signature"
    assert read([officers[0], officers[0].replace(OWNER, PRIVACY)]) == "approval.person"
    assert read(["somebody"]) == "approval.officer"
    assert read([f"{OWNER}=04"]) == "approval.officer"
    nobody = json.dumps(json.loads(asked) | {"needed": [], "standing": []})
    assert read(officers, subject=nobody, approvals=[]) == "approval.missing"
    assert read(officers, subject="") == "approval.none"
    assert read(officers, purpose="research") == "approval.certificate"
    assert read(officers, transcripts=["0" * 64]) == "approval.certificate"
    assert read(officers, approvals=certificate.approvals[:1]) == "approval.missing"
    assert read(officers, approvals=certificate.approvals * 2) == "approval.repeated"
    late = (NOW + timedelta(days=8)).isoformat()
    assert read(officers, released_at=late) == "approval.expired"


def test_a_certificate_that_rests_on_authorisations_is_checked_too(
    authority: Authority, uploads: Uploads
) -> None:
    for role in (OWNER, PRIVACY):
        assert stand(authority, bearer=role) == ""
    assert answer(authority, authority.bill_request(uploads)) == (RELEASED, None)
    (certificate,) = authority.certificates
    key = authority.grid.authority_key
    officers = [f"{one.role}={one.key.point.hex()}" for one in APPROVERS.values()]
    envelope = sign_message(certificate, key=key)
    grounds = verify_approved(envelope, authority=key.public_key, officers=officers)
    assert [(one.person, one.is_standing) for one in grounds] == [(OWNER, True), (PRIVACY, True)]
