"""Months by the books: who moves in or out is billed for its days, and a fixed month stays so."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridsecure.billing.contracts import default_contracts
from gridsecure.billing.readings import as_categories
from gridsecure.credentials.seats import billing_domain, settlement_domain
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import ConflictError, InputError
from gridsecure.gateway import preparation
from gridsecure.gateway.books import imports
from gridsecure.gateway.books.as_of import contracts_as_of
from gridsecure.gateway.books.months import Holding, MonthContracts
from gridsecure.gateway.books.register import newest_revision
from gridsecure.gateway.correction_plan import save_correction
from gridsecure.gateway.correction_run import correct_month
from gridsecure.gateway.month_files import HandedIn, load_files, save_files
from gridsecure.gateway.month_plan import find_plan
from gridsecure.gateway.outbox import load_outgoing
from gridsecure.gateway.reconciliation import compute_expected_bills, oracle_path, read_oracle
from gridsecure.gateway.settlement_proofs import find_parts
from gridsecure.identity.enrolments.books import write_books
from gridsecure.key_authority.checker.answering import list_certificates
from gridsecure.messages import RosterManifest
from gridsecure.periods import month_period
from gridsecure.statement_checks import check_statements
from tests.authority_simulator import Authority
from tests.gateway.gateway_world import (
    MONTH,
    GatewayWorld,
    Killed,
    enrolled_authority,
    kill_at,
)
from tests.gateway.test_corrections import released, told
from tests.gateway.test_packing import decrypted
from tests.grid_simulator import NOW
from tests.identity.identity_world import account_of
from tests.plans.element_tariffs import PARTS

JULY = month_period(MONTH, timezone="Asia/Shanghai")
SHIPPED = "shenzhen-residential-tiers"
SHIPPED_DAYS = (("2026-07-01", "2026-07-21"), ("2026-07-21", "2026-08-01"))
MOVES = "meter_point_id,valid_from,account,zone,customer_class,tariff_id\n"


@pytest.fixture
def world(tmp_path):
    made = GatewayWorld(tmp_path, load_curves=False)
    made.save()
    yield made
    made.close()


def change(world, text: str) -> int:
    """Apply an import."""
    found = imports.hand_in(world.zone, text.encode(), valid_from=None)
    assert found.refused == 0, found.refusals
    at = world.clock()
    return imports.apply_import(world.zone, found.change.digest, person="op", at=at).number


def homes(world) -> pd.DataFrame:
    contracts = world.contracts()
    return contracts[contracts["customer_class"] == "household"].reset_index(drop=True)


def move_in(
    world,
    *,
    before: str = "2026-07-01",
    day: str = "2026-07-16",
    tariff: str = "flat",
    home: int = 0,
) -> tuple[str, str]:
    """Let account B move in after A at a home, by number; the home and B's name at it."""
    row = homes(world).iloc[home]
    name, facts = row["meter_point_id"], f"{row['zone']},household,{tariff}"
    change(world, f"{MOVES}{name},{before},A,,,{tariff}\n{name},{day},B,{facts}\n")
    listed = default_contracts([f"{name}~B"]).assign(zone=row["zone"], customer_class="household")
    world.list_contracts(listed)
    return name, f"{name}~B"


def oracle_totals(world) -> dict[str, int]:
    """Holder -> its energy in the plaintext oracle [Wh]."""
    files, plan = load_files(world.zone, MONTH), find_plan(world.zone, MONTH)
    pseudonyms = {world.meter_point(name).name_in(domain): name for name, domain in names(world)}
    found = {}
    for roster in plan.rosters:
        oracle = read_oracle(oracle_path(files.folder / "oracle", roster))
        for pseudonym, total in zip(oracle["meter_point_id"], oracle["total_wh"], strict=True):
            found[pseudonyms[pseudonym]] = int(total)
    return found


def names(world):
    domain = billing_domain("2026")
    movers = [f"{name}~B" for name in homes(world)["meter_point_id"][:2]]
    return [(name, domain) for name in (*world.simulated.meter_point_ids, *movers)]


def energy(world, name: str, first: str, end: str) -> int:
    """What the simulated meter point used on some days [Wh]."""
    readings = world.simulated.readings()
    local = pd.DatetimeIndex(readings["start"]).tz_convert("Asia/Shanghai").tz_localize(None)
    inside = (local >= pd.Timestamp(first)) & (local < pd.Timestamp(end))
    return int(readings["energy_wh"][inside & (readings["meter_point_id"] == name)].sum())


