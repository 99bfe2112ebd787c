"""Questions that are answered with noise: charged once, drawn once, and never beside exact ones."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any

import pytest
from sqlmodel import Session, col, delete, select, update

from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import GridSecureError, StorageError
from gridsecure.key_authority.checker import sealed_queries
from gridsecure.key_authority.checker.noise_budgets import charge, check_cost, may_read_values
from gridsecure.key_authority.checker.tables import (
    SCHEMA,
    ReleaseRow,
    SpentNoiseRow,
    ToldMonthRow,
    UsageRow,
)
from gridsecure.key_authority.checker.usage import BOOK, list_done
from gridsecure.plans.noise import NoiseStatement
from gridsecure.plans.quantities import INTERVAL_BOUNDS_WH
from gridsecure.policy.language import Policy
from gridsecure.store.database import open_database, read_session, write_session
from gridsecure.store.schema import migrate
from gridsecure.store.usage import ANALYSTS
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import Authority
from tests.grid_simulator import NOW
from tests.held_policy import POLICY
from tests.key_authority.asked_queries import Asked, Asker, question_of
from tests.key_authority.test_budgets import subject
from tests.key_authority.test_policies import hold, policy_of
from tests.key_authority.test_sealed_queries import FUTIAN, HOMES, plain
from tests.processes_beside import BESIDE

CLASSES = {"household", "shop", "factory"}


def noisy(epsilon: str = "0.5", budget: str = "1") -> Policy:
    """The tests' policy, under which analysts are told numbers with noise."""
    terms = f'[private]\nepsilon = "{epsilon}"\nbudget = "{budget}"\n\n[[sources]]'
    version = f"version = {POLICY.version}"
    return policy_of((version, f"{version}\ncustomer_points = 2"), ("[[sources]]", terms))


@pytest.fixture
def asker(authority: Authority) -> Asker:
    hold(authority, noisy())
    return Asker(authority)


def private_question(where: dict = FUTIAN, *, epsilon: str = "0.5", every: str = "day") -> str:
    return question_of(where=where, every=every, private={"epsilon": epsilon})


def rows_of(asker: Asker, table: type) -> list[Any]:
    with read_session(asker.authority.zone.engine) as session:
        return list(session.exec(select(table)).all())


def noise_of(asker: Asker, asked: Asked) -> NoiseStatement:
    answer = asker.answer(asked)
    assert answer.groups is not None
    assert answer.groups.noise is not None
    return answer.groups.noise


def how_it_ended(asker: Asker, asked: Asked) -> str:
    """As the asker is told; else why it waits."""
    outcome = asker.answered(asked)
    if outcome.state == "released":
        return ""
    return asker.answer(asked).reason if outcome.reason == "release.query" else outcome.reason


# --- what is told --------------------------------------------------------------------------------


def test_totals_are_told_with_the_noise_that_is_stated(asker):
    asked = asker.ask(private_question())
    assert how_it_ended(asker, asked) == ""
    said, told = noise_of(asker, asked), asker.totals(asked)
    intervals = len(asker.readings()["start"].unique())
    assert said.sensitivity == intervals * INTERVAL_BOUNDS_WH["household"], "a home has one point"
    assert Fraction(said.sensitivity, said.scale) < Fraction(1, 2)
    assert (said.epsilon, said.delta, said.confidence) == ("0.5", "0", "0.95")
    homes = "zone == 'futian' and customer_class == 'household'"
    exact = {((), start): wh for (_, start), wh in plain(asker, homes, ["zone", "day"]).items()}
    assert told.keys() == exact.keys()
    far = [abs(told[key] - wh) for key, wh in exact.items()]
    assert any(far), "a draw of exactly nothing, twice, comes once in ten million million runs"
    assert all(one < 40 * said.scale for one in far)
    assert {
        (row.customer_class, row.month, row.epsilon) for row in rows_of(asker, SpentNoiseRow)
    } == {(name, "2026-07", 500_000) for name in CLASSES}
    (certificate,) = asker.authority.certificates
    assert '"epsilon":"0.5"' in certificate.subject, "officers signed it"
    assert said.mechanism not in certificate.model_dump_json(), "the scale tells how long"


