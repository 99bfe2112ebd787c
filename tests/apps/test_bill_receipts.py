"""A bill's receipt: from the gateway through the billing office to the customer, who checks it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gridsecure.bill_receipts import BillReceipt, DeliveredReceipt, ReceiptTree
from gridsecure.cli.main import app as command
from gridsecure.cli.my import receipt_check_of
from gridsecure.cli.receipt_check import CustomersFile, check_bill
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.delivered_bills import issue_bill, seal_delivery
from gridsecure.errors import AuditBrokenError
from gridsecure.gateway.bill_commitments import list_receipt_trees, open_readings
from gridsecure.gateway.correction_plan import list_corrections
from gridsecure.gateway.correction_versions import compute_expected_corrections
from gridsecure.gateway.meanings import Meaning
from gridsecure.gateway.month_files import load_files
from gridsecure.gateway.reconciliation import compute_expected_bills
from gridsecure.offices.billing_office import attach_receipts
from gridsecure.portal.folder import BillFolder
from gridsecure.portal.own_bills import CustomerKeys
from gridsecure.portal.web import Door, new_token, portal_app
from gridsecure.store.proved_entries import open_entry
from gridsecure.tariffs.tariff import catalogue_tariffs
from gridsecure.transparency.notes import NoteKey
from gridsecure.transparency.tree import leaf_hash
from gridsecure_api.deps import utc_now
from tests.apps.gateway_services import Services
from tests.apps.zone_apps import point
from tests.cli.gateway_desk import ADDRESSES, open_desk
from tests.cli.in_process import client_of
from tests.gateway.gateway_world import MONTH

CORRECTED = "2026-07-01 05:00:00+08:00"


@dataclass(frozen=True)
class World:
    """A month that was billed and corrected, and its bill file with receipts."""

    services: Services
    folder: Path
    document: dict[str, Any]
    corrected: str
    unread: str

    @property
    def zone(self):
        return self.services.app.state.service.zone

    @property
    def trees(self) -> list[ReceiptTree]:
        return list_receipt_trees(self.zone, self.services.app.state.service.log, MONTH)

    @property
    def uncorrected(self) -> str:
        others = {self.corrected, self.unread}
        return next(name for name in self.document["meters"] if name not in others)

    def run(self, *said: str) -> Result:
        return CliRunner(env={"COLUMNS": "200"}).invoke(command, said)

    def verify(self, name: str, version: int = 1, **changed: Path | str) -> Result:
        tariff = self.period(name, version)["tariff"]["id"]
        given = {
            "opening": self.folder / f"{name}.opening",
            "readings": self.folder / ("readings.csv" if version == 1 else "later.csv"),
            "tariff": catalogue_tariffs()[tariff],
            "gateway_key": point(self.services.key),
        }
        options = [
            text
            for option, value in (given | changed).items()
            if option != "receipt"
            for text in (f"--{option.replace('_', '-')}", str(value))
        ]
        receipt = changed.get("receipt") or self.receipt(name, version)
        return self.run("receipt", "verify", str(receipt), *options)

    def period(self, name: str, version: int) -> dict[str, Any]:
        return self.document["meters"][name]["periods"][version - 1]

    def receipt(self, name: str, version: int = 1) -> Path:
        mark = "" if version == 1 else f"-v{version}"
        return self.folder / "statements" / f"statement-{name}-{MONTH}{mark}-en.receipt.json"

    def changed(self, path: Path, change: Callable[[Any], object], *, name: str) -> Path:
        """A copy of a JSON file in which something is another."""
        content = json.loads(path.read_text())
        change(content)
        copy = self.folder / name
        copy.write_text(json.dumps(content))
        return copy


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("receipts")
    with pytest.MonkeyPatch.context() as patch:
        services = open_desk(folder, patch)
        corrected, *_, unread = services.world.simulated.meter_point_ids
        readings = with_reading(services.world.simulated.wide_csv(), unread, "")
        services.put_files(readings=[readings])
        assert services.processed()["state"] == "done"
        (folder / "readings.csv").write_bytes(readings)
        late = f"meter_point_id,start,kwh,quality\n{corrected},{CORRECTED},1.234,actual\n".encode()
        files = [("readings", ("late.csv", late))]
        asked = services.call("POST", "/corrections", files=files, params={"reason": "on site"})
        assert asked.is_success, asked.text
        services.worker.wait(300)
        (folder / "later.csv").write_bytes(with_reading(readings, corrected, "1.234"))
        document = bill_document(services)
        (folder / "bills.json").write_text(json.dumps(document))
        made = World(services, folder, document, corrected, unread)
        said = ("--bill", str(folder / "bills.json"), "--output", str(folder / "statements"))
        done = made.run("statement", *said, "--language", "en")
        assert done.exit_code == 0, done.output
        for name in (corrected, unread, made.uncorrected):
            out = ("--meter", name, "--out", str(folder / f"{name}.opening"))
            key = ("--key", str(folder / "operator.key"))
            done = made.run("receipt", "open", MONTH, *out, *ADDRESSES, *key)
            assert done.exit_code == 0, done.output
        yield made
        services.close()


def with_reading(readings: bytes, name: str, kwh: str) -> bytes:
    """A file in which the sixth hour of a meter point's first day says something else."""
    head, *lines = readings.decode().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(f"{name},{MONTH}-01,"))
    cells = lines[at].split(",")
    cells[head.split(",").index("p6")] = kwh
    lines[at] = ",".join(cells)
    return "\n".join([head, *lines, ""]).encode()