def excluded(world) -> dict[str, str]:
    table = pd.read_csv(world.folder / "months" / MONTH / "exceptions.csv", dtype=str)
    return dict(zip(table["meter_point_id"], table["reason"], strict=True))


def test_who_moves_in_and_who_moves_out_are_billed_for_their_days(world, monkeypatch):
    name, mover = move_in(world)
    sealed = []
    real = preparation.pack_energies

    def noted(energies, *, roster, **rest):
        for column in real(energies, roster=roster, **rest):
            sealed.append((roster, column))
            yield column

    monkeypatch.setattr(preparation, "pack_energies", noted)
    report = world.process()
    assert (report.billed_meters, report.excluded) == (21, {})
    totals = oracle_totals(world)
    assert totals[name] == energy(world, name, "2026-07-01", "2026-07-16")
    assert totals[mover] == energy(world, name, "2026-07-16", "2026-08-01")
    # The billing office is told whose days are which, and nobody else's.
    first, middle, last = (f"2026-{day}T00:00:00+08:00" for day in ("07-01", "07-16", "08-01"))
    assert find_parts(world.zone, MONTH) == {name: (first, middle), mover: (middle, last)}
    # What is encrypted is what the oracle bills, slot by slot.
    checked = 0
    for roster, column in sealed:
        if column.entry.quantity == "total":
            values = decrypted(column, roster)
            wanted = [totals[own] for own in roster.meter_point_ids]
            assert values[: len(wanted)] == wanted
            checked += len(wanted)
    assert checked >= 2
    assert (
        sum(map(len, compute_expected_bills(world.zone, load_files(world.zone, MONTH)).values()))
        == 21
    )


def test_a_charge_that_no_rule_divides_holds_both_bills(world):
    name, mover = move_in(world, tariff="shenzhen-residential-low-income")
    report = world.process()
    assert (report.billed_meters, report.excluded) == (19, {"part-month": 2})
    assert excluded(world) == {name: "part-month", mover: "part-month"}


def test_a_part_of_a_month_is_billed_by_the_rule_of_its_tariff(world, tmp_path):
    """Two thirds of a tier's limit and of a standing charge, on ciphertext as in the open.

    And the limits of a whole month, as the tariffs that ship have it.
    """
    name, mover = move_in(world, tariff="part-tiers")
    shipped = move_in(world, tariff=SHIPPED, day="2026-07-21", home=1)
    contracts = world.contracts()
    homes_only = contracts["customer_class"] == "household"
    own = contracts.assign(tariff_id=contracts["tariff_id"].where(~homes_only, "part-tiers"))
    others = own[~own["meter_point_id"].isin([name, shipped[0]])]
    lines = "".join(
        f"{one},{MONTH}-01,{tariff}\n"
        for one, tariff in zip(others["meter_point_id"], others["tariff_id"], strict=True)
    )
    change(world, f"meter_point_id,valid_from,tariff_id\n{lines}")
    files = HandedIn(
        [BytesIO(world.simulated.wide_csv())], tariffs=[BytesIO(PARTS["part-tiers"].encode())]
    )
    save_files(world.zone, MONTH, files=files, person="op", at=world.clock())
    assert world.process().excluded == {}
    plan = find_plan(world.zone, MONTH)
    sent = [load_outgoing(world.zone, one).roster.body for one in plan.names]
    told_days = [RosterManifest.parse(body).unheld_days for body in sent]
    assert sorted(day for days in told_days for day in days if day) == [15, 16]
    assert [] in told_days, "who is billed by other tariffs is told nothing of"

    filed = dict(names_filed(world, mover, shipped[1]))
    authority = Authority(
        world.grid,
        tmp_path / "authority",
        settlement=lambda _domain, subjects: [filed[subject] for subject in subjects],
        gateway=world.gateway_key,
    )
    statements = released(world, authority, "bill")
    found = check_statements(told(world, list_certificates(authority.zone)), statements=statements)
    assert (found.bills, found.mismatches) == (22, 0)
    bills = {n: b for text in statements for n, b in json.loads(text)["meters"].items()}
    standing = {
        one: next(x for x in bills[filed[pseudonym]]["periods"][0]["lines"] if not x["tier"])
        for one, pseudonym in pseudonyms(world, (name, mover))
    }
    assert standing[name]["amount"] == "6.05"  # 12.50 x 15 / 31
    for one, pseudonym in pseudonyms(world, shipped):
        (period,) = bills[filed[pseudonym]]["periods"]
        assert (period["tariff"]["id"], period["tariff"]["part_month"]) == (SHIPPED, "chosen-here")
        used = oracle_totals(world)[one]
        assert used == energy(world, shipped[0], *SHIPPED_DAYS[one == shipped[1]])
        beyond = {x["tier"]: int(Decimal(x["quantity"]) * 1000) for x in period["lines"]}
        limits = (260_000, 600_000)  # of July, whoever had how much of it
        assert beyond[None] == used
        assert [beyond.get(tier, 0) for tier in (2, 3)] == [max(used - e, 0) for e in limits]
    assert standing[mover]["amount"] == "6.45"
    authority.close()


