"""Columns of two owners in one release: an officer of each approves, and each policy holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gridsecure.approvals import APPROVER_ROLES, Approver, ReleaseSubject, is_lacking
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import GridSecureError, InputError, NotFoundError
from gridsecure.key_authority.checker.answering import FAILED, RELEASED, WAITING
from gridsecure.key_authority.checker.approvals import read_subject, read_subjects, record_approval
from gridsecure.key_authority.packages import Approved
from gridsecure.messages import Signed, SupplyTerms, roster_name
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.packs import load_pack
from gridsecure.policy.supply import check_supply
from gridsecure.store.database import read_session
from gridsecure.store.pages import PageAsked
from tests.approving import APPROVERS, approval_of
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import Authority, approve_all, waiting_subjects
from tests.grid_simulator import NOW, GridSimulator, delivered_grid
from tests.held_policy import POLICY

OWNER = "data-owner"
KEYS = {name: generate_private_key() for name in ("south", "north")}
PEOPLE = {
    key.public_key.thumbprint: Approver(name, OWNER, key.public_key) for name, key in KEYS.items()
}
OFFICERS = {**APPROVERS, **PEOPLE}
TERMS = [
    SupplyTerms(policy=POLICY.text, officers=[KEYS["south"].public_key.thumbprint]),
    SupplyTerms(officers=[KEYS["north"].public_key.thumbprint]),
]


@pytest.fixture(scope="module")
def supplied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridSimulator]:
    folder = tmp_path_factory.mktemp("platform")
    with delivered_grid(folder, days=2, supplies=TERMS) as found:
        yield found


@pytest.fixture
def joint(supplied: GridSimulator, tmp_path: Path) -> Iterator[Authority]:
    made = Authority(supplied, tmp_path / "authority")
    made.zone = replace(made.zone, approvers=OFFICERS)
    made.vault.gate._approvers = OFFICERS
    yield made
    made.close()


def sign(authority: Authority, person: str) -> None:
    (asked,) = waiting_subjects(authority.zone)
    signed = approval_of(asked.text, key=KEYS[person], person=person)
    record_approval(authority.zone, signed, bearer=person, now=NOW)


def released(authority: Authority, request: Signed) -> tuple[str, str | None]:
    outcome = authority.answer(request)
    return outcome.state, outcome.reason


def test_a_joint_release_waits_for_an_officer_of_each_owner(
    joint: Authority, decrypted: list[str]
) -> None:
    request = joint.load_curve_request(joint.grid.uploads)
    assert released(joint, request) == (WAITING, "approval.missing")
    (asked,) = waiting_subjects(joint.zone)
    suppliers = ReleaseSubject.parse(asked.text).suppliers
    assert sorted(suppliers) == sorted(one.officers for one in TERMS)
    assert all(is_lacking(one, asked.missing) for one in PEOPLE.values())
    approve_all(joint.zone)
    sign(joint, "south")
    (asked,) = waiting_subjects(joint.zone)
    assert asked.missing == [f"supplier:{TERMS[1].officers[0][:16]}"]
    assert released(joint, request) == (WAITING, "approval.missing")
    assert decrypted == []
    sign(joint, "north")
    assert released(joint, request) == (RELEASED, None)
    (certificate,) = joint.certificates
    assert {one.signer for one in certificate.approvals} == set(OFFICERS)


def test_an_officer_of_another_tenant_is_shown_what_wants_that_approval(joint: Authority) -> None:
    upload = max(joint.grid.uploads, key=lambda one: one.roster.manifest.slots)
    released(joint, joint.bill_request([upload]))
    (digest,) = [one.digest for one in waiting_subjects(joint.zone)]
    own = set((upload.roster.manifest.supply or TERMS[0]).officers)
    for keys, count in ((own, 1), (set(PEOPLE) - own, 0), (set(), 0), (None, 1)):
        with read_session(joint.zone.engine) as session:
            rows, _ = read_subjects(
                session, PageAsked(), state="", officers=OFFICERS, now=NOW, keys=keys
            )
        assert len(rows) == count
        if count:
            assert read_subject(joint.zone, digest, now=NOW, keys=keys).digest == digest
        else:
            with pytest.raises(NotFoundError):
                read_subject(joint.zone, digest, now=NOW, keys=keys)


def test_bills_of_one_owner_wait_for_that_one_alone(joint: Authority) -> None:
    upload = max(joint.grid.uploads, key=lambda one: one.roster.manifest.slots)
    request = joint.bill_request([upload])
    released(joint, request)
    approve_all(joint.zone)
    supply = upload.roster.manifest.supply
    assert supply is not None
    name = PEOPLE[supply.officers[0]].person
    sign(joint, name)
    assert released(joint, request) == (RELEASED, None)


def with_minimum(customers: int) -> Policy:
    text = POLICY.text.replace("minimum = 15", f"minimum = {customers}")
    return parse_policy(text.replace(f'name = "{POLICY.name}"', 'name = "own"'))


def test_a_policy_that_is_looser_than_a_suppliers_lets_its_columns_wait() -> None:
    for owner, waits in ((with_minimum(16), True), (POLICY, False), (load_pack("strict"), True)):
        if waits:
            with pytest.raises(GridSecureError) as refused:
                check_supply(POLICY, [SupplyTerms(), SupplyTerms(policy=owner.text)])
            assert refused.value.reason == "policy.supply"
            assert owner.name in refused.value.args[0]
        else:
            check_supply(POLICY, [SupplyTerms(policy=owner.text)])
    with pytest.raises(InputError):
        check_supply(POLICY, [SupplyTerms(policy="none")])


def test_the_checker_has_a_request_wait_that_policy_is_too_loose_for(
    joint: Authority, decrypted: list[str]
) -> None:
    request = joint.bill_request(joint.grid.uploads)
    joint.zone = replace(joint.zone, policy=load_pack("small-demonstration"))
    assert released(joint, request) == (FAILED, "policy.supply")
    assert (decrypted, waiting_subjects(joint.zone)) == ([], [])


def subject_of(joint: Authority, **changes: object) -> str:
    """What the vault is shown, whatever the checker made of it."""
    released(joint, joint.load_curve_request(joint.grid.uploads))
    (asked,) = waiting_subjects(joint.zone)
    return ReleaseSubject.parse(asked.text).model_copy(update=changes).model_dump_json()


def admitted(joint: Authority, text: str, terms: list[SupplyTerms]) -> str | None:
    """How far the vault lets it by the two officers of the policy: the code of its refusal."""
    grounds = [approval_of(text, role=role) for role in APPROVER_ROLES]
    approved = Approved(subject=text, grounds=grounds)
    try:
        joint.vault.gate.open(approved, plan="load-curve").admit_terms(terms)
    except GridSecureError as refused:
        return refused.reason
    return None


@attack(
    "a checker that asks for two owners' columns with the approval of neither",
    rule(
        "The vault has an officer of each supplier sign.",
        "approval.missing",
        cut("gridsecure.key_authority.vault.gate:ReleaseGate.open",
            "suppliers=subject.suppliers,", "suppliers=(),"),
    ),
)  # fmt: skip
def test_the_vault_counts_suppliers_itself(joint: Authority, attacked: Attacked) -> None:
    attacked.ends(admitted(joint, subject_of(joint), TERMS))


@attack(
    "a checker that leaves a supplier out of what officers are shown",
    rule(
        "Rosters are of suppliers that the subject names.",
        "approval.order",
        cut("gridsecure.key_authority.vault.gate:Passage.admit_terms",
            "own not in self.subject.suppliers for own", "False for own"),
    ),
)  # fmt: skip
def test_no_supplier_is_left_out(joint: Authority, attacked: Attacked) -> None:
    attacked.ends(admitted(joint, subject_of(joint, suppliers=[]), TERMS))


@attack(
    "a checker and officers whose policy is looser than what columns were supplied under",
    rule(
        "Columns are told of by no looser policy than their owner's.",
        "policy.supply",
        cut("gridsecure.policy.supply:check_supply", "if _is_looser(policy.text, text):",
            "if False:"),
    ),
)  # fmt: skip
def test_the_vault_compares_policies_itself(joint: Authority, attacked: Attacked) -> None:
    stricter = [SupplyTerms(policy=with_minimum(16).text)]
    attacked.ends(admitted(joint, subject_of(joint, suppliers=[]), stricter))


def test_terms_are_part_of_a_rosters_name_and_none_leave_it_as_it_was(
    supplied: GridSimulator,
) -> None:
    for one in supplied.rosters:
        bare = one.manifest.model_copy(update={"supply": None})
        assert roster_name(bare) != one.manifest.roster_id == roster_name(one.manifest)
