"""How many releases of a month policy permits, counted where they are certified."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from gridsecure.approvals import AskedCell, ReleaseSubject
from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker import answering, releases
from gridsecure.key_authority.checker.answering import FAILED, RELEASED
from gridsecure.key_authority.checker.budgets import check_budget, spend_budget
from gridsecure.key_authority.checker.tables import SCHEMA, SpentBudgetRow
from gridsecure.key_authority.vault import spent_budgets
from gridsecure.key_authority.vault.spent_budgets import FILE
from gridsecure.plans.cells import roster_places
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.schema import migrate
from tests.attacks import Attacked, attack, cut, rule
from tests.authority_simulator import SEED, Authority, answer_approved
from tests.custodians import NAMES, keys_of
from tests.grid_simulator import NOW, GridUpload
from tests.held_policy import POLICY
from tests.key_authority.test_policies import hold
from tests.key_authority.test_vault_lock import Room, split_anew

SEEDS = (SEED, SEED[::-1])
RULE = POLICY.text[POLICY.text.index("[[rules]]") :]


def budgeted(budget: int, *, offset: str = "+00:00") -> Policy:
    """The tests' policy with a budget of everything but bills."""
    bills = RULE.replace('"everything"', '"bills"')
    start = bills.index("purposes = [")
    bills = f'{bills[:start]}purposes = ["billing"]{bills[bills.index("]", start) + 1 :]}'
    rest = RULE.replace('"billing", ', "").replace("minimum =", f"budget = {budget}\nminimum =")
    text = POLICY.text.replace(RULE, f"{bills}\n{rest}")
    return parse_policy(text.replace("00:00:00+00:00", f"00:00:00{offset}"))


def subject(number: int, *, classes: tuple[str, ...] = ("household",), **says: object):
    said = ReleaseSubject(
        request_id=f"{number:032x}", plan="load-curve", start="", end="", purpose="operations",
        requested_by="clerk", resolutions=["interval"], measures=["energy_wh"],
        cells=[AskedCell(zone="futian", customer_class=one, meter_points=9) for one in classes],
        transcripts="2" * 64, outputs=[], rosters=[], tariffs=[], policy=POLICY.digest,
        policy_name="", policy_version=1, needed=[], standing=[],
    )  # fmt: skip
    return said.model_copy(update=says)


@pytest.fixture
def engine(tmp_path: Path):
    made = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    migrate(made, SCHEMA)
    yield made
    made.dispose()


def spend(engine, policy: Policy, said: ReleaseSubject, at: datetime = NOW) -> str:
    """Count a release; the reason code of a refusal, or nothing."""
    try:
        with write_session(engine) as session:
            spend_budget(session, policy, said, at=at)
    except GridSecureError as refused:
        return refused.reason
    return ""


def test_a_budget_is_of_a_measure_a_resolution_a_class_and_a_purpose(engine) -> None:
    policy = budgeted(2)
    assert [spend(engine, policy, subject(n)) for n in range(3)] == ["", "", "policy.budget"]
    others = [
        {"resolutions": ["daily"]}, {"purpose": "tariff-design"}, {"purpose": "research"},
        {"classes": ("shop",)},
    ]  # fmt: skip
    for number, other in enumerate(others, 10):
        assert spend(engine, policy, subject(number, **other)) == "", other
    # One class whose budget is spent holds up the whole, of which nothing is counted.
    both = subject(20, classes=("factory", "household"))
    assert spend(engine, policy, both) == "policy.budget"
    with read_session(engine) as session:
        assert not session.exec(select(SpentBudgetRow).filter_by(customer_class="factory")).all()
    # Bills have no budget.
    billed = {"purpose": "billing", "resolutions": ["monthly"], "plan": "bill"}
    assert {spend(engine, policy, subject(n, **billed)) for n in range(30, 35)} == {""}


@pytest.mark.parametrize(("offset", "hours"), [("+00:00", 0), ("+08:00", -8)])
def test_a_new_month_has_a_new_budget_on_the_policys_clock(engine, offset, hours) -> None:
    policy = budgeted(1, offset=offset)
    midnight = datetime(2026, 12, 1, tzinfo=UTC) + timedelta(hours=hours)
    second = timedelta(seconds=1)
    assert spend(engine, policy, subject(1), midnight - second) == ""
    assert spend(engine, policy, subject(2), midnight - second) == "policy.budget"
    assert spend(engine, policy, subject(2), midnight) == ""