def pseudonyms(world, holders) -> list[tuple[str, str]]:
    domain = billing_domain("2026")
    return [(one, world.meter_point(one).name_in(domain)) for one in holders]


def names_filed(world, *movers: str):
    """Pseudonym in the billing domain -> in the settlement domain."""
    for one, pseudonym in pseudonyms(world, (*world.simulated.meter_point_ids, *movers)):
        yield pseudonym, world.meter_point(one).name_in(settlement_domain("2026"))


def test_a_contract_that_changes_within_the_month_holds_the_bill(world):
    first, second = homes(world)["meter_point_id"][:2]
    change(world, f"meter_point_id,valid_from,tariff_id\n{first},2026-07-10,other\n")
    change(world, f"meter_point_id,valid_to\n{second},2026-07-10\n")
    change(world, f"meter_point_id,valid_from,tariff_id\n{second},2026-07-20,flat\n")
    assert world.process().billed_meters == 18
    assert excluded(world) == {first: "books.changed", second: "books.twice"}


def test_what_was_read_while_nobody_held_the_meter_point_is_nobodys(world):
    name = homes(world)["meter_point_id"][0]
    change(world, f"meter_point_id,valid_to\n{name},2026-07-10\n")
    report = world.process()
    assert (report.billed_meters, report.excluded) == (20, {})
    assert report.quarantined == 22 * 24
    assert report.readings + report.estimated == report.accepted + report.quarantined
    assert oracle_totals(world)[name] == energy(world, name, "2026-07-01", "2026-07-10")


def test_who_moves_in_is_billed_though_nothing_was_read_before(world):
    name, mover = move_in(world)
    lines = world.simulated.wide_csv().decode().splitlines(keepends=True)
    late = [
        line for line in lines if not (line.startswith(name) and line.split(",")[1] < "2026-07-16")
    ]
    world.save("".join(late).encode())
    world.process()
    assert excluded(world) == {name: "no-readings"}
    assert oracle_totals(world)[mover] == energy(world, name, "2026-07-16", "2026-08-01")


def test_the_month_after_a_move_is_under_the_new_name(world):
    name, mover = move_in(world, before="2026-06-01", day="2026-07-01")
    assert world.process().billed_meters == 20
    totals = oracle_totals(world)
    assert totals[mover] == energy(world, name, "2026-07-01", "2026-08-01")
    assert name not in totals


def test_a_fixed_month_counts_by_the_books_it_was_fixed_with(world):
    with pytest.raises(Killed):
        world.process(progress=kill_at("encrypt"))
    plan = find_plan(world.zone, MONTH)
    assert plan.books_revision == newest_revision(world.zone) == 1
    gone = "".join(f"{name},2026-07-01\n" for name in world.contracts()["meter_point_id"])
    change(world, f"meter_point_id,valid_to\n{gone}")
    world.restart()
    assert world.process().billed_meters == 20
    assert find_plan(world.zone, MONTH).rosters == plan.rosters


def test_a_month_is_billed_from_the_books_alone(world):
    readings = HandedIn([BytesIO(world.simulated.wide_csv())])
    save_files(world.zone, MONTH, files=readings, person="op", at=world.clock())
    assert newest_revision(world.zone) == 1
    assert world.process().billed_meters == 20


# --- two gateways