def bill_document(services: Services) -> dict[str, Any]:
    """The bill file as the billing office writes it, of what the oracle expects."""
    zone = services.app.state.service.zone
    names = {name: meter for meter, name in services.world.settlement_names().items()}
    files = load_files(zone, MONTH)
    meters: dict[str, Any] = {}
    for bills in compute_expected_bills(zone, files).values():
        meters |= {names[name]: json.loads(json.dumps(bill)) for name, bill in bills.items()}
    for plan in list_corrections(zone, MONTH):
        found = compute_expected_corrections(zone, files, correction=plan.files)
        for bills in found.values():
            for name, bill in bills.items():
                meters[names[name]]["periods"] += bill["periods"]
    document = {"meters": meters}
    answer = services.call("GET", "/bill-receipts", role="billing")
    trees = [ReceiptTree.model_validate(one) for one in answer.json()]
    attach_receipts(document, [receipt for tree in trees for receipt in tree.receipts()])
    return document


def refused(done: Result, reason: str) -> None:
    assert done.exit_code == 1, done.output
    assert done.output.split()[0] == reason, done.output


def test_every_bill_has_a_receipt_in_the_log(world: World) -> None:
    keys = world.services.app.state.service.log.signer.keys
    periods = [p for bill in world.document["meters"].values() for p in bill["periods"]]
    assert len(periods) == len(world.services.world.simulated.meter_point_ids) + 1
    for period in periods:
        receipt = BillReceipt.model_validate(period["receipt"])
        _, entry = open_entry(receipt.log_proof, keys=keys)
        receipt.check_tree(entry.detail)


def test_a_customer_counts_again(world: World) -> None:
    done = world.verify(world.uncorrected)
    assert done.exit_code == 0, done.output
    total = world.period(world.uncorrected, 1)["total"]
    assert f"version 1: {total}" in done.output
    assert re.search(r"made of +744 readings, 0 of them estimated", done.output)
    told = json.loads(world.verify(world.uncorrected, format="json").stdout)
    assert told["log"].startswith("gridsecure/gateway/")


def test_a_customer_counts_again_in_the_portal(world: World, tmp_path: Path) -> None:
    office, customer = generate_private_key(), generate_private_key()
    for version in (1, 2):
        period = world.period(world.corrected, version)
        code = issue_bill(world.corrected, period, issuer="", key=office)
        sealed = seal_delivery(period, code=code, customer=customer.public_key, now=utc_now())
        (tmp_path / f"{version}.bill").write_bytes(sealed)
    door, keys = Door(8901, new_token()), CustomerKeys(customer, office.public_key)
    check = receipt_check_of(point(world.services.key))
    app = portal_app(BillFolder(tmp_path, keys), door=door, clock=utc_now, check=check)
    with client_of(app, url=door.origin) as http:  # type: ignore[arg-type]  # any application
        page = http.get(f"/{door.token}/en/").text
        corrected, first = re.findall(r'href="([^"]+/bills/[0-9a-f]+)"', page)
        assert "receipt-checks" in http.get(corrected).text

        def checked(link: str, readings: str) -> httpx.Response:
            opening = (world.folder / f"{world.corrected}.opening").read_bytes()
            files = {"opening": opening, "readings": (world.folder / readings).read_bytes()}
            return http.post(f"{link}/receipt-checks", files=files, headers={"Origin": door.origin})

        for link, readings in ((corrected, "later.csv"), (first, "readings.csv")):
            done = checked(link, readings)
            assert done.status_code == 200, done.text
            assert "The bill was made of these readings" in done.text
            assert "744" in done.text
        other = checked(corrected, "readings.csv")
        assert (other.status_code, "receipt.readings" in other.text) == (422, True)


