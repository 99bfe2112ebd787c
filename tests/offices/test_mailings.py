"""Mailings: every customer finds the own bills, and the web server finds out nothing."""

from __future__ import annotations

import errno
import fcntl
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gridsecure import frames
from gridsecure.bill_mailings import (
    INDEX,
    MOST_BILLS,
    ON_A_SHELF,
    add_mailing,
    find_bills,
    make_mailing,
    read_index,
    shelf_of,
)
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.delivered_bills import CustomerKey, fetching_secret, own_secret, request_key
from gridsecure.errors import AuthenticityError, ConflictError, GridSecureError
from gridsecure.messages import sign_message
from gridsecure.offices import mailings
from gridsecure.offices.customers import Customers
from gridsecure.offices.mailings import post_bills
from gridsecure.whole_files import replace_file
from tests.attacks import WITHHELD, Attacked, attack, cut, rule

NOW = datetime(2026, 11, 30, tzinfo=UTC)
OFFICE = generate_private_key()
PUBLIC = OFFICE.public_key
SECRETS = [sm3_digest(bytes([number])) for number in range(2 * ON_A_SHELF + 1)]


def found(shelf: bytes, secret: bytes, mailing) -> list[bytes]:
    return find_bills(shelf, secret=secret, mailing=mailing, office=PUBLIC)


def test_each_finds_the_own_bills_on_the_own_shelf_and_nobody_elses() -> None:
    bills = {secret: [secret * (1 + secret[0] % 3)] for secret in SECRETS}
    bills[SECRETS[0]] = [b"first", b"", b"third"]
    mailing, shelves = make_mailing("2026-07", bills, office=OFFICE)
    made = list(shelves)
    assert (mailing.bits, len(made)) == (2, 4)
    for secret, own in bills.items():
        assert found(made[shelf_of(secret, mailing)], secret, mailing) == own
    assert found(made[shelf_of(b"stranger", mailing)], b"stranger", mailing) == []


def test_all_shelves_are_of_one_length_and_hold_nothing_that_was_posted() -> None:
    bills = {secret: [b"sealed to somebody" * 9] for secret in SECRETS}
    mailing, shelves = make_mailing("2026-07", bills, office=OFFICE)
    contents = [frames.split_frames(shelf)[1] for shelf in shelves]
    assert {len(content) for content in contents} == {mailing.records * mailing.record_bytes}
    assert not any(b"somebody" in content for content in contents)
    step = mailing.record_bytes
    for content in contents:  # in the order of what is drawn at random anyway
        records = [content[start : start + step] for start in range(0, len(content), step)]
        assert records == sorted(records)
        assert len(set(records)) == mailing.records


def test_nothing_of_two_mailings_is_alike() -> None:
    """What a server could link a customer's months by: shelf, mark or record."""
    (july, first), (august, second) = (
        make_mailing(name, {secret: [b"bill"] for secret in SECRETS}, office=OFFICE)
        for name in ("2026-07", "2026-08")
    )
    moved = sum(shelf_of(secret, july) != shelf_of(secret, august) for secret in SECRETS)
    assert moved > len(SECRETS) // 2, "three of four, by chance"
    marks = Counter(
        content[start : start + 16]
        for shelf in (*first, *second)
        for content in frames.split_frames(shelf)[1:]
        for start in range(0, len(content), july.record_bytes)
    )
    assert set(marks.values()) == {1}


@attack(
    "which records of a shelf are bills, by two copies of a mailing that was made twice",
    rule(
        "Marks that are nobody's follow from the office's key, the mailing and the shelf.",
        WITHHELD,
        cut(
            "gridsecure.bill_mailings:_nobodys",
            "mark = hkdf_sm3(secret, info",
            "mark = hkdf_sm3(secrets.token_bytes(32), info",
        ),
    ),
)
def test_a_mailing_that_is_made_again_has_the_same_marks(attacked: Attacked) -> None:
    bills = {secret: [b"bill"] for secret in SECRETS[:5]}
    copies = []
    for _ in range(2):
        mailing, (shelf,) = make_mailing("2026-07", bills, office=OFFICE)
        content = frames.split_frames(shelf)[1]
        step = mailing.record_bytes
        copies.append({content[start : start + 16] for start in range(0, len(content), step)})
    assert len(copies[0]) == mailing.records > len(bills)
    attacked.ends(WITHHELD if copies[0] == copies[1] else "")


def test_a_server_that_leaves_out_or_changes_anything_is_found_out() -> None:
    (mailing, shelves), (_, others) = (
        make_mailing(name, {secret: [b"bill"] for secret in SECRETS}, office=OFFICE)
        for name in ("2026-07", "2026-08")
    )
    made, secret = list(shelves), SECRETS[0]
    number = shelf_of(secret, mailing)
    said, content = frames.split_frames(made[number])
    without = frames.join_frames([said, content[mailing.record_bytes :]])
    altered = frames.join_frames([said, content[:-1] + bytes([content[-1] ^ 1])])
    for shelf in (made[number - 1], list(others)[number], without, altered, b"", said):
        with pytest.raises(GridSecureError) as refused:
            found(shelf, secret, mailing)
        assert refused.value.reason == "mailing.shelf"
    index = add_mailing(None, mailing, office=generate_private_key(), now=NOW)
    with pytest.raises(AuthenticityError):
        read_index(index.model_dump_json().encode(), office=PUBLIC)