def test_the_same_question_again_has_the_same_noise_and_costs_nothing(asker):
    first = asker.ask(private_question())
    again = asker.ask(private_question(), reader=generate_private_key())
    assert [how_it_ended(asker, one) for one in (first, again)] == ["", ""]
    assert asker.totals(again) == asker.totals(first)
    assert noise_of(asker, again) == noise_of(asker, first)
    assert len(rows_of(asker, SpentNoiseRow)) == len(CLASSES)


def test_customers_with_several_meter_points_take_more_noise(asker):
    """Of several zones nobody says that two meter points are of two customers."""
    asked = asker.ask(private_question(HOMES))
    assert how_it_ended(asker, asked) == ""
    intervals = len(asker.readings()["start"].unique())
    most = 2 * intervals * INTERVAL_BOUNDS_WH["household"]
    assert noise_of(asker, asked).sensitivity == most


# --- what is metered -----------------------------------------------------------------------------


def metered(asker: Asker) -> dict[str, int]:
    zone = asker.authority.zone
    with read_session(zone.engine) as session:
        assert list(BOOK.find_differences(session, list_done(session))) == []
        used = BOOK.read_month(session, f"{NOW:%Y-%m}")
    return {one.measure: one.amount for one in used if one.party == ANALYSTS}


def test_epsilon_is_metered_by_class_to_the_millionth_and_whatever_was_planted_is_found(asker):
    """A refused and a repeated question cost nothing; one that failed once it was charged did."""
    for every, epsilon in (("day", "0.5"), ("day", "0.5"), ("hour", "0.000001")):
        assert how_it_ended(asker, asker.ask(private_question(every=every, epsilon=epsilon))) == ""
    hold(asker.authority, noisy(budget="0.9"))
    assert how_it_ended(asker, asker.ask(private_question(every="interval"))) == "query.budget"
    spent = Counter[str]()
    for row in rows_of(asker, SpentNoiseRow):
        spent[row.customer_class] += row.epsilon
    assert spent == dict.fromkeys(CLASSES, 500_001)
    found = metered(asker)
    assert found.pop("noisy_questions") == 2
    assert {
        name: amount for name, amount in found.items() if name.startswith("epsilon_millionths/")
    } == {f"epsilon_millionths/{name}": amount for name, amount in spent.items()}
    planted: dict[str, Any] = {
        "figures": update(SpentNoiseRow).values(epsilon=SpentNoiseRow.epsilon + 1),
        "not-in-ledger": delete(SpentNoiseRow),
        "not-in-log": update(SpentNoiseRow).values(
            request_id="planted/" + col(SpentNoiseRow.request_id)
        ),
        "total": update(UsageRow).values(amount=UsageRow.amount + 1),
    }
    for kind, change in planted.items():
        with Session(asker.authority.zone.engine) as session:  # never committed
            session.exec(change)
            kinds = {one.kind for one in BOOK.find_differences(session, list_done(session))}
        assert kind in kinds


# --- budgets -------------------------------------------------------------------------------------


def test_a_spent_budget_is_told_with_what_is_left_and_never_comes_back(asker):
    asked = [asker.ask(private_question(every=every)) for every in ("day", "hour", "interval")]
    assert how_it_ended(asker, asked[0]) == ""
    hold(asker.authority, noisy(budget="0.9"))
    assert how_it_ended(asker, asked[1]) == "query.budget"
    assert "0.4 is left" in asker.answer(asked[1]).remedy
    less = asker.ask(private_question(every="hour", epsilon="0.4"))
    assert how_it_ended(asker, less) == ""
    assert how_it_ended(asker, asked[2]) == "query.budget"


@pytest.mark.parametrize("dies", ["before", "after"])
def test_a_killed_round_stays_charged_and_its_noise_is_drawn_once(asker, monkeypatch, dies):
    """Killed before the vault answers, or before the answer is kept: asked again it is the same."""
    asked, real, seen = asker.ask(private_question()), sealed_queries._order, list[Any]()

    def killed(*given: Any) -> Any:
        if dies == "after":
            seen.append(real(*given))
        raise StorageError("the process was killed")

    monkeypatch.setattr(sealed_queries, "_order", killed)
    assert asker.answered(asked).state == "failed"
    monkeypatch.setattr(sealed_queries, "_order", real)
    assert len(rows_of(asker, SpentNoiseRow)) == len(CLASSES), "charged, and not answered"
    assert how_it_ended(asker, asked) == ""
    assert len(rows_of(asker, SpentNoiseRow)) == len(CLASSES)
    budgets = asker.authority.vault.gate.budgets
    assert [one.epsilon for one in budgets.kept.noise] == [500_000]
    if seen:
        assert list(asker.totals(asked).values()) == [int(one.value) for one in seen[0].cells]