def test_a_correction_names_the_bill_that_it_cancels(world: World) -> None:
    name = world.corrected
    first = world.receipt(name)
    assert world.verify(name).exit_code == 0
    done = world.verify(name, 2, earlier=first)
    assert done.exit_code == 0, done.output
    earlier = BillReceipt.model_validate(world.period(name, 1)["receipt"]).commitment
    assert earlier.digest in done.output
    other = world.receipt(world.uncorrected)
    refused(world.verify(name, 2, earlier=other), "receipt.earlier")
    refused(world.verify(name, 2, readings=world.folder / "readings.csv"), "receipt.readings")


def test_a_refund_and_what_it_is_taken_from_are_compared(world: World) -> None:
    name, first = world.corrected, world.receipt(world.corrected)

    def put(value: object, *place: str | int) -> Callable[[Any], None]:
        def change(content: dict[str, Any]) -> None:
            part = content["period"]
            for step in place[:-1]:
                part = part[step]
            part[place[-1]] = value

        return change

    for change in (
        put("-99.00", "adjustment", "total"),
        put("-99.00", "adjustment", "lines", 0, "amount"),
        put("99.00", "cancels", "total"),
        put("99.00", "cancels", "lines", 0, "amount"),
        put({"rate": "0.13", "net": "1.00", "tax": "0.13"}, "vat"),
        put("CNX", "tariff", "currency"),
        lambda content: content["period"].pop("adjustment"),
    ):
        forged = world.changed(world.receipt(name, 2), change, name="forged.json")
        refused(world.verify(name, 2, receipt=forged, earlier=first), "receipt.bill")
    forged = world.changed(first, put("1.00", "total"), name="forged.json")
    refused(world.verify(name, 2, earlier=forged), "receipt.bill")
    forged = world.changed(first, put("1e9", "lines", 0, "amount"), name="forged.json")
    refused(world.verify(name, 2, earlier=forged), "receipt.file")
    refused(world.verify(name, 2), "receipt.earlier")
    refused(world.verify(name, earlier=first), "receipt.earlier")


def test_what_the_customer_alone_knows_is_shown(world: World) -> None:
    name = world.uncorrected
    facts = json.loads((world.folder / f"{name}.opening").read_text())[0]["facts"]
    told = json.loads(world.verify(name, format="json").stdout)
    assert told["facts"] == facts
    assert told["unchecked"] == []
    shown = world.verify(name).output
    for named in ("household_quota_wh", "contracted_va", "free_quota_wh", "year_before_wh"):
        assert re.search(rf"{named} +{facts[named]}\n", shown)

    def add(content: dict[str, Any]) -> None:
        content["period"]["notices"] = [{"code": "x", "text": "Paid already."}]

    noted = world.changed(world.receipt(name), add, name="noted.json")
    assert "not checked: notices" in world.verify(name, receipt=noted).output


def test_days_that_nobody_committed_to_are_found(world: World) -> None:
    def serve(content: dict[str, Any]) -> None:
        start, end = (f"{MONTH}-{day}T00:00:00+08:00" for day in ("03", "09"))
        content["period"]["served"] = {"start": start, "end": end}

    for change in (serve, lambda content: content["period"].update(served="no days")):
        forged = world.changed(world.receipt(world.uncorrected), change, name="forged.json")
        refused(world.verify(world.uncorrected, receipt=forged), "receipt.bill")


