"""The same inputs give the same results by HTTP, by the SDK and by the command."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app as command
from gridsecure.client import encryption
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.errors import AuthenticityError, KeyMismatchError
from gridsecure.homomorphic.column_files import ColumnLabel, open_column
from gridsecure.homomorphic.parameters import REGISTER
from gridsecure.messages import KeyNotice, sign_message
from tests.analyst.logged_certificates import log_certificate
from tests.analyst.zone_services import certificate as released
from tests.apps.zone_apps import point
from tests.encryption.encryption_world import HMAC, SM2, SM4, World, encryption_at
from tests.grid_simulator import NOW, grid_keys

DATA = b"a table, 5 rows\n"
DIGEST = sm3_hex(DATA)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with encryption_at(tmp_path_factory.mktemp("parity")) as found:
        yield found


@pytest.fixture
def world(running: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A service that SDK and command reach, and a file."""
    monkeypatch.setattr(online, "utc_now", lambda: NOW)
    connect = lambda: httpx.Client(transport=running.carrier)  # noqa: E731 - said once
    monkeypatch.setattr(online, "open_connection", connect)
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_bytes(DATA)
    return running


def run(*words: str, person: str = "", world: World | None = None, code: int = 0) -> str:
    """What the command prints."""
    own = []
    if world is not None:
        own = ["--identity", "http://identity", "--encryption", "http://encryption"]
        own += ["--key", str(world.key_file(person))]
    done = CliRunner(env={"COLUMNS": "300"}).invoke(command, ["eaas", *words, *own])
    assert done.exit_code == code, done.output
    return done.stdout.strip()


def test_keys_are_made_moved_and_listed_alike(world: World) -> None:
    words = {"person": "acme-officer", "world": world}
    made = json.loads(run("create", "by-command", SM2, "--format", "json", **words))
    with world.sdk("acme-officer") as sdk:
        other = sdk.create_key("by-sdk", SM2)
        third = world.told("acme-officer", "POST", "/keys", {"name": "by-http", "algorithm": SM2})
        assert made.keys() == other.keys() == third.keys()
        listed = world.told("acme-officer", "GET", "/keys")
        assert listed == sdk.keys() == json.loads(run("keys", "--format", "json", **words))["keys"]
        ids = [one["key_id"] for one in (made, other, third)]
        moved = [
            json.loads(run("move", ids[0], "suspended", "--format", "json", **words)),
            sdk.move_key(ids[1], "suspended"),
            world.told("acme-officer", "POST", f"/keys/{ids[2]}/moves", {"target": "suspended"}),
        ]
        assert {one["state"] for one in moved} == {"suspended"}
        for key_id in ids:
            sdk.move_key(key_id, "active")
        rotated = [
            json.loads(run("rotate", ids[0], "--format", "json", **words)),
            sdk.rotate_key(ids[1]),
            world.told("acme-officer", "POST", f"/keys/{ids[2]}/rotations"),
        ]
        assert {one["generation"] for one in rotated} == {2}


def test_digests_macs_and_signatures_are_the_same_however_they_are_asked_for(world: World) -> None:
    words = {"person": "acme-user", "world": world}
    signing, macs = world.create(SM2, name="parity"), world.create(HMAC, name="parity-mac")
    body = {"digest": DIGEST}
    assert run("digest", "table.csv") == DIGEST
    with world.sdk("acme-user") as sdk:
        mac = world.told("acme-user", "POST", f"/keys/{macs}/macs", body)["mac"]
        assert mac == sdk.mac(macs, DATA) == run("mac", macs, "table.csv", **words)
        assert sdk.check_mac(macs, DATA, mac=mac)
        assert run("check-mac", macs, "table.csv", "--mac", mac, **words) == "good"
        made = [
            world.told("acme-user", "POST", f"/keys/{signing}/signatures", body)["signature"],
            sdk.sign(signing, DATA),
            run("sign", signing, "table.csv", **words),
        ]
    own = world.told("acme-user", "GET", f"/keys/{signing}")["public_key"]
    for signature in made:  # each is drawn anew; each is good in all three ways
        given = {"public_key": own, "signature": signature}
        assert world.told("acme-user", "POST", "/signature-checks", body | given)["is_good"]
        assert encryption.check_signature(DATA, **given)
        options = ["--signature", signature, "--public-key", own]
        assert run("check", "table.csv", *options) == "good"
    bad = ["--signature", "00" * 70, "--public-key", own]
    assert run("check", "table.csv", *bad, code=1)


