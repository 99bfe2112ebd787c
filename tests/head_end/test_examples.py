"""What docs/readings.md and the API page show, run as it stands over loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from gridsecure.crypto.sm2 import generate_private_key, private_key_from_bytes
from gridsecure.messages import BatchNotice, BatchReceipt, ReadingCounts, sign_message
from gridsecure.wire.gateway import BatchStatus
from gridsecure_api.deps import utc_now
from gridsecure_api.identity import create_identity_app
from gridsecure_api.settings import PersonEntry
from tests.apps.office_services import served, write_secret
from tests.apps.zone_apps import bearer, gateway_app, identity_settings, point

COUNTS = ReadingCounts(
    came_in=96,
    billed=90,
    estimated=2,
    quarantined=4,
    waiting=0,
    reasons={"quarantined": {"superseded": 4}},
)
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "readings.md").read_text(encoding="utf-8")
DAY = "meter_point_id,start,kwh\n" + "".join(
    f"0902-1,2026-07-01 {hour:02}:00,0.4\n" for hour in range(1, 25)
)
MONTH = "meter_point_id,start,kwh\n" + "".join(
    f"0902-1,2026-06-{1 + hour // 24:02} {1 + hour % 24:02}:00,0.4\n" for hour in range(24 * 30)
)


def shown(language: str) -> list[str]:
    """The page's examples in a language, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with the keys and the file that the page speaks of, and the page's addresses."""
    folder = tmp_path_factory.mktemp("desk")
    keys = {name: generate_private_key() for name in ("headend", "operator")}
    for name, key in keys.items():
        write_secret(folder / f"{name}.key", key.to_bytes())
    (folder / "2026-07-01.csv").write_text(DAY)
    (folder / "2026-07.csv").write_text(MONTH)
    settings = identity_settings(
        folder / "identity",
        people=(PersonEntry(name="op", roles=("operator",), public_key=point(keys["operator"])),),
    )
    identity = create_identity_app(settings, clock=utc_now)
    gateway = gateway_app(folder / "gateway", clock=utc_now, queued_body_bytes=10_000)
    theirs = private_key_from_bytes((folder / "gateway" / "signing.key").read_bytes())
    with served(identity) as identity_url, served(gateway) as gateway_url:
        meant = {
            "https://identity.example": identity_url,
            "https://gateway.example": gateway_url,
            "--public-key 04…": f"--public-key {point(keys['headend'])}",
            "04…": point(theirs),
        }
        made = (folder, meant)
        yield *made, [run(made, one, "bash", "-euc") for one in shown("sh")[0].split("\n", 1)]
    identity.state.zone.close()


def run(desk, text: str, *command: str) -> str:
    """What an example printed, with the addresses and keys of this desk."""
    folder, meant, *_ = desk
    for word, own in meant.items():
        text = text.replace(word, own)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*command, text],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pages_examples_do_what_the_page_says(desk):
    _, sent, by_http, *_ = shown("sh")
    key, registered = desk[2]
    assert "is registered" in registered
    assert re.search(r"signed with the key 04[0-9a-f]{128}\.", registered)
    assert key.strip() == desk[1]["--public-key 04…"].split()[1]
    assert "Batch 2026-07-01 is taken in: 24 readings." in run(desk, sent, "bash", "-euc")
    (checked,) = [one for one in shown("sh") if "source verify" in one]
    told = run(desk, checked, "bash", "-euc")
    assert "the file and the list of 0 rejected readings agree with it" in " ".join(told.split())
    answered = run(desk, by_http, "bash", "-euc")
    assert answered.count('"batch-receipt"') == 2  # of the repeated batch, and of its state
    assert '[{"first":1,"last":181}' in answered
    program, coroutines, *_ = shown("python")
    told = run(desk, program + coroutines, sys.executable, "-c").splitlines()
    assert told[0] == "24 {} {'2026-07': 'waiting'}"
    assert ["0", "1", "181"] in [line.split() for line in told]
    assert told[-1].startswith("{'2026-07': 'waiting'} [181")


def test_the_pages_examples_of_a_large_batch_follow_it_to_its_receipt(desk):
    by_http = shown("sh")[2]
    (large,) = [one for one in shown("sh") if "respond-async" in one]
    told = run(desk, by_http.splitlines()[0] + "\n" + large, "bash", "-euc")
    events, _, last = told.rpartition("\n\n")
    assert events.rpartition("event: ")[2].startswith("done\n")
    status = BatchStatus.model_validate_json(last)
    assert status.receipt is not None
    assert BatchReceipt.parse(status.receipt.body).readings == 720
    first, _, again, _ = shown("python")
    program = first.partition("with MeterDataSystem")[0] + again.replace('2026-07"', 'other"')
    program = program.replace("sequence=183", "sequence=184")
    *states, readings = run(desk, program, sys.executable, "-c").splitlines()
    assert readings == "720"
    assert {one.split()[0] for one in states} <= {"waiting", "reading"}
    assert states


def test_the_pages_example_reads_a_notice(desk):
    theirs = private_key_from_bytes((desk[0] / "gateway" / "signing.key").read_bytes())
    notice = BatchNotice(
        source="h",
        month="2026-07",
        batches={"d": "done"},
        counts={"d": COUNTS},
        at=utc_now().isoformat(),
    )
    (desk[0] / "notice").write_text(sign_message(notice, key=theirs).model_dump_json())
    given = "from pathlib import Path\nbody = Path('notice').read_bytes()\n"
    told = run(desk, given + shown("python")[3], sys.executable, "-c")
    assert told.splitlines() == [
        "2026-07 {'d': 'done'}",
        "d 90 2 4 {'quarantined': {'superseded': 4}}",
    ]


def examples(content: dict) -> list[tuple[str, object]]:
    return [
        (form, example["value"])
        for form, described in content.items()
        for example in described.get("examples", {}).values()
    ]


def test_the_api_pages_examples_are_taken_in(desk):
    with httpx.Client(base_url=desk[1]["https://gateway.example"]) as http:
        document = http.get("/openapi.json").json()
        content = document["paths"]["/v1/readings"]["post"]["requestBody"]["content"]
        token = run(desk, shown("sh")[2].splitlines()[0] + '; echo "$TOKEN"', "bash", "-euc")
        for number, (form, value) in enumerate(examples(content), start=1000):
            headers = {
                "Authorization": f"Bearer {token.strip()}",
                "Content-Type": form,
                "Idempotency-Key": f"example-{number}",
                "Batch-Sequence": str(number),
            }
            sent = {"content": value} if isinstance(value, str) else {"json": value}
            answer = http.post("/v1/readings", headers=headers, **sent)
            assert answer.status_code == 200, (form, answer.text)
            receipt = BatchReceipt.parse(answer.json()["receipt"]["body"])
            assert receipt.readings > 0
            assert receipt.rejected == {"outside-scope": receipt.readings}, (form, answer.text)
    assert number >= 1008


def test_the_api_page_asks_for_a_token_where_a_role_is_needed(tmp_path):
    with TestClient(gateway_app(tmp_path)) as client:
        document = client.get("/openapi.json").json()
        (scheme,) = document["components"]["securitySchemes"].values()
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
        for path, methods in document["paths"].items():
            for method, described in methods.items():
                bare = client.request(method, path)
                asks = bare.status_code == httpx.codes.UNAUTHORIZED
                assert ("security" in described) == asks, (method, path)
        assert client.get("/v1/sources", headers=bearer("gateway", "operator")).json() == []