@dataclass
class TwoGateways:
    """Two gateways of one identity authority, and a home that moves from the old to the new one."""

    old: GatewayWorld
    new: GatewayWorld
    name: str

    @property
    def mover(self) -> str:
        """The home's name at the new gateway."""
        return f"{self.name}~B"

    def write(self, *accounts: tuple[GatewayWorld, str, str, str]) -> None:
        """Write accounts into the utility's books: the gateway, the name, its days."""
        row = homes(self.old).iloc[1]
        written = [
            account_of(
                name,
                gateway=world.service_key.public_key.thumbprint,
                zone=row["zone"],
                customer_class="household",
                valid_from=start,
                valid_to=end,
            )
            for world, name, start, end in accounts
        ]
        write_books(self.old.registry.enrolments, written, actor="operator", now=NOW)

    def divide(self, day: str) -> None:
        """Let the utility's books say on which day the home moves."""
        self.write((self.old, self.name, "", day), (self.new, self.mover, day, ""))

    def move_out(self, day: str) -> None:
        change(self.old, f"meter_point_id,valid_to\n{self.name},{day}\n")

    def hold(self, day: str, holder: str) -> None:
        """Let the new gateway's own books hold the home from a day on, under a name."""
        header = "meter_point_id,valid_from,account,holder,zone,customer_class,tariff_id\n"
        facts = f"{homes(self.old)['zone'].iloc[1]},household,flat"
        change(self.new, f"{header}{self.name},{day},A,{holder},{facts}\n")
        readings = HandedIn([BytesIO(self.new.simulated.wide_csv())])
        save_files(self.new.zone, MONTH, files=readings, person="op", at=self.new.clock())