def test_what_one_way_seals_the_other_opens_and_the_service_does_neither(world: World) -> None:
    key_id, words = world.create(SM4, name="parity-sm4"), {"person": "acme-user", "world": world}
    run("seal", key_id, "table.csv", "--output", "table.sealed", **words)
    with world.sdk("acme-user") as sdk:
        assert sdk.open(key_id, Path("table.sealed").read_bytes()) == DATA
        Path("other.sealed").write_bytes(sdk.seal(key_id, DATA))
    run("open", key_id, "other.sealed", "--output", "other.csv", **words)
    assert Path("other.csv").read_bytes() == DATA
    assert Path("other.csv").stat().st_mode & 0o777 == 0o600
    assert DATA not in Path("table.sealed").read_bytes()


def test_usage_is_the_same_to_everybody_who_may_read_it(world: World) -> None:
    macs, month = world.create(HMAC, name="used"), f"{NOW:%Y-%m}"
    world.told("acme-user", "POST", f"/keys/{macs}/macs", {"digest": DIGEST})
    words = {"person": "acme-user", "world": world}
    uses = json.loads(run("uses", macs, "--format", "json", **words))["uses"]
    assert [(one["operation"], one["person"]) for one in uses] == [("mac", "acme-user")]
    assert uses == world.told("acme-auditor", "GET", f"/keys/{macs}/uses")
    by_command = json.loads(run("usage", "--month", month, "--format", "json", **words))
    with world.sdk("acme-user") as sdk:
        assert sdk.usage(month) == by_command
        assert sdk.uses(macs) == uses
    assert by_command == world.told("acme-auditor", "GET", f"/usage?month={month}")
    assert "macs" in {one["measure"] for one in by_command["used"]}
    own = ["--identity", "http://identity", "--key", str(world.key_file("acme-user"))]
    named = ["usage", "show", "--month", month, "--encryption", "http://encryption", *own]
    rows = json.loads(CliRunner().invoke(command, [*named, "--format", "json"]).stdout)
    bare = [{name: row[name] for name in ("party", "measure", "amount")} for row in rows]
    assert bare == by_command["used"]


def test_coroutines_do_the_same(world: World) -> None:
    macs, sealing = world.create(HMAC, name="async-mac"), world.create(SM4, name="async-sm4")
    own = encryption.AsyncEncryptionService(world.sdk("acme-user"))

    async def work() -> tuple[list[str], str, bool, bytes]:
        async with own as service:
            names = [one["name"] for one in await service.keys()]
            mac = await service.mac(macs, DATA)
            is_good = await service.check_mac(macs, DATA, mac=mac)
            opened = await service.open(sealing, await service.seal(sealing, DATA))
            assert (await service.usage(f"{NOW:%Y-%m}"))["used"]
            return names, mac, is_good, opened

    names, mac, is_good, opened = asyncio.run(work())
    assert {"async-mac", "async-sm4"} <= set(names)
    with world.sdk("acme-user") as sdk:
        assert (mac, is_good, opened) == (sdk.mac(macs, DATA), True, DATA)


def test_a_certificate_is_found_to_say_the_same(world: World) -> None:
    certificate = log_certificate(released(), key=grid_keys().authority, folder=Path.cwd())
    content = certificate.model_dump_json(exclude_none=True).encode()
    Path("certificate.json").write_bytes(content)
    own = point(grid_keys().authority)
    body = {"certificate": json.loads(content)}
    by_http = world.told("rival-auditor", "POST", "/certificate-checks", body)
    by_sdk = encryption.check_certificate(content, authority_key=own)
    words = ["verify", "certificate.json", "--authority-key", own, "--format", "json"]
    by_command = json.loads(CliRunner().invoke(command, words).stdout)
    assert by_http == by_sdk == by_command
    forged = {"certificate": json.loads(content) | {"signature": "00" * 64}}
    answer = world.ask("rival-auditor", "POST", "/certificate-checks", forged)
    assert answer.status_code in {401, 403}