def test_an_answer_is_kept_while_the_vaults_key_cannot_be_split_anew(asker, monkeypatch):
    """Its name would go to the folder that is given up, and the noise be drawn a second time."""
    vault, held = asker.authority.vault, list[bool]()
    real = vault.gate.budgets.name_answer

    def named(*given: str) -> None:
        held.append(vault._lock.locked())
        real(*given)

    monkeypatch.setattr(vault.gate.budgets, "name_answer", named)
    assert how_it_ended(asker, asker.ask(private_question())) == ""
    assert held == [True]


def test_an_answer_that_is_lost_is_not_drawn_anew(asker, monkeypatch):
    asked, real = asker.ask(private_question()), sealed_queries._order

    def killed(*given: Any) -> Any:
        real(*given)
        raise StorageError("the process was killed")

    monkeypatch.setattr(sealed_queries, "_order", killed)
    asker.answered(asked)
    monkeypatch.setattr(sealed_queries, "_order", real)
    (kept,) = asker.authority.folder.rglob("*.noisy-answer")
    kept.write_bytes(kept.read_bytes().replace(b'"value":"', b'"value":"1', 1))
    assert how_it_ended(asker, asked) == "vault.answer"


# --- exact or with noise -------------------------------------------------------------------------


def test_what_policy_tells_otherwise_is_refused_to_the_asker(asker):
    assert (
        how_it_ended(asker, asker.ask(question_of(where=FUTIAN, every="day"))) == "release.private"
    )
    assert how_it_ended(asker, asker.ask(private_question(epsilon="0.6"))) == "release.private"
    hold(asker.authority, POLICY)
    assert how_it_ended(asker, asker.ask(private_question())) == "release.private"
    assert rows_of(asker, SpentNoiseRow) == []


def test_what_staff_is_told_exactly_is_not_for_analysts_where_policy_has_noise(asker):
    """By name as little as by a grant, also when policy has exact numbers for them again."""
    authority = asker.authority
    uploads = authority.grid.uploads
    assert authority.answer(authority.bill_request(uploads)).state == "released"
    (release,) = rows_of(asker, ReleaseRow)
    assert rows_of(asker, ToldMonthRow) == [], "analysts were told nothing"
    assert not may_read_values(authority.zone, release.release_id)
    asked = asker.ask(private_question())
    assert how_it_ended(asker, asked) == ""
    assert [(row.month, row.told) for row in rows_of(asker, ToldMonthRow)] == [
        ("2026-07", "noisily")
    ]
    hold(authority, POLICY)
    assert not may_read_values(authority.zone, release.release_id)


def test_the_values_of_a_month_with_exact_numbers_are_for_analysts(authority):
    uploads = authority.grid.uploads
    assert authority.answer(authority.bill_request(uploads)).state == "released"
    asker = Asker(authority)
    (release,) = rows_of(asker, ReleaseRow)
    assert may_read_values(authority.zone, release.release_id)
    hold(authority, noisy())
    assert not may_read_values(authority.zone, release.release_id), "nor while policy has noise"


ONE_KIND = rule(
    "Of a month's readings analysts are told exact numbers, or numbers with noise.",
    "release.private",
    cut(
        "gridsecure.key_authority.checker.noise_budgets:_check_told",
        "row is not None and row.told != wanted",
        "False",
    ),
    cut("gridsecure.key_authority.checker.noise_budgets:_mark", "in months", "in ()"),
)
VAULT_KNOWS = rule(
    "The vault remembers of which months it told noise.",
    "release.private",
    cut(
        "gridsecure.key_authority.vault.noise_budgets:charge_noise",
        "asked and not noisy.isdisjoint(",
        "False and noisy.isdisjoint(",
    ),
)


@attack("an analyst asks for the noise of a cell that was told exactly", ONE_KIND)
def test_noise_is_not_told_beside_exact_numbers(authority: Authority, attacked: Attacked) -> None:
    asker = Asker(authority)
    assert how_it_ended(asker, asker.ask(question_of(where=FUTIAN, every="day"))) == ""
    hold(authority, noisy())
    attacked.ends(how_it_ended(asker, asker.ask(private_question())))


