"""The road from a record to a settlement, its rules, and that nothing crosses on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, column, event, table
from sqlmodel import Session, col, select, update

from gridsecure.circulation.agreed_releases import StandingAgreement
from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.kinds import KINDS
from gridsecure.circulation.organisations import OrganisationRecord
from gridsecure.circulation.products import ProductStep
from gridsecure.circulation.rights import Withdrawal
from gridsecure.circulation.trade import Need
from gridsecure.circulation.uses import SettlementStatement
from gridsecure.errors import StorageError
from gridsecure.market import metering, public_pages, standing
from gridsecure.market.intake import Sender, take_in
from gridsecure.market.tables import SCHEMA, CounterRow, DocumentRow, PolicyRow, SignatureRow
from gridsecure.market.usage import BOOK, find_statement_differences, list_done
from gridsecure.messages import Signed, open_message
from gridsecure.policy.language import parse_policy
from gridsecure.policy.packs import load_pack
from gridsecure.released_values import detach_values, sign_certificate
from gridsecure.store.database import (
    open_database,
    read_session,
    write_session,
    write_transaction,
)
from gridsecure.store.evidence import EvidenceRow
from gridsecure.store.log_tree import verify_log
from gridsecure.store.schema import migrate
from tests.approving import signed_policy
from tests.attacks import Attacked, attack, cut, rule
from tests.grid_simulator import NOW
from tests.market import market_world as world
from tests.market.market_world import Market, key_of, market_at
from tests.store.schema_checks import check_schema, differences

MONTH = f"{NOW:%Y-%m}"
PRIVATE_TERMS = '[private]\nepsilon = "0.5"\nbudget = "2"\n'
AFTER = timedelta(days=31)


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    with market_at(tmp_path) as found:
        yield found


@pytest.fixture
def published(market: Market) -> Market:
    """A market with a published product."""
    market.enter()
    market.publish()
    return market


@pytest.fixture
def agreed(published: Market) -> Market:
    """A market with an agreement."""
    published.agree()
    return published


def withdrawal(of: str, person: str) -> Signed:
    return world.sign(person, Withdrawal(**world.by(person), about=of))


def test_an_empty_database_comes_to_these_tables(database_url: str) -> None:
    check_schema(database_url, SCHEMA)


def test_offers_of_before_get_the_day_that_they_end(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'zone.db'}")
    with write_transaction(engine) as connection:
        EvidenceRow.metadata.create_all(connection)
    scripts = shutil.copytree(SCHEMA.scripts, tmp_path / "scripts")
    (scripts / "r0002_ends.py").unlink()
    migrate(engine, replace(SCHEMA, head="market_0001", scripts=scripts))
    wanted = {"id", "message", "digest", "kind", "name", "organisation", "counterpart"}
    wanted |= {"about", "month", "state", "at"}
    with write_transaction(engine) as connection:
        for number, said in enumerate((world.need(), world.dataset()), 1):
            row = dict.fromkeys(wanted, str(number)) | {"id": number, "kind": said.body_kind}
            row |= {"message": said.model_dump_json(), "at": NOW.isoformat()}
            connection.execute(table("document", *map(column, row)).insert().values(row))
    migrate(engine, SCHEMA)
    with read_session(engine) as session:
        need, dataset = session.exec(select(DocumentRow.until).order_by(DocumentRow.id))
    assert (need, dataset) == (datetime.fromisoformat(world.LATER), None)
    engine.dispose()


def test_the_migration_makes_the_same_tables(database_url: str) -> None:
    engine = open_database(database_url)
    with write_transaction(engine) as connection:
        EvidenceRow.metadata.create_all(connection)
    migrate(engine, SCHEMA)
    assert differences(engine, SCHEMA) == []
    engine.dispose()


def test_the_whole_road_ends_with_a_statement_to_the_fen(agreed: Market) -> None:
    made, agreement = agreed.digests["design"], agreed.digests["agreement"]
    assert agreed.state("agreement", "bank-2") == "concluded"
    signed = agreed.get(f"/documents/{agreement}", "bank-1").json()["signed"]
    assert [Signed(**one).digest for one in signed] == [agreement, agreement]
    assert {one["signer"] for one in signed} == {
        key_of(person).public_key.thumbprint for person in ("exchange-1", "bank-1")
    }
    for number, reporter in ((1, "bank-1"), (2, "bank-2")):
        agreed.take(f"use {number}", world.use(agreement, reporter, number=number))
    assert agreed.settle(MONTH).json()["reason"] == "settlement.month"
    agreed.clock.advance(days=AFTER.days)
    answer = agreed.settle(MONTH)
    assert answer.json() == agreed.settle(MONTH, "exchange-1").json()
    (envelope,) = (Signed(**one) for one in answer.json()["signed"])
    key = agreed.app.state.market.zone.signing_key.public_key
    said = open_message(envelope, expect=SettlementStatement, trusted={key.thumbprint: key})
    assert [line.price_fen for line in said.lines] == [world.PRICE, world.PRICE]
    assert (said.total_fen, said.provider, said.consumer) == (2 * world.PRICE, "exchange", "bank")
    bundle = "5" * 64
    step = world.step(
        REGISTRAR, "register", of=made, after=agreed.digests["publish"], evidence=bundle
    )
    agreed.take("register", step)
    assert agreed.state("design", "rival-1") == "registered"
    used = {
        (one["party"], one["measure"]): one["amount"]
        for one in agreed.get(f"/usage?month={MONTH}", "bureau-1").json()["used"]
    }
    assert used["bank", "metered-uses"] == 2
    assert used["bank", "fen"] == said.total_fen
    assert used["exchange", "agreements"] == 1
    with read_session(agreed.app.state.market.zone.engine) as session:
        assert list(BOOK.find_differences(session, list_done(session))) == []
        assert verify_log(session) > 15


def test_a_use_is_counted_once_however_it_is_reported(agreed: Market) -> None:
    agreement = agreed.digests["agreement"]
    first = agreed.take("use", world.use(agreement))
    again = agreed.bring(world.use(agreement, "exchange-1"))
    assert (again.status_code, again.json()["digest"]) == (200, first)
    with read_session(agreed.app.state.market.zone.engine) as session:
        counted = {row.name: row.amount for row in session.exec(select(CounterRow))}
    assert counted == {f"agreement/{agreement}": 1, "dataset/load": 1}
    for name, readers in (("agreement", "bank-1 bureau-1"), ("dataset", "grid-1 bureau-1")):
        path = f"/documents/{agreed.digests[name]}"
        assert [agreed.get(path, one).json()["uses"] for one in readers.split()] == [1, 1]
    path = f"/documents/{agreed.digests['dataset']}"
    assert agreed.get(path, "rival-1").json()["uses"] is None
    for changes, reason in (
        ({"purpose": "billing"}, "use.purpose"),
        ({"policy": "6" * 64}, "use.policy"),
        ({"released_at": (NOW - timedelta(days=2)).isoformat()}, "use.period"),
    ):
        assert agreed.refusal(world.use(agreement, number=7, **changes)) == reason
    agreed.take("use 2", world.use(agreement, number=2))
    assert agreed.refusal(world.use(agreement, number=3)) == "use.agreed"
    forged = world.use(agreement, number=3)
    body = json.loads(forged.body)
    body["certificate"]["body"] = body["certificate"]["body"].replace("operations", "operationz")
    said = KINDS["metered-use"].parse(json.dumps(body))
    answer = agreed.bring(world.sign("bank-1", said))
    assert (answer.status_code, answer.json()["reason"]) == (401, "authenticity.refused")


def test_a_use_is_of_the_consumers_own_release(agreed: Market) -> None:
    agreement = agreed.digests["agreement"]
    for changes, reason in (
        ({"requested_by": "rival-1"}, "use.requester"),
        ({"requested_by": "clerk"}, "use.requester"),
        ({"cells": [world.cell("baoan")]}, "use.zone"),
        ({"cells": [world.cell(members=2)]}, "release.unsuppressed"),
    ):
        assert agreed.refusal(world.use(agreement, **changes)) == reason
    agreed.take("without the second", world.record("bank", number=2, people=1))
    gone = world.use(agreement, requested_by="bank-2")
    assert agreed.refusal(gone) == "use.requester"
    last = agreed.digests["publish"]
    end = world.step("workshop-1", "withdraw", of=agreed.digests["design"], after=last)
    agreed.take("no product", end)
    assert agreed.refusal(world.use(agreement)) == "product.order"


def test_a_use_at_the_turn_of_a_month_is_settled_once(
    agreed: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One use comes between the first look at a month and its statement, one after that."""
    agreement, zone = agreed.digests["agreement"], agreed.app.state.market.zone
    before, sender = NOW, Sender("bank-1")
    late = [world.use(agreement, number=number) for number in (1, 2)]

    @contextmanager
    def after_a_use(engine: Engine) -> Iterator[Session]:
        take_in(zone, late[0], sender=sender, now=before)
        with write_session(engine) as session:
            yield session

    agreed.clock.advance(days=AFTER.days)
    with monkeypatch.context() as patch:
        patch.setattr(metering, "write_session", after_a_use)
        first = agreed.settle(MONTH)
    assert take_in(zone, late[1], sender=sender, now=before).month > MONTH
    agreed.clock.advance(days=AFTER.days)
    following = take_in(zone, late[1], sender=sender, now=before).month
    second = agreed.settle(following)
    bodies = [told.json()["signed"][0]["body"] for told in (first, second, agreed.settle(MONTH))]
    statements = [SettlementStatement.parse(body) for body in bodies]
    found = [[line.release_id for line in one.lines] for one in statements]
    assert found == [[f"{1:032x}"], [f"{2:032x}"], [f"{1:032x}"]]
    for at in (MONTH, following):  # who bills by the ledger bills the same months
        told = agreed.get(f"/usage?month={at}", "bank-1").json()["used"]
        assert {one["amount"] for one in told if one["measure"] == "fen"} == {world.PRICE}
    with write_session(zone.engine) as session:
        assert list(BOOK.find_differences(session, list_done(session))) == []
        assert list(find_statement_differences(session)) == []
        moved = update(DocumentRow).where(col(DocumentRow.name) == f"{2:032x}")
        session.exec(moved.values(month=MONTH))
        assert [one.kind for one in find_statement_differences(session)] == ["statement"] * 2
        assert [one.kind for one in BOOK.find_differences(session, list_done(session))] == [
            "figures"
        ]