def test_an_office_posts_a_cycle_once_and_says_what_goes_another_way(tmp_path: Path) -> None:
    keys = [generate_private_key() for _ in range(2)]
    customers = Customers()
    for number, key in enumerate(keys):
        customers, _ = customers.add(request_key(f"MP-{number}", key=key, now=NOW), now=NOW)
    sealed, site = tmp_path / "sealed", tmp_path / "site"

    def post(name: str):
        return post_bills(sealed, site, name=name, key=OFFICE, customers=customers, now=NOW)

    with pytest.raises(GridSecureError) as nothing:
        post("2026-07")
    assert nothing.value.reason == "mailing.nothing"
    assert not site.exists()
    for thumbprint, count in (
        (keys[0].public_key.thumbprint, MOST_BILLS + 1),
        (keys[1].public_key.thumbprint, 1),
        ("ab" * 32, 1),
    ):
        folder = sealed / thumbprint[:16]
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"2026-07-{number:03}.bill").write_bytes(b"%d" % number)
    done = post("2026-07")
    assert (done.bills, done.customers, done.left) == (MOST_BILLS + 1, 2, 2)
    with pytest.raises(GridSecureError) as twice:
        post("2026-07")
    assert twice.value.reason == "mailing.exists"
    (site / ".2026-08").mkdir(mode=0o755)
    (site / ".2026-08" / "00001.shelf").write_bytes(b"of a run that was interrupted")
    post("2026-08")
    assert [path.name for path in (site / "2026-08").iterdir()] == ["00000.shelf"]
    index = read_index((site / INDEX).read_bytes(), office=PUBLIC)
    assert [one.name for one in index.mailings] == ["2026-07", "2026-08"]
    (site / INDEX).unlink()  # as from a copy of before: what was posted is not posted anew
    with pytest.raises(GridSecureError) as known:
        post("2026-08")
    assert known.value.reason == "mailing.exists"
    (shelf,) = (site / "2026-07").iterdir()
    assert found(shelf.read_bytes(), own_secret(keys[1]), index.mailings[0]) == [b"0"]


def test_a_mailing_is_made_alone_and_nothing_is_left_of_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = generate_private_key()
    customers, _ = Customers().add(request_key("MP-1", key=key, now=NOW), now=NOW)
    sealed, site = tmp_path / "sealed", tmp_path / "site"
    folder = sealed / key.public_key.thumbprint[:16]
    folder.mkdir(parents=True)
    (folder / "2026-07-000.bill").write_bytes(b"sealed")
    tried = []

    def fail(path: Path, parts: list[bytes], *, mode: int) -> int:
        second = os.open(site, os.O_RDONLY)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tried.append(path.parent.stat().st_mode & 0o777)
        finally:
            os.close(second)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mailings, "replace_file", fail)
        with pytest.raises(GridSecureError) as full:
            post_bills(sealed, site, name="2026-07", key=OFFICE, customers=customers, now=NOW)
    assert full.value.reason == "mailing.site"
    assert tried == [0o700], "a second one waits meanwhile"
    assert list(site.iterdir()) == []

    def fill(path: Path, parts: list[bytes], *, mode: int) -> int:
        if INDEX in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace_file(path, parts, mode=mode)

    with monkeypatch.context() as patch:
        patch.setattr(mailings, "replace_file", fill)
        with pytest.raises(GridSecureError) as full:
            post_bills(sealed, site, name="2026-07", key=OFFICE, customers=customers, now=NOW)
    assert full.value.reason == "mailing.site"
    assert list(site.iterdir()) == [], "no shelves without an index that names them"
    assert post_bills(sealed, site, name="2026-07", key=OFFICE, customers=customers, now=NOW).bills
    assert sorted(path.name for path in site.iterdir()) == ["2026-07", INDEX]


def test_a_key_of_before_is_entered_again_with_what_its_bills_are_found_by() -> None:
    key = generate_private_key()
    point = key.public_key.point.hex()
    old = sign_message(CustomerKey(account="MP-0", public_key=point, made_at="then"), key=key)
    before, entered = Customers().add(old, now=NOW)
    renewed, _ = before.add(request_key("MP-0", key=key, now=NOW), now=NOW + timedelta(days=1))
    (customer,) = renewed.customers
    assert fetching_secret(entered.request) is None
    assert fetching_secret(customer.request) == own_secret(key)
    assert customer.entered_at == entered.entered_at
    for again in (old, request_key("MP-0", key=key, now=NOW)):
        with pytest.raises(ConflictError):
            renewed.add(again, now=NOW)


def test_a_mailing_that_is_being_made_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, modes = generate_private_key(), []
    customers, _ = Customers().add(request_key("MP-1", key=key, now=NOW), now=NOW)
    sealed, site = tmp_path / "sealed" / key.public_key.thumbprint[:16], tmp_path / "site"
    sealed.mkdir(parents=True)
    (sealed / "2026-07-1.bill").write_bytes(b"1")

    def write(path: Path, parts, **_: int) -> None:
        modes.append(path.parent.stat().st_mode & 0o777)
        path.write_bytes(b"".join(parts))

    monkeypatch.setattr(mailings, "replace_file", write)
    post_bills(sealed.parent, site, name="2026-07", key=OFFICE, customers=customers, now=NOW)
    assert modes[0] == 0o700
    assert (site / "2026-07").stat().st_mode & 0o777 == 0o755
