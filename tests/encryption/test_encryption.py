"""The encryption service: managed keys, their states and uses, whose they are, no opening."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import delete, select

from gridsecure.client.encryption import check_signature
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.sm3 import hmac_sm3, sm3_digest, sm3_hex
from gridsecure.encryption import usage
from gridsecure.encryption.keys import read_secret
from gridsecure.encryption.tables import SCHEMA, KekRow, KeySecretRow
from gridsecure.encryption.zone import find_person
from gridsecure.errors import EnvelopeError, InputError, StorageError
from gridsecure.store.database import read_session, write_session
from gridsecure.store.evidence import EvidenceRow
from gridsecure_api.encryption import create_encryption_app
from gridsecure_api.settings import KeyPersonEntry
from tests.apps.test_api_deps import api_routes
from tests.apps.zone_apps import TestClock, point
from tests.attacks import Attacked, attack, cut, rule
from tests.encryption.encryption_world import (
    HMAC,
    SM2,
    SM4,
    World,
    encryption_at,
    encryption_settings,
    key_of,
)
from tests.grid_simulator import NOW
from tests.store.schema_checks import check_schema

DOCUMENT = b"contract 7: not for the service's eyes"
DIGEST = sm3_hex(DOCUMENT)
GIVEN = {"digest": DIGEST}
MONTH = f"{NOW:%Y-%m}"
ABSENT = "not-found.managed-key"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with encryption_at(tmp_path_factory.mktemp("eaas")) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[World]:
    with encryption_at(tmp_path) as running:
        yield running


def uses_of(key_id: str, algorithm: str) -> list[tuple[str, dict[str, str]]]:
    """Every use that a key of an algorithm has, as path and body."""
    mac = {**GIVEN, "mac": "0" * 64}
    return {
        SM2: [(f"/keys/{key_id}/signatures", GIVEN)],
        HMAC: [(f"/keys/{key_id}/macs", GIVEN), (f"/keys/{key_id}/mac-checks", mac)],
        SM4: [(f"/keys/{key_id}/data-keys", {"use": use}) for use in ("seal", "open")],
    }[algorithm]


def test_a_new_database_has_the_tables_of_the_code(tmp_path: Path) -> None:
    check_schema(f"sqlite:///{tmp_path / 'zone.db'}", SCHEMA)


# --- what keys do -----------------------------------------------------------------------------


def test_a_digest_is_signed_and_anybody_verifies(world: World) -> None:
    made = world.told("acme-officer", "POST", "/keys", {"name": "seals", "algorithm": SM2})
    path = f"/keys/{made['key_id']}/signatures"
    signature = world.told("acme-user", "POST", path, GIVEN)["signature"]
    assert check_signature(DOCUMENT, signature=signature, public_key=made["public_key"])
    assert not check_signature(DOCUMENT + b"!", signature=signature, public_key=made["public_key"])
    for digest, is_good in ((DIGEST, True), ("0" * 64, False)):
        body = {"public_key": made["public_key"], "digest": digest, "signature": signature}
        asked = world.told("rival-user", "POST", "/signature-checks", body)
        assert asked == {"is_good": is_good}
    with pytest.raises(InputError, match=r"managed-key\.text"):
        check_signature(DOCUMENT, signature="no hex", public_key=made["public_key"])


def test_a_mac_is_that_of_the_digest_under_the_managed_secret(world: World) -> None:
    key_id = world.create(HMAC, name="macs")
    mac = world.told("acme-user", "POST", f"/keys/{key_id}/macs", GIVEN)["mac"]
    zone = world.app.state.encryption.zone
    person = find_person(zone, "acme-user")
    secret = read_secret(zone, person, key_id, algorithm=HMAC, states={"active"})
    assert mac == hmac_sm3(secret, sm3_digest(DOCUMENT)).hex()
    for given, is_good in ((mac, True), ("0" * 64, False)):
        body = {**GIVEN, "mac": given}
        asked = world.told("acme-user", "POST", f"/keys/{key_id}/mac-checks", body)
        assert asked == {"is_good": is_good}


def test_a_data_key_opens_with_the_persons_key_and_no_other(world: World) -> None:
    key_id = world.create(SM4, name="files")
    asked = [
        world.told("acme-user", "POST", f"/keys/{key_id}/data-keys", {"use": use})["sealed"]
        for use in ("seal", "open")
    ]
    purpose = f"gridsecure/data-key/{key_id}"
    opened = [
        open_from(bytes.fromhex(one), private_key=key_of("acme-user"), purpose=purpose)
        for one in asked
    ]
    assert opened[0] == opened[1]
    assert len(opened[0]) == 16
    with pytest.raises(EnvelopeError):
        open_from(bytes.fromhex(asked[0]), private_key=key_of("rival-user"), purpose=purpose)


def test_a_key_of_another_algorithm_does_none_of_it(world: World) -> None:
    made = {algorithm: world.create(algorithm, name=f"one-{algorithm}") for algorithm in (SM2, SM4)}
    for own, other in ((SM2, SM4), (SM4, SM2)):
        for path, body in uses_of(made[own], other):
            assert world.reason("acme-user", "POST", path, body) == "managed-key.algorithm"


# --- states -----------------------------------------------------------------------------------

WORKS = {
    "active": {"signatures", "macs", "mac-checks", "seal", "open"},
    "suspended": set(),
    "deactivated": {"mac-checks", "open"},
    "compromised": set(),
    "destroyed": set(),
}
ROADS = {
    "active": [],
    "suspended": ["suspended"],
    "deactivated": ["deactivated"],
    "compromised": ["compromised"],
    "destroyed": ["deactivated", "destroyed"],
}


@pytest.mark.parametrize("state", WORKS)
def test_a_state_lets_some_uses_and_refuses_the_others(world: World, state: str) -> None:
    working = set()
    for algorithm in (SM2, HMAC, SM4):
        key_id = world.create(algorithm, name=f"{state}-{algorithm}")
        for target in ROADS[state]:
            moved = world.told("acme-officer", "POST", f"/keys/{key_id}/moves", {"target": target})
            assert moved["state"] == target
        for path, body in uses_of(key_id, algorithm):
            answer = world.ask("acme-user", "POST", path, body)
            if answer.status_code == 200:
                working.add(body.get("use", path.rsplit("/", 1)[1]))
            else:
                assert answer.json()["reason"] == "managed-key.state"
    assert working == WORKS[state]


def test_moves_go_forward_and_a_destroyed_key_has_no_secret(world: World) -> None:
    key_id = world.create(SM2, name="moved")

    def move(target: str) -> str:
        answer = world.ask("acme-officer", "POST", f"/keys/{key_id}/moves", {"target": target})
        return answer.json().get("state") or answer.json()["reason"]

    refused = "managed-key.state"
    assert [move(one) for one in ("destroyed", "active", "suspended", "active")] == [
        refused, "active", "suspended", "active",
    ]  # fmt: skip
    assert [move(one) for one in ("deactivated", "active", "destroyed", "destroyed", "active")] == [
        "deactivated", refused, "destroyed", "destroyed", refused,
    ]  # fmt: skip
    with read_session(world.app.state.encryption.zone.engine) as session:
        kept = session.exec(select(KeySecretRow.key_id)).all()
    assert key_id not in kept
    assert world.told("acme-auditor", "GET", f"/keys/{key_id}")["state"] == "destroyed"


def test_a_rotation_makes_the_next_generation_and_the_old_one_opens_on(world: World) -> None:
    key_id = world.create(SM4, name="rotated")
    made = world.told("acme-officer", "POST", f"/keys/{key_id}/rotations")
    assert (made["generation"], made["state"], made["name"]) == (2, "active", "rotated")
    assert world.told("acme-user", "GET", f"/keys/{key_id}")["state"] == "deactivated"
    assert world.ask("acme-user", "POST", f"/keys/{key_id}/data-keys", {"use": "open"}).is_success
    again = world.reason("acme-officer", "POST", f"/keys/{key_id}/rotations")
    assert again == "managed-key.state"
    body = {"name": "rotated", "algorithm": SM4}
    assert world.reason("acme-officer", "POST", "/keys", body) == "managed-key.name"


# --- who may, and whose -----------------------------------------------------------------------


@pytest.mark.parametrize("person", ["acme-user", "acme-auditor", "acme-officer", "stranger"])
def test_each_duty_does_its_own_and_nothing_else(world: World, person: str) -> None:
    key_id = world.create(SM2, name=f"for-{person}")
    allowed = {
        duty
        for duty, (method, path, body) in {
            "use": ("POST", f"/keys/{key_id}/signatures", GIVEN),
            "read": ("GET", f"/keys/{key_id}", None),
            "make": ("POST", "/keys", {"name": f"by-{person}", "algorithm": SM2}),
            "move": ("POST", f"/keys/{key_id}/moves", {"target": "suspended"}),
        }.items()
        if world.ask(person, method, path, body).status_code == 200
    }
    expected = {
        "acme-user": {"use", "read"},
        "acme-auditor": {"read"},
        "acme-officer": {"read", "make", "move"},
        "stranger": set(),
    }
    assert allowed == expected[person]


OWN_KEYS = rule(
    "A managed key is its own organisation's alone.",
    "not-found.managed-key",
    cut(
        "gridsecure.encryption.keys:load_key",
        "row.organisation != person.organisation",
        "False",
    ),
)


@attack("a rival organisation signs with a managed key whose id it learned", OWN_KEYS)
def test_nobody_signs_with_anothers_key(fresh: World, attacked: Attacked) -> None:
    key_id = fresh.create(SM2)
    zone = fresh.app.state.encryption.zone
    stranger = find_person(zone, "rival-user")
    attacked.tries(lambda: read_secret(zone, stranger, key_id, algorithm=SM2, states={"active"}))


def test_no_route_shows_or_does_anything_with_anothers_key(fresh: World) -> None:
    """Every route with a key in it, asked by the other organisation's people of every duty."""
    made = {algorithm: fresh.create(algorithm) for algorithm in (SM2, HMAC, SM4)}
    bodies = {
        "moves": {"target": "suspended"}, "signatures": GIVEN, "macs": GIVEN,
        "mac-checks": {**GIVEN, "mac": "0" * 64}, "data-keys": {"use": "open"},
    }  # fmt: skip
    tried = 0
    for route in api_routes(fresh.app):
        if "{key_id}" not in route.path:
            continue
        (method,) = route.methods
        for key_id in made.values():
            path = route.path.replace("{key_id}", key_id)
            said = {
                fresh.reason(f"rival-{duty}", method, path, bodies.get(path.rsplit("/", 1)[1]))
                for duty in ("officer", "user", "auditor")
            }
            # Who has not the duty is refused as anybody; who has it finds no such key.
            assert ABSENT in said, path
            assert said <= {ABSENT, "authenticity.refused"}, (path, said)
            tried += 1
    assert tried == 3 * 8
    assert fresh.told("rival-auditor", "GET", "/keys") == []
    assert fresh.told("rival-auditor", "GET", f"/usage?month={MONTH}")["used"] == []
    assert [one["state"] for one in fresh.told("acme-auditor", "GET", "/keys")] == ["active"] * 3