def test_a_smaller_budget_counts_what_was_told_under_the_larger(engine) -> None:
    for number in range(3):
        assert spend(engine, budgeted(5), subject(number)) == ""
    assert spend(engine, budgeted(3), subject(9)) == "policy.budget"
    assert spend(engine, budgeted(4), subject(9)) == ""


RACER = """
import sys
from pathlib import Path
from time import sleep
from gridsecure.store.database import open_database
from tests.key_authority.test_budgets import budgeted, spend, subject
folder, number = Path(sys.argv[1]), int(sys.argv[2])
engine, policy = open_database(f"sqlite:///{folder / 'zone.db'}"), budgeted(5)
(folder / f"ready-{number}").touch()
while not (folder / "go").exists():
    sleep(0.001)
print(sum(spend(engine, policy, subject(100 * number + n)) == "" for n in range(20)))
"""


def test_two_processes_spend_no_more_than_there_is(engine, tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), str(number)],
            cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    try:
        while not all((tmp_path / f"ready-{number}").exists() for number in (1, 2)):
            assert all(racer.poll() is None for racer in racers)
        (tmp_path / "go").touch()
        spent = [int(racer.communicate(timeout=120)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert sum(spent) == 5
    with read_session(engine) as session:
        assert len(session.exec(select(SpentBudgetRow)).all()) == 5


def spend_all(authority: Authority, uploads: list[GridUpload], policy: Policy) -> None:
    """As another release about the same classes."""
    classes = {place[1] for one in uploads for place in roster_places(one.roster.manifest)}
    said = subject(7, classes=tuple(classes))
    assert spend(authority.zone.engine, policy, said) == ""


def test_a_load_curve_over_budget_waits_for_the_next_month(
    authority: Authority, uploads: list[GridUpload], decrypted: list[str]
) -> None:
    policy = budgeted(1)
    hold(authority, policy)
    spend_all(authority, uploads, policy)
    request = authority.load_curve_request(uploads)
    for _ in range(2):
        outcome = authority.answer(request)
        assert (outcome.state, outcome.reason) == (FAILED, "policy.budget")
    assert decrypted == []
    assert authority.answer(authority.bill_request(uploads)).state == RELEASED
    later = NOW + timedelta(days=31)
    authority.vault.gate._clock = lambda: later
    for _ in range(2):  # answered once, and counted once
        outcome = answer_approved(authority.zone, request, view=authority.view, clock=lambda: later)
        assert (outcome.state, outcome.reason) == (RELEASED, None)
    with read_session(authority.zone.engine) as session:
        rows = session.exec(select(SpentBudgetRow)).all()
    assert {row.month for row in rows} == {f"{NOW:%Y-%m}", f"{later:%Y-%m}"}
    assert len({row.release_id for row in rows}) == 2


@attack(
    "a month's budget, spent twice by two requests at once",
    rule(
        "A release is counted in the transaction that keeps its certificate.",
        "policy.budget",
        cut(
            "gridsecure.key_authority.checker.budgets:spend_budget",
            "check_budget(session, policy, subject, at=at)",
            "pass",
        ),
    ),
)
def test_of_two_requests_at_once_the_second_is_certified_no_more(
    authority: Authority, uploads: list[GridUpload], attacked: Attacked
) -> None:
    """Another process spends the budget while this one's vault is at work."""
    policy = budgeted(1)
    hold(authority, policy)
    request = authority.load_curve_request(uploads)

    def meanwhile(*given: object) -> object:
        spend_all(authority, uploads, policy)
        return authority.vault.release_totals(*given)

    authority.zone = replace(authority.zone, vault=SpyDoor(authority.vault, meanwhile))
    outcome = authority.answer(request)
    attacked.ends(outcome.reason)
    assert outcome.state == (RELEASED if attacked.goes_through else FAILED)
    assert len(authority.certificates) == attacked.goes_through


class SpyDoor:
    """A vault beside which something else happens."""

    def __init__(self, vault: object, release_totals: object) -> None:
        self._vault, self.release_totals = vault, release_totals

    def __getattr__(self, name: str) -> object:
        return getattr(self._vault, name)


def test_after_its_end_a_policy_lets_requests_wait(
    authority: Authority, uploads: list[GridUpload], decrypted: list[str]
) -> None:
    text = POLICY.text.replace("title =", f"expires = {NOW.isoformat()}\ntitle =", 1)
    hold(authority, parse_policy(text))
    request = authority.bill_request(uploads)
    outcome = authority.answer(request)
    assert (outcome.state, outcome.reason) == (FAILED, "policy.expired")
    assert decrypted == []
    hold(authority, POLICY)
    assert authority.answer(request).state == RELEASED


def test_budgets_are_asked_for_before_anything_is_proven(engine) -> None:
    policy = budgeted(1)
    assert spend(engine, policy, subject(1)) == ""
    with read_session(engine) as session, pytest.raises(GridSecureError) as refused:
        check_budget(session, policy, subject(2), at=NOW)
    assert refused.value.reason == "policy.budget"


@attack(
    "more releases of a month than its budget, by a checker that counts none",
    rule(
        "The vault counts what it is ordered to decrypt, whatever the checker counts.",
        "policy.budget",
        cut(
            "gridsecure.key_authority.vault.spent_budgets:SpentBudgets.spend",
            "len(subjects) >= budget",
            "False",
        ),
    ),
)
def test_a_checker_that_counts_nothing_exceeds_no_budget(
    authority: Authority,
    uploads: list[GridUpload],
    attacked: Attacked,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Officers approve whatever it shows them, as they do under standing authorisations."""
    hold(authority, budgeted(1))
    monkeypatch.setattr(answering, "check_budget", lambda *_args, **_named: None)
    monkeypatch.setattr(releases, "spend_budget", lambda *_args, **_named: None)
    days = [
        authority.load_curve_transcript(uploads, day=day, seed=seed)
        for day, seed in enumerate(SEEDS)
    ]
    first, second = (
        authority.request([one], seeds=[seed]) for one, seed in zip(days, SEEDS, strict=True)
    )
    assert authority.answer(first).state == RELEASED
    outcome = authority.answer(second)
    attacked.ends(outcome.reason)
    assert outcome.state == (RELEASED if attacked.goes_through else FAILED)
    assert len(authority.certificates) == 1 + attacked.goes_through


# --- the vault's own count -----------------------------------------------------------------------


def count(room: Room, number: int, *, at: datetime = NOW, budget: int = 1) -> str:
    """Have a vault count a release; the reason code of a refusal, or nothing."""
    said = subject(number)
    try:
        room.vault.gate.budgets.spend(budgeted(budget), said, digest=f"{number:064x}", at=at)
    except GridSecureError as refused:
        return refused.reason
    return ""


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_a_vault_counts_a_release_once_and_remembers_it_after_a_kill(room: Room) -> None:
    """What was counted stays so where nothing came of it, and the same order passes again."""
    assert [count(room, 1), count(room, 1), count(room, 2)] == ["", "", "policy.budget"]
    room.start()
    assert [count(room, 2), count(room, 1)] == ["policy.budget", ""]
    assert [count(room, 2, budget=2), count(room, 3, budget=2)] == ["", "policy.budget"]


def test_a_vaults_month_begins_once(room: Room) -> None:
    later = NOW + timedelta(days=31)
    assert [count(room, 1), count(room, 2, at=later)] == ["", ""]
    room.start()
    # A clock that is set back brings no budget back.
    assert [count(room, 3, at=NOW), count(room, 4, at=later)] == ["policy.budget"] * 2


def test_a_splitting_carries_what_was_counted(room: Room) -> None:
    assert count(room, 1) == ""
    (keys_of(room.folder) / FILE).unlink()  # whatever somebody makes of the file
    split_anew(room, *NAMES)
    assert count(room, 2) == "policy.budget"
    room.start()
    assert count(room, 2) == "policy.budget"


def test_a_count_that_cannot_be_kept_lets_nothing_pass(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(spent_budgets, "replace_file", full)
        assert count(room, 1) == "storage.failed"
        assert count(room, 1) == "storage.failed"
    assert [count(room, 2), count(room, 1)] == ["", "policy.budget"]


def test_a_count_that_somebody_else_wrote_stops_the_vault(room: Room) -> None:
    assert count(room, 1) == ""
    path = keys_of(room.folder) / FILE
    path.write_text(path.read_text().replace(f"{1:064x}", f"{2:064x}"))
    assert room.reason(room.start) == "policy.kept"