def test_other_readings_are_found(world: World) -> None:
    name = world.uncorrected
    path = world.folder / "altered.csv"
    path.write_bytes(with_reading((world.folder / "readings.csv").read_bytes(), name, "0.777"))
    refused(world.verify(name, readings=path), "receipt.readings")
    lines = (world.folder / "readings.csv").read_text().splitlines(keepends=True)
    last = next(line for line in lines if line.startswith(f"{name},{MONTH}-31,"))
    path.write_text("".join(line for line in lines if line != last))
    refused(world.verify(name, readings=path), "receipt.incomplete")


def test_another_tariff_is_found(world: World) -> None:
    text = catalogue_tariffs()[world.period(world.uncorrected, 1)["tariff"]["id"]].read_text()
    path = world.folder / "other.toml"
    path.write_text(text + "\n# another edition\n")
    refused(world.verify(world.uncorrected, tariff=path), "receipt.tariff")


def test_another_bill_is_found(world: World) -> None:
    name = world.uncorrected

    def raise_total(content: dict[str, Any]) -> None:
        content["period"]["total"] = "1.00"

    def raise_line(content: dict[str, Any]) -> None:
        content["period"]["lines"][0]["amount"] = "1.00"

    def rename(content: dict[str, Any]) -> None:
        content["meter_point_id"] = world.corrected

    def take_over(content: dict[str, Any]) -> None:
        content["receipt"] = world.period(world.corrected, 1)["receipt"]

    for change, reason in (
        (raise_total, "receipt.bill"),
        (raise_line, "receipt.bill"),
        (rename, "receipt.other-bill"),
        (take_over, "receipt.other-bill"),
    ):
        forged = world.changed(world.receipt(name), change, name="forged.json")
        refused(world.verify(name, receipt=forged), reason)


def test_a_commitment_that_is_not_in_the_log_is_found(world: World) -> None:
    name = world.uncorrected

    def commit(field: str, value: object) -> Callable[[Any], None]:
        def change(content: dict[str, Any]) -> None:
            content["receipt"]["commitment"][field] = value

        return change

    def take_proof(content: dict[str, Any]) -> None:
        content["receipt"]["log_proof"] = world.period(world.corrected, 2)["receipt"]["log_proof"]

    for change in (
        commit("readings", "0" * 64),
        commit("tariff", "0" * 64),
        commit("plan_version", 99),
        take_proof,
    ):
        forged = world.changed(world.receipt(name), change, name="forged.json")
        refused(world.verify(name, receipt=forged), "receipt.tree")
    refused(world.verify(name, gateway_key="04" + "0" * 128), "settings.key")
    other = point(world.services.grid.authority_key)
    done = world.verify(name, gateway_key=other)
    assert done.output.startswith("log.")


def test_swapped_openings_are_found(world: World) -> None:
    name = world.uncorrected
    own = world.folder / f"{name}.opening"
    foreign = json.loads((world.folder / f"{world.corrected}.opening").read_text())

    def swap_salt(content: list[dict[str, Any]]) -> None:
        content[0]["salt"] = foreign[0]["salt"]

    def change_facts(content: list[dict[str, Any]]) -> None:
        content[0]["facts"]["contracted_va"] += 1000

    for change, reason in ((swap_salt, "receipt.salt"), (change_facts, "receipt.facts")):
        forged = world.changed(own, change, name="forged.opening")
        refused(world.verify(name, opening=forged), reason)
    opening = world.folder / f"{world.corrected}.opening"
    refused(world.verify(name, opening=opening), "receipt.opening")
    refused(world.verify(name, opening=world.folder / "readings.csv"), "receipt.file")
    refused(world.verify(name, receipt=own), "receipt.file")
    refused(world.verify(name, opening=world.folder / "none"), "receipt.missing")


def test_the_office_is_given_no_salt_and_the_log_names_nobody(world: World) -> None:
    told = world.services.call("GET", "/bill-receipts", role="billing").text
    opening = json.loads((world.folder / f"{world.corrected}.opening").read_text())
    assert [one["version"] for one in opening] == [1, 2]
    for one in opening:
        assert one["salt"] not in told
    assert world.services.call("GET", "/bill-receipts").status_code == 403
    asked = {"params": {"meter_point": world.corrected}}
    assert (
        world.services.call("GET", "/readings-openings", role="billing", **asked).status_code == 403
    )
    missing = world.services.call("GET", "/readings-openings", params={"meter_point": "none"})
    assert missing.json()["reason"] == "receipt.meter"
    for tree in world.trees:
        _, entry = open_entry(tree.log_proof, keys=[sm2_key(world)])
        text = json.dumps(dict(entry.detail))
        assert set(entry.detail) == {"root", "leaves", "start", "version"}
        assert not any(one.meter_point_id in text for one in tree.commitments)