@pytest.fixture
def two(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    identity = enrolled_authority(tmp_path / "identity")
    key = generate_private_key()
    identity.services[key.public_key.thumbprint] = key.public_key
    old = GatewayWorld(tmp_path / "old", authority=identity, load_curves=False)
    own = (key, b"seed of one more gateway's agent")
    new = GatewayWorld(
        tmp_path / "new", authority=identity, load_curves=False, enrolled=False, own=own
    )
    old.save()
    yield TwoGateways(old, new, homes(old)["meter_point_id"][1])
    for world in (old, new):
        world.close()
    identity.close()


def test_a_meter_point_that_moves_between_gateways_is_billed_by_each_for_its_days(two):
    two.divide("2026-07-16")
    two.move_out("2026-07-16")
    two.hold("2026-07-16", two.mover)
    assert (two.old.process().excluded, two.new.process().billed_meters) == ({}, 1)
    first, second = oracle_totals(two.old)[two.name], oracle_totals(two.new)[two.mover]
    assert first + second == energy(two.old, two.name, "2026-07-01", "2026-08-01")
    assert second == energy(two.old, two.name, "2026-07-16", "2026-08-01")


def test_the_utilitys_books_give_no_day_of_a_meter_point_to_two_gateways(two):
    for days in (("", ""), ("2026-07-16", ""), ("", "2026-01-02")):
        with pytest.raises(ConflictError) as refused:
            two.write((two.new, two.mover, *days))
        assert refused.value.reason == "books.two-gateways"
    two.divide("2026-07-16")
    two.divide("2026-07-16")
    for late in ((two.old, two.name, "", "2026-07-17"), (two.new, two.mover, "2026-07-15", "")):
        with pytest.raises(ConflictError):
            two.write(late)
    # Names of one gateway are told apart by its own books.
    two.write((two.new, f"{two.name}~C", "2026-07-16", ""))
    two.divide("2026-07-10")


def test_a_gateway_that_takes_another_ones_days_is_not_billed_for_any(two):
    """The attack: it holds the home from a day on that the utility gives the other gateway."""
    two.divide("2026-07-16")
    two.hold("2026-07-15", two.mover)
    with pytest.raises(InputError) as nobody:
        two.new.process()
    assert nobody.value.reason == "month.nothing-billed"
    assert excluded(two.new) == strangers(two) | {two.mover: "identity.other-days"}
    two.move_out("2026-07-16")
    assert two.old.process().excluded == {}
    assert oracle_totals(two.old)[two.name] == energy(two.old, two.name, "2026-07-01", "2026-07-16")


def test_under_the_other_gateways_name_nobody_is_billed_either(two):
    two.divide("2026-07-16")
    two.hold("2026-07-16", two.name)
    with pytest.raises(InputError):
        two.new.process()
    assert excluded(two.new) == strangers(two) | {two.name: "identity.unknown-account"}


def test_a_gateway_that_keeps_a_meter_point_too_long_is_not_billed_for_it(two):
    two.divide("2026-07-16")
    assert two.old.process().excluded == {"identity.other-days": 1}
    assert excluded(two.old) == {two.name: "identity.other-days"}
    assert two.name not in oracle_totals(two.old)
    # The month is fixed with the gateway's books. The way out: the home moves a month's end later,
    # and what was left out gets its first bill with a correction, like any other.
    two.divide("2026-08-01")
    corrected = save_correction(
        two.old.zone, MONTH, readings=[BytesIO(two.old.simulated.wide_csv())]
    )
    report = correct_month(
        two.old.zone,
        files=load_files(two.old.zone, MONTH),
        correction=corrected,
        peers=two.old.peers,
        clock=two.old.clock,
        progress=lambda *_step: None,
    )
    assert report.first_billed == 1


def test_a_meter_point_that_the_books_move_away_is_billed_by_its_old_gateway_no_longer(two):
    two.write((two.new, two.name, "", ""))
    assert two.old.process().excluded == {"identity.other-days": 1}
    assert excluded(two.old) == {two.name: "identity.other-days"}


def strangers(two: TwoGateways) -> dict[str, str]:
    """Whom the new gateway has readings of, and nothing in its books."""
    names = [*two.new.simulated.meter_point_ids]
    if excluded(two.new).get(two.name) != "no-contract":
        names.remove(two.name)
    return dict.fromkeys(names, "no-contract")


def test_a_contract_file_names_meter_points_and_not_holders(world):
    text = world.contracts_csv() + b"mp~B,futian,household,flat,0,0\n"
    with pytest.raises(InputError) as refused:
        world.save(contracts=text)
    assert refused.value.reason == "books.meter-point"


def test_nothing_is_billed_before_anybody_holds_anything(world):
    readings = HandedIn([BytesIO(b"")])
    with pytest.raises(InputError) as refused:
        save_files(world.zone, "2026-05", files=readings, person="op", at=world.clock())
    assert refused.value.reason == "month.no-contracts"


def test_a_contract_file_says_who_holds_what_and_the_same_again_changes_nothing(world):
    revision = newest_revision(world.zone)
    found = contracts_as_of(world.zone, period=JULY, revision=revision)
    contracts = world.contracts().sort_values("meter_point_id", ignore_index=True)
    pd.testing.assert_frame_equal(found.contracts, contracts)
    assert (found.moved, found.objections) == ((), {})
    world.save()
    assert newest_revision(world.zone) == revision
    fewer = world.contracts_csv().splitlines(keepends=True)[:-1]
    world.save(contracts=b"".join(fewer))
    left = contracts_as_of(world.zone, period=JULY, revision=newest_revision(world.zone))
    assert len(left.contracts) == len(contracts) - 1
    # The books of the revision before say what they said.
    again = contracts_as_of(world.zone, period=JULY, revision=revision)
    pd.testing.assert_frame_equal(again.contracts, contracts)


MONTH_DAYS = [date(2026, 7, 1) + timedelta(days=number) for number in range(32)]


@given(st.lists(st.integers(0, 31), max_size=5, unique=True), st.booleans())
def test_every_reading_is_of_the_one_who_held_the_meter_point_then(cuts, vacant):
    bounds = [MONTH_DAYS[0], *(MONTH_DAYS[n] for n in sorted({*cuts} - {0, 31})), MONTH_DAYS[31]]
    stretches = [
        Holding(f"m~{number}", "m", days) for number, days in enumerate(itertools.pairwise(bounds))
    ]
    held = stretches[1:] if vacant else stretches
    starts = pd.date_range(JULY.start, JULY.end, freq="6h", inclusive="left")
    readings = as_categories(
        pd.concat(
            [
                pd.DataFrame({"meter_point_id": name, "start": starts, "quality": "actual"})
                for name in ("m", "n")
            ],
            ignore_index=True,
        )
    )
    books = MonthContracts(default_contracts([]), tuple(held))
    named = books.name_holders(readings, timezone="Asia/Shanghai")
    local = pd.DatetimeIndex(named["start"]).tz_convert("Asia/Shanghai")
    for before, after, at in zip(
        readings["meter_point_id"], named["meter_point_id"], local, strict=True
    ):
        own = [one.holder for one in held if one.days[0] <= at.date() < one.days[1]]
        assert after == (own[0] if own and before == "m" else before)


def test_rosters_hold_a_mover_under_a_pseudonym_of_its_own(world):
    name, mover = move_in(world)
    world.process()
    plan = find_plan(world.zone, MONTH)
    rosters = [
        RosterManifest.parse(load_outgoing(world.zone, one).roster.body) for one in plan.names
    ]
    seated = [pseudonym for roster in rosters for pseudonym in roster.pseudonyms]
    assert len(set(seated)) == 21
    assert not any(name in roster.model_dump_json() for roster in rosters)
    assert mover not in str(rosters)