def test_what_was_used_while_all_stood_is_owed_whenever_it_is_reported(agreed: Market) -> None:
    """The agreement, its product and each right end; a release of before is a use, none later."""
    agreement, made = agreed.digests["agreement"], agreed.digests["design"]
    agreed.clock.advance(hours=1)
    agreed.take("no operating", withdrawal(agreed.digests["operate"], "grid-1"))
    agreed.take("no processing", withdrawal(agreed.digests["process"], "bureau-1"))
    end = world.step("workshop-1", "withdraw", of=made, after=agreed.digests["publish"])
    agreed.take("no product", end)
    agreed.take("no agreement", withdrawal(agreement, "bank-1"))
    agreed.clock.advance(days=1)
    agreed.take("use", world.use(agreement))
    late = {"released_at": (NOW + timedelta(hours=2)).isoformat()}
    assert agreed.refusal(world.use(agreement, number=2, **late)) == "market.not-in-force"


def test_the_next_record_of_a_dataset_counts_once_the_office_confirmed_it(market: Market) -> None:
    for name in world.ORGANISATIONS:
        market.take(name, world.record(name))
    market.take("dataset", world.dataset(zones=[]))
    for right, grantee in (("hold", "grid"), ("process", "workshop"), ("operate", "exchange")):
        market.take(right, world.grant(right, grantee))
    assert market.refusal(world.design()) == "use.zone", "nothing would ever be of it"
    assert market.refusal(world.dataset(number=3)) == "market.number"
    stolen = world.dataset("rival-1", number=2, zones=["baoan"])
    assert market.refusal(stolen) == "rights.giver"
    market.take("second", world.dataset(number=2, zones=["nobody's"]))
    third = market.take("third", world.dataset(number=3))
    assert [market.state(name, "grid-1") for name in ("second", "third")] == ["replaced", "waiting"]
    assert market.get(f"/documents/{third}", "rival-1").status_code == 404
    staff = market.headers("clerk", "operator")
    listed = market.client.get("/documents?kind=dataset-record&side=everybody", headers=staff)
    assert listed.json()[-1]["digest"] == third, "the office sees what it confirms"
    assert market.refusal(world.design()) == "use.zone"
    own = KINDS["right-grant"].parse(world.grant("hold", "grid", confirms=third).body)
    own = world.sign("grid-1", own.model_copy(update=world.by("grid-1")))
    assert market.refusal(own) == "market.registrar"
    old = world.grant("hold", "grid", confirms=market.digests["second"])
    assert market.refusal(old) == "market.not-in-force"
    for _ in range(2):
        market.take("confirmed", world.grant("hold", "grid", confirms=third))
    assert [market.state(name, "bureau-1") for name in ("dataset", "third")] == [
        "replaced",
        "in-force",
    ]
    market.publish()
    market.take("use", world.use(market.agree()))
    assert market.get(f"/documents/{third}", "grid-1").json()["uses"] == 1
    fourth = market.take("fourth", world.dataset(number=4, zones=["baoan"]))
    assert fourth in market.client.get(f"/documents/{fourth}", headers=staff).text
    market.clock.advance(hours=1)
    market.take("fewer zones", world.grant("hold", "grid", confirms=fourth))
    market.clock.advance(hours=2)
    late = {"released_at": (NOW + timedelta(hours=2)).isoformat()}
    agreement = market.digests["agreement"]
    assert market.refusal(world.use(agreement, number=3, **late)) == "use.zone"
    market.take("use 2", world.use(agreement, number=2))  # released while the third counted