def test_people_are_named_once_and_officers_use_no_keys(tmp_path: Path) -> None:
    both = KeyPersonEntry(
        person="a", organisation="acme", duties=("officer", "user"), public_key=point(key_of("a"))
    )
    one = both.model_copy(update={"duties": ("user",)})
    for people in ((both,), (one, one.model_copy(update={"person": "b"}))):
        settings = encryption_settings(tmp_path, people=people)
        with pytest.raises(InputError, match=r"managed-key\.person"):
            create_encryption_app(settings, clock=TestClock())


# --- what the service is shown, and gives -----------------------------------------------------

FIELDS = {
    "KeyWanted": {"name", "algorithm"},
    "MoveWanted": {"target"},
    "DigestGiven": {"digest"},
    "MacGiven": {"digest", "mac"},
    "SignatureGiven": {"public_key", "digest", "signature"},
    "DataKeyWanted": {"use"},
    "CertificateGiven": {"certificate"},
}
"""All that any body of the service may hold: names, digests and their tags, certificates."""


def test_no_route_takes_a_plaintext_or_decrypts_what_it_is_given(world: World) -> None:
    document = world.client.get("/openapi.json").json()
    bodies = set()
    for methods in document["paths"].values():
        for operation in methods.values():
            if "requestBody" in operation:
                ((kind, body),) = operation["requestBody"]["content"].items()
                assert kind == "application/json"
                bodies.add(body["schema"]["$ref"].rsplit("/", 1)[1])
    schemas = document["components"]["schemas"]
    assert {name: set(schemas[name]["properties"]) for name in bodies} == FIELDS
    assert all(schemas[name]["additionalProperties"] is False for name in bodies)
    # Digests are of one length, so none of them is a sealed text.
    assert schemas["DigestGiven"]["properties"]["digest"]["pattern"] == "^[0-9a-f]{64}$"


