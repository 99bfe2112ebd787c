"""Fetching bills: what a web server sees of customers with a bill and without one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from gridsecure.bill_mailings import INDEX, add_mailing, make_mailing, read_index, shelf_name
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.delivered_bills import own_secret
from gridsecure.errors import GridSecureError
from gridsecure.portal.fetching import fetch_bills
from tests.attacks import WITHHELD, Attacked, attack, cut, rule

OFFICE, CORRECTED, OTHER = (generate_private_key() for _ in range(3))


def posted(**mailings: list[Sm2PrivateKey]) -> dict[str, bytes]:
    """What lies at the web server: mailings with a bill for each of some keys."""
    files: dict[str, bytes] = {}
    index = None
    for name, keys in mailings.items():
        bills = {own_secret(key): [b"sealed"] for key in keys}
        mailing, shelves = make_mailing(name, bills, office=OFFICE)
        files |= {f"/{name}/{shelf_name(n)}": shelf for n, shelf in enumerate(shelves)}
        signed = add_mailing(index, mailing, office=OFFICE, now=datetime(2026, 11, 30, tzinfo=UTC))
        files[f"/{INDEX}"] = signed.model_dump_json().encode()
        index = read_index(files[f"/{INDEX}"], office=OFFICE.public_key)
    return files


def fetched(files: dict[str, bytes], key: Sm2PrivateKey, folder: Path) -> tuple[list[str], int]:
    """The paths that a run asks for, and how many bills it finds."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path not in files:
            return httpx.Response(404, stream=httpx.ByteStream(b""))
        return httpx.Response(200, stream=httpx.ByteStream(files[request.url.path]))

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        found = fetch_bills(
            http, "https://bills.example", key=key, office=OFFICE.public_key, folder=folder
        )
    return asked, len(found)


@attack(
    "who was corrected, by which customers ask for the shelf of corrections again",
    rule(
        "A shelf is fetched once, whether bills were on it or none.",
        WITHHELD,
        cut(
            "gridsecure.portal.fetching:fetch_bills",
            "if entry in fetched:",
            'if list(folder.glob(f"{mailing.name}.*")):',
        ),
    ),
)
def test_customers_without_a_bill_ask_as_those_with_one(tmp_path: Path, attacked: Attacked) -> None:
    files = posted(corrections=[CORRECTED], july=[CORRECTED, OTHER])
    runs = []
    for name, key in (("corrected", CORRECTED), ("other", OTHER)):
        first, again = (fetched(files, key, tmp_path / name) for _ in range(2))
        assert first[1] == (2 if key is CORRECTED else 1)
        runs.append((first[0], again[0]))
    attacked.ends(WITHHELD if runs[0] == runs[1] else "")


def test_bills_that_were_moved_away_are_not_fetched_again(tmp_path: Path) -> None:
    files = posted(corrections=[CORRECTED], july=[CORRECTED, OTHER])
    assert fetched(files, CORRECTED, tmp_path)[1] == 2
    for path in tmp_path.glob("*.bill"):
        path.unlink()
    assert fetched(files, CORRECTED, tmp_path) == ([f"/{INDEX}"], 0)


def test_two_keys_share_a_folder_and_each_has_its_own_bills(tmp_path: Path) -> None:
    files = posted(july=[CORRECTED, OTHER])
    assert fetched(files, CORRECTED, tmp_path)[1] == 1
    assert fetched(files, OTHER, tmp_path)[1] == 1
    assert len(list(tmp_path.glob("july.*.bill"))) == 2


def test_a_mailing_that_the_server_refuses_does_not_keep_the_others_away(tmp_path: Path) -> None:
    files = posted(june=[OTHER], july=[OTHER])
    june = {path for path in files if path.startswith("/june/")}
    held = {path: files.pop(path) for path in june}
    with pytest.raises(GridSecureError, match="answered 404") as refused:
        fetched(files, OTHER, tmp_path)
    assert refused.value.reason == "mailing.server"
    assert [path.name.split(".")[0] for path in tmp_path.glob("*.bill")] == ["july"]
    assert fetched(files | held, OTHER, tmp_path)[1] == 1