def test_a_column_is_encrypted_here_and_nowhere_else(world: World) -> None:
    """By SDK and command alone: over HTTP it would show the service the readings."""
    secret = grid_keys().secret[REGISTER.name]
    public, authority = secret.public, grid_keys().authority
    notice = KeyNotice(
        key_id=public.key_id,
        gateway="0" * 64,
        generation=1,
        parameters=public.parameters.name,
        parameters_digest=public.parameters.digest,
        public_key=sm3_hex(public.public_key),
        relinearisation_keys=None,
        created_at=NOW.isoformat(),
    )
    signed = sign_message(notice, key=authority).model_dump_json().encode()
    Path("notice.json").write_bytes(signed)
    Path("public.key").write_bytes(public.public_key)
    Path("values.txt").write_text("3\n1\n4\n1\n5\n")
    span = ("2026-07-01T00:00:00+08:00", "2026-08-01T00:00:00+08:00")
    label = ColumnLabel("total", "Wh", "roster-1", *span, 5, 100)
    own = encryption.open_key_set(signed, public.public_key, authority_key=point(authority))
    by_sdk = encryption.encrypt_column([3, 1, 4, 1, 5], label=label, key_set=own)
    digest = run(
        "encrypt-column", "values.txt", "--notice", "notice.json", "--public-key", "public.key",
        "--authority-key", point(authority), "--quantity", "total", "--unit", "Wh",
        "--roster", "roster-1", "--start", span[0], "--end", span[1], "--high", "100",
        "--output", "column",
    )  # fmt: skip
    by_command = Path("column").read_bytes()
    assert digest == sm3_hex(by_command)
    for data in (by_sdk, by_command):
        column, found = open_column(
            data, digest=sm3_hex(data), evaluation=public.evaluation, roster_id="roster-1"
        )
        assert found == label
        assert np.array_equal(secret.decrypt(column)[:5], [3, 1, 4, 1, 5])
    with pytest.raises(AuthenticityError):
        encryption.open_key_set(
            signed, public.public_key, authority_key=point(grid_keys().stranger)
        )
    with pytest.raises(KeyMismatchError):
        encryption.open_key_set(signed, public.public_key[:-1], authority_key=point(authority))


def test_the_lines_of_the_page_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's lines in docs/eaas.md, as they stand there, but for the addresses."""
    page = (Path(__file__).parents[2] / "docs" / "eaas.md").read_text(encoding="utf-8")
    lines = page.split("```python\n", 1)[1].split("```", 1)[0]
    assert "https://eaas.example" in lines
    given = {"signing": world.create(SM2, name="page"), "document": DATA}
    given["sealing"] = world.create(SM4, name="page-sealing")
    monkeypatch.setattr(encryption, "EncryptionService", lambda *_, **__: world.sdk("acme-user"))
    exec(compile(lines, "docs/eaas.md", "exec"), given)  # noqa: S102 - our own page


def curl_lines() -> list[tuple[str, str, str]]:
    """The curl lines of docs/eaas.md: who asks, the path, the body or nothing."""
    page = (Path(__file__).parents[2] / "docs" / "eaas.md").read_text(encoding="utf-8")
    text = page.split("```sh\n# curl\n", 1)[1].split("```", 1)[0]
    found = []
    for line in text.splitlines():
        if line.startswith("curl"):
            said, _, role = line.partition("# as ")
            words = shlex.split(said)
            body = words[words.index("-d") + 1] if "-d" in words else ""
            path = next(word for word in words if word.startswith("$EAAS"))
            found.append((role.strip(), path.removeprefix("$EAAS"), body))
    return found


def test_the_curl_lines_of_the_page_are_answered(running: World) -> None:
    """What each line sends, as it stands there; the page's names are filled in."""
    signing, macs = running.create(SM2, name="curl"), running.create(HMAC, name="curl-mac")
    filled = {
        "$KEY": signing, "$MAC": macs, "$MONTH": f"{NOW:%Y-%m}", "$DIGEST": DIGEST,
    }  # fmt: skip
    lines = curl_lines()
    assert len(lines) == 6
    for role, *words in lines:
        path, body = words
        for name, value in filled.items():
            path, body = path.replace(name, value), body.replace(name, value)
        person = {"officer": "acme-officer", "anybody": "acme-auditor"}.get(role, "acme-user")
        method = "POST" if body else "GET"
        running.told(person, method, path, json.loads(body) if body else None)