def test_what_a_use_is_of_stands_in_no_table_and_no_log(fresh: World) -> None:
    key_id = fresh.create(SM2)
    fresh.told("acme-user", "POST", f"/keys/{key_id}/signatures", GIVEN)
    zone = fresh.app.state.encryption.zone
    with read_session(zone.engine) as session:
        entries = session.exec(select(EvidenceRow)).all()
    told = [(one.action, one.actor, json.loads(one.detail)) for one in entries]
    assert [one[:2] for one in told] == [
        ("managed-key.created", "acme-officer"), ("managed-key.signature", "acme-user"),
    ]  # fmt: skip
    assert told[1][2].keys() == {"use", "key", "party"}
    secret = read_secret(
        zone, find_person(zone, "acme-user"), key_id, algorithm=SM2, states={"active"}
    )
    files = (fresh.folder / "encryption").glob("zone.db*")  # its log of what was written last, too
    kept = b"".join(path.read_bytes() for path in files)
    assert key_id.encode() in kept
    for hidden in (DIGEST, secret.hex()):
        assert hidden.encode() not in kept
    assert secret not in kept


def test_uses_are_metered_and_reconcile(fresh: World) -> None:
    for algorithm in (SM2, HMAC, SM4):
        for path, body in uses_of(fresh.create(algorithm), algorithm):
            fresh.told("acme-user", "POST", path, body)
    used = fresh.told("acme-auditor", "GET", f"/usage?month={MONTH}")["used"]
    assert {one["measure"]: one["amount"] for one in used} == {
        "signatures": 1, "macs": 1, "mac_checks": 1,
        "data_keys_for_sealing": 1, "data_keys_for_opening": 1,
    }  # fmt: skip
    assert {one["party"] for one in used} == {"acme"}
    with read_session(fresh.app.state.encryption.zone.engine) as session:
        assert list(usage.BOOK.find_differences(session, usage.list_done(session))) == []