@attack(
    "an analyst asks exactly for a cell that was told with noise, and knows the noise",
    ONE_KIND,
    VAULT_KNOWS,
)
def test_exact_numbers_are_not_told_beside_noise(asker: Asker, attacked: Attacked) -> None:
    assert how_it_ended(asker, asker.ask(private_question())) == ""
    hold(asker.authority, POLICY)
    attacked.ends(how_it_ended(asker, asker.ask(question_of(where=FUTIAN, every="day"))))


# --- attacks on the noise ------------------------------------------------------------------------

CHECKER_COUNTS_NOT = cut(
    "gridsecure.key_authority.checker.noise_budgets:_check_left", "cost.epsilon > least", "False"
)


@attack(
    "a checker has one question decrypted again and again, and averages",
    rule(
        "What an approved question was answered with noise, it is answered again.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.noisy_totals:_tell",
            "kept is not None",
            "False",
        ),
    ),
)
def test_an_order_again_draws_nothing(
    asker: Asker, attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, drawn = sealed_queries._order, list[Any]()

    def twice(*given: Any) -> Any:
        drawn.extend(real(*given) for _ in range(2))
        return drawn[-1]

    monkeypatch.setattr(sealed_queries, "_order", twice)
    assert how_it_ended(asker, asker.ask(private_question())) == ""
    first, second = ([cell.value for cell in one.cells] for one in drawn)
    attacked.ends(WITHHELD if first == second else None)


@attack(
    "a checker that was taken over orders more questions with noise than there is a budget for",
    rule(
        "The vault counts for itself what noise cost, and refuses what costs more.",
        "query.budget",
        cut(
            "gridsecure.key_authority.vault.noise_budgets:charge_noise",
            "own + cost.epsilon > budget",
            "False",
        ),
    ),
)
def test_a_vault_counts_for_itself(asker: Asker, attacked: Attacked) -> None:
    ended = []
    with CHECKER_COUNTS_NOT.applied():
        for every in ("day", "hour", "interval"):
            ended.append(how_it_ended(asker, asker.ask(private_question(every=every))))
    assert ended[:2] == ["", ""]
    attacked.ends(ended[2])


# --- the last of a budget ------------------------------------------------------------------------

POLICY_OF_RACE = noisy(budget="0.5")
JULY = {"start": "2026-07-01T00:00:00+08:00", "end": "2026-08-01T00:00:00+08:00"}
APART = cut(
    "gridsecure.key_authority.checker.noise_budgets:charge",
    "    check_cost(session, policy, subject)\n",
    "",
)


def spend(url: str, number: int, *, is_apart: bool, parent: Connection) -> None:
    """Charge a question as a checker of its own does: it looks first, and both have looked."""
    engine = open_database(url)
    asked = subject(number, plan="query", purpose="research", epsilon="0.5", **JULY)
    with APART.applied() if is_apart else nullcontext():
        with read_session(engine) as session:
            check_cost(session, POLICY_OF_RACE, asked)
        parent.send("looked")
        parent.recv()
        try:
            with write_session(engine) as session:
                charge(session, POLICY_OF_RACE, asked, at=NOW)
        except GridSecureError as refused:
            parent.send(refused.reason)
        else:
            parent.send("")
    engine.dispose()


@attack(
    "two processes race for the last of a month's budget of noise",
    rule("What is left is looked at in the transaction that charges it.", "query.budget", APART),
)
def test_two_questions_spend_the_last_at_once(database_url: str, attacked: Attacked) -> None:
    url, is_apart = database_url, attacked.goes_through
    engine = open_database(url)
    migrate(engine, SCHEMA)
    pipes, running = [], []
    for number in (1, 2):
        own, theirs = BESIDE.Pipe()
        given = {"is_apart": is_apart, "parent": theirs}
        running.append(BESIDE.Process(target=spend, args=(url, number), kwargs=given))
        running[-1].start()
        pipes.append(own)
    assert [pipe.recv() for pipe in pipes] == ["looked"] * 2
    for pipe in pipes:
        pipe.send("go")
    answers = sorted(pipe.recv() for pipe in pipes)
    for process in running:
        process.join()
    engine.dispose()
    assert answers[0] == "", "one is answered in any case"
    attacked.ends(answers[1])