def test_leaves_stand_in_an_order_that_says_nothing_of_slots(world: World) -> None:
    for tree in world.trees:
        leaves = [leaf_hash(one.text) for one in tree.commitments]
        assert leaves == sorted(leaves)


def test_a_correction_does_not_tell_how_many_slots_were_corrected(world: World) -> None:
    trees = {len(tree.commitments): tree.receipts() for tree in world.trees}
    (receipt,) = trees[1]
    first = next(
        one
        for receipts in trees.values()
        for one in receipts
        if one.commitment.digest == receipt.commitment.corrects
    )
    sizes = {one.size for receipts in trees.values() for one in receipts}
    assert all(size & (size - 1) == 0 for size in sizes)
    assert receipt.size == first.size > 1


def test_bills_of_every_tariff_are_counted_again(world: World) -> None:
    names = {}
    for name, bill in world.document["meters"].items():
        names.setdefault(bill["periods"][0]["tariff"]["id"], name)
    assert len(names) > 1
    for tariff, name in names.items():
        own = CustomersFile(
            world.folder / "readings.csv",
            Meaning(None, None, None, ""),
            catalogue_tariffs()[tariff].read_text(encoding="utf-8"),
        )
        openings = open_readings(world.zone, MONTH, meter_point_id=name)
        period = dict(world.period(name, 1))
        receipt = BillReceipt.model_validate(period.pop("receipt"))
        delivered = DeliveredReceipt(meter_point_id=name, period=period, receipt=receipt)
        assert check_bill(delivered, openings, own=own).readings == 744


def test_an_estimate_fills_what_nobody_read(world: World) -> None:
    name = world.unread
    done = world.verify(name)
    assert done.exit_code == 0, done.output
    assert "744 readings, 1 of them estimated" in done.output
    path = world.folder / "read.csv"
    path.write_bytes(with_reading((world.folder / "readings.csv").read_bytes(), name, "9.999"))
    done = world.verify(name, readings=path)
    refused(done, "receipt.readings")
    assert "1 of them were estimated for the bill" in done.output


def test_kept_commitments_that_were_changed_are_not_given_out(world: World) -> None:
    (path,) = world.zone.folder.glob("months/*/corrections/*/receipts/*.jsonl")
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"plan_version":', b'"plan_version":1'))
    with pytest.raises(AuditBrokenError, match=r"receipt\.kept"):
        _ = world.trees
    path.write_bytes(before)
    assert path.stat().st_mode & 0o777 == 0o600


def sm2_key(world: World) -> NoteKey:
    key = world.services.key.public_key
    return NoteKey(f"gridsecure/gateway/{key.thumbprint}", "sm2", key.point)


def test_a_receipt_is_proved_in_a_checkpoint_that_a_witness_cosigned(world: World) -> None:
    own = [key.text for key in world.services.app.state.service.log.signer.keys]
    keys = [option for key in own for option in ("--key", key)]
    copy, cosigned, proof, policy, key = (
        str(world.folder / name) for name in ("copy", "checkpoint", "proof", "policy", "witness")
    )
    name = "regulator.example/log"
    made = world.run("log", "new-witness", key, "--name", name)
    Path(policy).write_text(
        "".join(f"log {one}\n" for one in own)
        + f"witness regulator {made.stdout.strip()}\nquorum regulator\n"
    )
    for said in (
        ("log", "witness", "http://gateway/log", "--copy", copy, *keys),
        ("log", "cosign", "--copy", copy, "--key", key, "--name", name, "--out", cosigned),
        ("log", "prove", str(world.receipt(world.uncorrected)), "--copy", copy, "--checkpoint",
         cosigned, "--out", proof),
    ):  # fmt: skip
        done = world.run(*said)
        assert done.exit_code == 0, done.output
    done = world.verify(world.uncorrected, policy=policy, proof=proof)
    assert done.exit_code == 0, done.output
    assert "cosigned   by regulator" in done.output
    refused(world.verify(world.uncorrected, policy=policy), "log.quorum")