def test_a_zone_starts_with_the_key_that_its_secrets_are_sealed_under_alone(fresh: World) -> None:
    """A new one in its place would seal what is lost when the right one comes back."""
    fresh.create(SM2)
    folder = fresh.folder / "encryption"
    right = (folder / "kek.key").read_bytes()
    for wrong in (bytes(16), None):
        (folder / "kek.key").unlink()
        if wrong is not None:
            (folder / "kek.key").touch(mode=0o600)
            (folder / "kek.key").write_bytes(wrong)
        with pytest.raises(StorageError) as refused:
            create_encryption_app(encryption_settings(folder), clock=TestClock())
        assert refused.value.reason == "keys.kek"
    assert not (folder / "kek.key").exists()
    with write_session(fresh.app.state.encryption.zone.engine) as session:
        session.exec(delete(KekRow))  # as of before there were check values
    (folder / "kek.key").touch(mode=0o600)
    (folder / "kek.key").write_bytes(bytes(16))
    with pytest.raises(StorageError) as refused:
        create_encryption_app(encryption_settings(folder), clock=TestClock())
    assert refused.value.reason == "keys.kek"
    (folder / "kek.key").write_bytes(right)
    create_encryption_app(encryption_settings(folder), clock=TestClock())


def test_of_two_that_start_on_an_empty_database_with_keys_of_their_own_one_alone_does(
    tmp_path: Path,
) -> None:
    """Each would seal secrets that the other cannot open."""
    first = encryption_settings(tmp_path / "first")
    create_encryption_app(first, clock=TestClock())
    second = encryption_settings(tmp_path / "second", database=first.database_url)
    for has_key in (False, True):  # the latter came second between its look and its first word
        if has_key:
            (tmp_path / "second" / "kek.key").touch(mode=0o600)
            (tmp_path / "second" / "kek.key").write_bytes(bytes(16))
        with pytest.raises(StorageError) as refused:
            create_encryption_app(second, clock=TestClock())
        assert refused.value.reason == "keys.kek"
        assert (tmp_path / "second" / "kek.key").exists() is has_key
    create_encryption_app(first, clock=TestClock())