def test_a_document_that_comes_again_is_answered_as_it_stands(published: Market) -> None:
    offer = world.offer(published.digests["design"])
    published.take("offer", offer)
    published.take("end", withdrawal(offer.digest, "exchange-1"))
    assert published.bring(offer).json()["state"] == "withdrawn"


@attack(
    "everybody else's needs, pushed off the portal",
    rule(
        "Of one organisation a number of offers and needs stand at once.",
        "market.many",
        cut("gridsecure.market.standing:check_standing", "if standing", "if False and standing"),
    ),
)
def test_nobody_pushes_what_stands_off_the_portal(
    market: Market, attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rival's many needs stand for a minute, or for as long as the bank's one."""
    market.enter()
    for name, number in (("MOST", 4), ("_OF_ONE", 2), ("_LOOKED_AT", 6)):
        monkeypatch.setattr(public_pages, name, number)
    monkeypatch.setattr(standing, "MOST_STANDING", 3)

    def need(person: str, number: int, **changes: object) -> Signed:
        said = Need.parse(world.need(person).body)
        return world.sign(person, said.model_copy(update={"text": str(number), **changes}))

    def shown() -> list[str]:
        return [one["organisation"] for one in market.client.get("/public").json()["needs"]]

    market.take("need", world.need())
    for number in range(3):
        soon = (market.clock.now + timedelta(minutes=1)).isoformat()
        market.take("short", need("rival-1", number, valid_until=soon))
    assert sorted(shown()) == ["bank", "rival", "rival", "rival"]
    market.clock.advance(minutes=2)
    assert shown() == ["bank"]
    answers = [market.bring(need("rival-1", 10 + number)).json() for number in range(6)]
    if answers[-1].get("reason") is None:
        assert "bank" not in shown()
    else:
        assert sorted(shown()) == ["bank", "rival", "rival", "rival"]
    attacked.ends(answers[-1].get("reason"))


def test_nobody_fills_the_portal_with_totals_or_products(
    published: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = published.digests["design"]
    monkeypatch.setattr(standing, "MOST_STANDING", 1)
    published.take("totals", world.aggregate(made))
    more = world.aggregate(made, released_at=(NOW + timedelta(seconds=1)).isoformat())
    assert published.refusal(more) == "market.many"
    published.take("no totals", withdrawal(published.digests["totals"], "exchange-1"))
    published.take("other totals", more)
    second = published.take("second", world.design(version=2))
    review = published.take("review 2", world.step("grid-2", "review", of=second, after=second))
    assert published.refusal(world.step("exchange-1", "publish", of=second, after=review)) == (
        "market.many"
    )


def test_a_right_that_is_granted_after_a_release_was_missing_then(agreed: Market) -> None:
    agreement = agreed.digests["agreement"]
    agreed.clock.advance(hours=1)
    agreed.take("no processing", withdrawal(agreed.digests["process"], "grid-1"))
    agreed.clock.advance(hours=2)
    agreed.take("again", world.grant("process", "workshop", note="again"))
    agreed.clock.advance(hours=2)
    for hours, reason in ((2, "rights.missing"), (4, "")):
        at = (NOW + timedelta(hours=hours)).isoformat()
        answer = agreed.bring(world.use(agreement, number=hours, released_at=at))
        assert answer.json().get("reason", "") == reason


def test_an_offer_is_concluded_while_it_stands(published: Market) -> None:
    until = (NOW + timedelta(minutes=10)).isoformat()
    made = published.digests["design"]
    published.take("offer", world.offer(made, valid_until=until))
    published.take("request", world.request(published.digests["offer"]))
    text = published.draft()
    published.take("agreement", world.sign("exchange-1", text))
    published.clock.advance(minutes=11)
    assert published.refusal(world.sign("bank-1", text)) == "market.over"


def test_a_dataset_is_used_as_often_as_its_record_says(market: Market) -> None:
    for name in world.ORGANISATIONS:
        market.take(name, world.record(name))
    market.take("dataset", world.dataset(uses=1))
    for right, grantee in (("hold", "grid"), ("process", "workshop"), ("operate", "exchange")):
        market.take(right, world.grant(right, grantee))
    market.publish()
    agreement = market.agree()
    market.take("use", world.use(agreement))
    assert market.refusal(world.use(agreement, number=2)) == "use.dataset"


@pytest.mark.parametrize("missing", ["hold", "process", "operate"])
def test_a_withdrawn_right_stops_its_step_at_once_and_no_other(
    agreed: Market, missing: str
) -> None:
    """Over the service, where grants are looked up: each step as it would be taken next."""
    made, agreement = agreed.digests["design"], agreed.digests["agreement"]
    giver = REGISTRAR if missing == "hold" else "grid-1"
    agreed.take("withdrawal", withdrawal(agreed.digests[missing], giver))
    tried = {
        "hold": world.grant("process", "rival"),
        "process": world.use(agreement),
        "operate": world.offer(made, price_fen=1),
    }
    for right, envelope in tried.items():
        answer = agreed.bring(envelope)
        is_sold = (missing, right) == ("operate", "process")  # nothing of it is sold any more
        if right == missing or is_sold:
            assert answer.json()["reason"] == "rights.missing"
            assert f"right to {missing}" in answer.json()["detail"]
        else:
            assert answer.status_code == 200, answer.text
    again = world.design(version=2)
    expected = "rights.missing" if missing == "process" else ""
    answer = agreed.bring(again)
    assert answer.json().get("reason", "") == expected


def test_a_regulator_withdraws_a_grant_and_a_stranger_none(published: Market) -> None:
    grant = published.digests["operate"]
    assert published.refusal(withdrawal(grant, "rival-1")) == "not-found.document"
    assert published.refusal(withdrawal(grant, "exchange-1")) == "market.withdrawal"
    published.take("withdrawal", withdrawal(grant, "bureau-1"))
    assert published.refusal(withdrawal(grant, "grid-1")) in ("conflict.document",)
    assert published.refusal(world.offer(published.digests["design"])) == "rights.missing"


def test_an_agreement_is_of_the_policy_in_force_and_of_two_sides(published: Market) -> None:
    published.take("offer", world.offer(published.digests["design"]))
    published.take("request", world.request(published.digests["offer"]))
    text = published.draft()
    assert text.policy_text == world.POLICY.text
    for changes, reason in (
        ({"price_fen": 1}, "agreement.terms"),
        ({"uses": 99}, "agreement.terms"),
        ({"consumer": "rival"}, "agreement.terms"),
    ):
        other = text.model_copy(update=changes)
        assert published.refusal(world.sign("exchange-1", other)) == reason
    assert published.refusal(world.sign("rival-1", text)) == "agreement.side"
    published.take("agreement", world.sign("exchange-1", text))
    published.take("agreement", world.sign("exchange-2", text))  # of the same side: no second one
    assert published.state("agreement", "bank-1") == "proposed"
    assert published.refusal(world.use(published.digests["agreement"])) == "market.not-in-force"
    stricter = signed_policy(load_pack("strict").text).model_dump()
    headers = published.headers("data-owner", "data-owner")
    assert published.client.put("/policy", json=stricter, headers=headers).status_code == 200
    assert published.refusal(world.sign("bank-1", text)) == "agreement.policy"
    text = published.draft()
    assert text.policy_text != world.POLICY.text
    for person in ("bank-1", "exchange-1"):
        published.take("agreement", world.sign(person, text))
    assert published.state("agreement", "bank-1") == "concluded"
    standing = f"/agreements/{published.digests['agreement']}/standing"
    told = Signed(**published.get(standing, "bank-1").json())
    key = published.app.state.market.zone.signing_key.public_key
    said = open_message(told, expect=StandingAgreement, trusted={key.thumbprint: key})
    assert said.agreement == published.digests["agreement"]
    assert published.get(standing, "rival-1").status_code == 404
    published.take("end", withdrawal(published.digests["agreement"], "bank-2"))
    assert published.get(standing, "bank-1").json()["reason"] == "market.not-in-force"
    assert published.state("agreement", "exchange-1") == "withdrawn"


class Killed(BaseException):
    """What ends a process in the middle of a statement."""


@contextmanager
def killed_at(engine: Engine, number: int) -> Iterator[None]:
    """Let the statement of this number be the last one, of those that write."""
    seen: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE", "RELEASE")):
            seen.append(statement)
            if len(seen) == number:
                raise Killed

    event.listen(engine, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", look)


def picture(engine: Engine) -> dict[str, list[str]]:
    """All that the market keeps, which reconciles."""
    with read_session(engine) as session:
        assert list(BOOK.find_differences(session, list_done(session))) == []
        tables = (DocumentRow, SignatureRow, CounterRow, EvidenceRow)
        return {
            str(table.__tablename__): sorted(repr(row) for row in session.exec(select(table)))
            for table in tables
        }


def kill_through(market: Market, envelope: Signed, person: str) -> int:
    """Take a document in, killed before each of its statements; how often it was."""
    zone = market.app.state.market.zone
    before, number = picture(zone.engine), 1
    while True:
        try:
            with killed_at(zone.engine, number):
                take_in(zone, envelope, sender=Sender(person), now=NOW)
        except StorageError:  # what the database's own library makes of it
            number += 1
            assert picture(zone.engine) == before
        else:
            break
    assert picture(zone.engine) != before
    assert number > 3, "each step writes a document, its entry and its count"
    return number - 1


def test_a_crash_at_every_statement_leaves_the_old_or_the_new(published: Market) -> None:
    """Of every step from an offer to the end of an agreement: killed before each that writes."""
    offered = world.offer(published.digests["design"])
    asked = world.request(offered.digest)
    killed = kill_through(published, offered, "exchange-1")
    killed += kill_through(published, asked, "bank-1")
    published.digests |= {"offer": offered.digest, "request": asked.digest}
    text = published.draft()
    provider, consumer = world.sign("exchange-1", text), world.sign("bank-1", text)
    use, end = world.use(provider.digest), withdrawal(provider.digest, "bank-1")
    for envelope, person in (
        (provider, "exchange-1"),
        (consumer, "bank-1"),
        (use, "bank-1"),
        (end, "bank-1"),
    ):
        killed += kill_through(published, envelope, person)
    assert killed > 20
    assert published.state("request", "bank-1") == "in-force"
    assert published.get(f"/documents/{provider.digest}", "bank-1").json()["state"] == "withdrawn"


PRIVATE = (
    "hold", "process", "operate", "review", "publish", "request", "agreement", "use",
    "draft of a design",
)  # fmt: skip


@attack(
    "another organisation's agreement, asked for by its digest",
    rule(
        "A document is read by whom it concerns; for everybody else it is not there.",
        "not-found.document",
        cut("gridsecure.market.shelf:load_readable", "not may_read(row, reader)", "False"),
    ),
)
def test_an_agreement_is_read_by_its_sides(agreed: Market, attacked: Attacked) -> None:
    answer = agreed.get(f"/documents/{agreed.digests['agreement']}", "rival-1")
    attacked.ends(answer.json().get("reason"))


@attack(
    "one release, settled under two agreements",
    rule(
        "A certificate is counted once, over all agreements.",
        "conflict.document",
        cut(
            "gridsecure.market.metering:meter_use",
            "certificate.release_id",
            "received.envelope.digest",
        ),
    ),
)
def test_a_release_is_no_use_twice(agreed: Market, attacked: Attacked) -> None:
    """The provider agreed with the consumer a second time; its use is reported under both."""
    agreed.take("use", world.use(agreed.digests["agreement"]))
    agreed.digests["offer"] = agreed.take(
        "offer 2", world.offer(agreed.digests["design"], price_fen=5)
    )
    agreed.take("request", world.request(agreed.digests["offer"]))
    text = agreed.draft()
    for person in ("bank-1", "exchange-1"):
        again = agreed.take("agreement", world.sign(person, text))
    attacked.ends(agreed.bring(world.use(again)).json().get("reason"))


def test_a_certificate_that_names_its_agreement_is_reported_by_either_side(agreed: Market) -> None:
    agreement = agreed.digests["agreement"]
    other = world.use(agreement, "exchange-1", agreement="9" * 64)
    assert agreed.refusal(other) == "use.reporter"
    assert agreed.refusal(world.use(agreement, agreement="9" * 64)) == "use.agreement"
    agreed.take("use", world.use(agreement, "exchange-1", number=2, agreement=agreement))


@attack(
    "a use that the provider reports alone",
    rule(
        "A use is reported by the consumer's side.",
        "use.reporter",
        cut(
            "gridsecure.market.metering:meter_use",
            "member.organisation != agreement.consumer",
            "False",
        ),
    ),
)
def test_a_provider_reports_no_use(agreed: Market, attacked: Attacked) -> None:
    use = world.use(agreed.digests["agreement"], "exchange-1")
    attacked.ends(agreed.bring(use).json().get("reason"))


@attack(
    "another utility's totals, shown by an operator of other data",
    rule(
        "Totals are shown of the zones that the product's datasets name.",
        "use.zone",
        cut("gridsecure.circulation.uses:check_cells", "not zones <= known", "False"),
    ),
)
def test_totals_of_other_data_are_not_shown(published: Market, attacked: Attacked) -> None:
    shown = world.aggregate(published.digests["design"], cells=[world.cell("baoan")])
    attacked.ends(published.bring(shown).json().get("reason"))


@attack(
    "a product reviewed by whoever designed it",
    rule(
        "The key that signed a design signs no review of it.",
        "product.same-person",
        cut(
            "gridsecure.market.products:keep_step",
            "received.envelope.signer == row.envelope.signer",
            "False",
        ),
    ),
    rule(
        "Whoever designed a product does not review it.",
        "product.same-person",
        cut("gridsecure.circulation.products:take_step", "member.person == design.person", "False"),
    ),
)
def test_a_designer_does_not_review(market: Market, attacked: Attacked) -> None:
    market.enter()
    made = market.take("design", world.design(reviewer="workshop"))
    review = world.step("workshop-1", "review", of=made, after=made)
    attacked.ends(market.bring(review).json().get("reason"))


def told_to(market: Market, person: str) -> str:
    """All that any route that reads answers somebody, whatever it is asked for."""
    answers = []
    digests = list(market.digests.values())
    bodies = {
        "/agreement-drafts": [
            {"offer": one, "request": other} for one in digests for other in digests
        ][:: max(1, len(digests) // 3)],
        "/settlements": [{"agreement": one, "month": MONTH} for one in digests],
    }
    for path, methods in market.app.openapi()["paths"].items():
        if path.startswith("/log") or path in ("/about", "/health", "/ready", "/reasons/{code}"):
            continue
        if "get" in methods:
            asked = [path]
            if path == "/documents":
                sides = ("everybody", "ours", "to-us")
                asked = [f"{path}?kind={kind}&side={side}" for kind in KINDS for side in sides]
            elif "{digest}" in path:
                asked = [path.format(digest=one) for one in digests]
            elif path == "/usage":
                asked = [f"{path}?month={MONTH}"]
            answers += [market.get(one, person).text for one in asked]
        elif path.startswith("/workshop/"):
            continue  # it computes with what whoever asks sends, and reads no document
        elif path in bodies:
            headers = market.headers(person)
            answers += [
                market.client.post(path, json=one, headers=headers).text for one in bodies[path]
            ]
        else:
            assert path == "/documents" or set(methods) == {"put"}, f"{path} is not tried here"
    return "\n".join(answers)


def test_nothing_of_others_is_read_by_any_route(agreed: Market) -> None:
    """Everything is in the market; a rival with every role, and a consumer, ask for all of it."""
    agreed.take("use", world.use(agreed.digests["agreement"]))
    agreed.take("draft of a design", world.design(product="secret", summary=world.SECRET))
    agreed.clock.advance(days=AFTER.days)
    assert agreed.settle(MONTH).status_code == 200
    private = {
        name: agreed.digests[name]
        for name in (
            "process",
            "operate",
            "hold",
            "review",
            "publish",
            "request",
            "agreement",
            "use",
        )
    }
    private["draft of a design"] = agreed.digests["draft of a design"]
    theirs = {person: told_to(agreed, person) for person in ("rival-1", "bank-1", "bureau-1")}
    assert [name for name, one in private.items() if one in theirs["rival-1"]] == []
    assert world.SECRET not in theirs["rival-1"]
    assert f'"{world.PRICE}"' not in theirs["rival-1"]
    assert "fen" not in [one["measure"] for one in _used(agreed, "rival-1")]
    for name in ("process", "operate", "review", "draft of a design"):
        assert private[name] not in theirs["bank-1"], name
    for name in ("request", "agreement", "use"):
        assert private[name] in theirs["bank-1"], name
    assert [name for name, one in private.items() if one not in theirs["bureau-1"]] == []
    answers = [agreed.get(f"/documents/{one}", "rival-1") for one in private.values()]
    assert {(one.status_code, one.json()["reason"]) for one in answers} == {
        (404, "not-found.document")
    }
    assert answers[0].json()["detail"] == agreed.get("/documents/none", "rival-1").json()["detail"]


def _used(market: Market, person: str) -> list[dict[str, object]]:
    used: list[dict[str, object]] = market.get(f"/usage?month={MONTH}", person).json()["used"]
    return used


def test_a_page_that_was_kept_is_of_whoever_asked(agreed: Market) -> None:
    """Pages are kept between requests: the second one to ask gets its own."""
    path = "/documents?kind=agreement"
    (mine,) = agreed.get(path, "exchange-1").json()
    assert mine["digest"] == agreed.digests["agreement"]
    assert agreed.get(path, "rival-1").json() == []
    assert agreed.get(f"{path}&side=to-us", "bank-1").json() == [mine]


def test_nobody_writes_for_another_organisation(published: Market) -> None:
    made = published.digests["design"]
    assert published.refusal(world.offer(made), "rival-1") == "authenticity.refused"
    refused = (
        world.sign("rival-1", KINDS["market-offer"].parse(world.offer(made).body)),
        world.sign("nobody", KINDS["market-offer"].parse(world.offer(made).body)),
    )
    assert {published.refusal(one, "rival-1") for one in refused} == {"authenticity.refused"}
    assert published.refusal(world.record("grid", number=3)) == "market.number"
    stolen = KINDS["organisation"].parse(world.record("rival", number=2).body)
    stolen = stolen.model_copy(
        update={
            "people": [one.model_copy(update={"person": "bank-1"}) for one in stolen.people[:1]]
        }
    )
    assert published.refusal(world.sign(REGISTRAR, stolen)) == "market.person-taken"
    fake = world.sign("rival-1", stolen.model_copy(update=world.by("rival-1")))
    assert published.refusal(fake) == "market.registrar"


def test_people_who_left_sign_nothing_more(published: Market) -> None:
    published.take("without the second", world.record("exchange", number=2, people=1))
    made = published.digests["design"]
    assert published.refusal(world.offer(made, "exchange-2")) == "authenticity.refused"
    published.take("offer", world.offer(made))
    assert published.state("exchange", "bureau-1") == "replaced"


def test_versions_follow_each_other_and_names_are_of_one_organisation(published: Market) -> None:
    assert published.refusal(world.design(version=3)) == "product.version"
    for envelope in (world.dataset("rival-1", dataset="theirs"), world.record("bank")):
        published.take("more", envelope)
    assert published.refusal(world.design("rival-1", version=2)) == "product.owner"
    second = published.take("design 2", world.design(version=2))
    assert published.refusal(world.offer(second, version=2)) == "not-found.document"
    review = world.step("grid-1", "review", of=second, after=second)
    published.take("review 2", review)
    assert published.refusal(world.offer(second, version=2)) == "product.order"
    again = world.step("grid-2", "reject", of=second, after=second)
    assert published.refusal(again) == "product.order"


def test_a_grant_comes_from_whoever_may_give_it(market: Market) -> None:
    for name in world.ORGANISATIONS:
        market.take(name, world.record(name))
    market.take("dataset", world.dataset())
    process = world.grant("process", "workshop")
    assert market.refusal(process) == "rights.missing"  # nobody confirmed that the grid holds it
    said = KINDS["right-grant"].parse(world.grant("hold", "grid").body)
    own = world.sign("grid-1", said.model_copy(update=world.by("grid-1")))
    assert market.refusal(own) == "rights.giver"
    assert market.refusal(world.grant("hold", "rival")) == "rights.giver"
    market.take("hold", world.grant("hold", "grid"))
    assert market.refusal(world.grant("process", "rival", "rival-1")) == "rights.giver"
    bills = world.grant("process", "workshop", scope="domain", domain="bills")
    assert market.refusal(bills) == "rights.measure"
    market.take("process", process)


def test_the_portal_shows_what_is_published_and_nothing_that_waits(published: Market) -> None:
    made = published.digests["design"]
    published.take("need", world.need())
    published.take("aggregate", world.aggregate(made))
    published.take("offer", world.offer(made))
    published.take("draft", world.design(product="secret", title="Hidden", title_zh="未发布"))
    page = published.client.get("/portal")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for word in ("复工电力指数", "123.45", "空置率", "福田负荷", "123456789", "瓦时", "产品"):
        assert word in page.text, word
    for word in ("<script", "http:", "https:", "未发布", "style="):
        assert word not in page.text, word
    english = published.client.get("/portal?language=en").text
    assert "Recovery index" in english
    assert "Hidden" not in english
    told = published.client.get("/public").json()
    assert {name: len(rows) for name, rows in told.items()} == {
        "products": 1, "offers": 1, "needs": 1, "aggregates": 1
    }  # fmt: skip
    assert told["offers"][0]["digest"] == published.digests["offer"]
    (totals,) = told["aggregates"]
    assert [(one["zone"], one["value"], one["unit"]) for one in totals["cells"]] == [
        ("futian", "123456789", "Wh")
    ]
    assert totals["release_id"] == world.release(9).release_id
    for public in (page.text, json.dumps(told)):  # nobody's name, and nothing of withheld cells
        for word in (*published.people, "requested_by", "members", "approvals", "luohu"):
            assert word not in public, word
    assert published.client.get("/portal.css").status_code == 200
    published.take("no offer", withdrawal(published.digests["offer"], "exchange-2"))
    published.take("no totals", withdrawal(published.digests["aggregate"], "exchange-2"))
    after = published.client.get("/portal").text
    assert "123.45" not in after
    assert "123456789" not in after
    published.clock.advance(days=100)
    assert "空置率" not in published.client.get("/portal").text


def test_a_page_for_strangers_is_made_once_for_each_change(
    published: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    read = public_pages.read_public

    def counted(session: Session, **now: Any) -> public_pages.PublicRows:
        made.append(now)
        return read(session, **now)

    monkeypatch.setattr(public_pages, "read_public", counted)
    first = published.client.get("/portal?language=en")
    assert first.headers["content-type"].startswith("text/html")
    for number in range(3):
        again = published.client.get(f"/portal?language=en&{number}=1")
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    known = {"If-None-Match": first.headers["etag"]}
    assert published.client.get("/portal?language=en", headers=known).status_code == 304
    assert len(made) == 1
    published.take("need", world.need())
    assert published.client.get("/portal?language=en").content != first.content
    assert len(made) == 2
    published.take("aggregate", world.aggregate(published.digests["design"]))
    monkeypatch.setattr(public_pages, "MOST_CELLS", 0)
    assert published.client.get("/public").json()["aggregates"] == []


def test_what_is_not_kept_any_more_is_no_ones_to_use(market: Market) -> None:
    market.enter()
    made = market.publish()
    market.take("offer", world.offer(made))
    late = (NOW + timedelta(days=61)).isoformat()
    market.take("request", world.request(market.digests["offer"], ends_at=late))
    text = market.draft()
    assert market.refusal(world.sign("bank-1", text)) == "agreement.retention"
    market.clock.advance(days=60)
    assert market.refusal(world.design(version=2)) == "market.over"
    assert market.refusal(world.grant("operate", "rival")) == "market.over"


def test_a_month_is_settled_for_its_sides_from_the_agreement_on(agreed: Market) -> None:
    agreed.clock.advance(days=AFTER.days)
    assert agreed.settle(MONTH, "bureau-1").json()["reason"] == "agreement.side"
    assert agreed.settle("2020-01").json()["reason"] == "settlement.month"
    assert agreed.settle(MONTH).status_code == 200
    assert agreed.settle(MONTH, "bureau-1").status_code == 200  # it is there to be read


def test_who_supervises_is_no_party() -> None:
    with pytest.raises(ValueError, match="stands alone"):
        world.record("bureau", roles=["regulator", "supplier"])


def test_a_key_that_designed_reviews_nothing_under_another_name(market: Market) -> None:
    market.enter()
    made = market.take("design", world.design(reviewer="workshop"))
    said = OrganisationRecord.parse(world.record("workshop", number=2).body)
    renamed = [one.model_copy(update={"person": f"other-{one.person}"}) for one in said.people]
    record = said.model_copy(update={"people": renamed})
    market.take("renamed", world.sign(REGISTRAR, record))
    values = world.by("workshop-1") | {"person": "other-workshop-1"}
    review = ProductStep(**values, step="review", design=made, previous=made)
    headers = market.headers("other-workshop-1")
    envelope = world.sign("workshop-1", review)
    answer = market.client.post("/documents", json=envelope.model_dump(), headers=headers)
    assert answer.json()["reason"] == "product.same-person"


def test_values_are_shown_of_whole_certificates_alone(published: Market) -> None:
    said = KINDS["released-aggregate"].parse(world.aggregate(published.digests["design"]).body)
    bare = said.certificate.model_copy(update={"values": None})
    assert _refused_totals(published, said, bare) == "use.shown"
    values = said.certificate.values
    wrong = values.model_copy(update={"values": ["1", None]})
    other = said.certificate.model_copy(update={"values": wrong})
    assert _refused_totals(published, said, other) == "authenticity.refused"


def test_totals_are_checked_as_every_release_is(published: Market) -> None:
    """Its authority is not believed: cells, their times, log and policy are looked at."""
    made = published.digests["design"]
    for changes, reason in (
        ({"cells": [world.cell(members=2)]}, "release.unsuppressed"),
        ({"cells": [world.cell(start="July")]}, "release.malformed"),
        ({"policy": "6" * 64}, "use.policy"),
    ):
        assert published.refusal(world.aggregate(made, **changes)) == reason
    bare, beside = detach_values(world.release(9))
    unlogged = sign_certificate(bare, beside, key=key_of("authority"))
    said = KINDS["released-aggregate"].parse(world.aggregate(made).body)
    assert _refused_totals(published, said, unlogged) == "use.log"
    version = f"version = {world.POLICY.version}"
    text = world.POLICY.text.replace("[[sources]]", f"{PRIVATE_TERMS}\n[[sources]]", 1)
    text = text.replace(version, f"{version}\ncustomer_points = 2", 1)
    private = parse_policy(text)
    row = PolicyRow(digest=private.digest, name="p", version=1, text=text, state="begun", at=NOW)
    with write_session(published.app.state.market.zone.engine) as session:
        session.add(row)
    shown = world.aggregate(made, policy=private.digest)
    assert published.refusal(shown) == "use.private"


def test_totals_that_cannot_be_shown_take_nobody_elses_page_down() -> None:
    shown = world.aggregate("a" * 64, cells=[world.cell(start="July")])
    row = DocumentRow(message=shown.model_dump_json(), digest=shown.digest)
    assert public_pages._aggregate(row) is None


def _refused_totals(market: Market, said: object, certificate: object) -> str:
    changed = said.model_copy(update={"certificate": certificate})  # type: ignore[attr-defined] # a message
    return market.refusal(world.sign("exchange-1", changed))


def test_no_words_of_others_steer_a_terminal_and_times_are_times(published: Market) -> None:
    made = published.digests["design"]
    offer = world.offer(made, terms="first line\nsecond line")
    published.take("offer", offer)
    steering = offer.body.replace("second", "\\u001b[2Jsecond")
    forged = world.sign_text("exchange-1", offer.body_kind, steering)
    assert published.refusal(forged) == "message.invalid"
    for changes in ({"ends_at": NOW.isoformat()}, {"ends_at": "soon"}):
        asked = world.request(offer.digest, begins_at=NOW.isoformat(), **changes)
        assert published.refusal(asked) == "market.time"
    over = world.dataset(dataset="old", retained_until=NOW.isoformat())
    assert published.refusal(over) == "market.over"


def test_lists_and_settlements_are_of_members_alone(published: Market) -> None:
    for path in ("/documents?kind=market-offer", f"/usage?month={MONTH}"):
        assert published.client.get(path).status_code == 401
        answer = published.client.get(path, headers=published.headers("clerk", "analyst"))
        assert answer.json()["reason"] == "authenticity.role"
        assert published.get(path, "somebody").status_code == 403
    published.take("offer", world.offer(published.digests["design"]))
    staff = published.headers("clerk", "operator")
    usage = published.client.get(f"/usage?month={MONTH}", headers=staff)
    assert usage.json()["reason"] == "authenticity.role"
    assert published.client.get("/documents?kind=market-offer", headers=staff).json() == []
    assert published.get("/documents?kind=nonsense", "bank-1").json()["reason"] == "market.kind"
