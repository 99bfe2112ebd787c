"""A meter-data system of a run, for whoever wants to send readings to it: registered, signed in.

Its folder has its SM2 key, a token, and a day of readings of one meter point of the run. All three
are made for this run and only their owner reads them; the token ends after half a day, and before
that when the source is suspended, removed or gets another key.
"""

from __future__ import annotations

import shlex
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import httpx

from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.online import utc_now
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.month_texts import read_month
from gridsecure.offices.officers import Call
from gridsecure.periods import billing_month
from gridsecure.whole_files import replace_file
from gridsecure.wire.service_tokens import ServiceLoginClient
from gridsecure.zone_keys import SIGNING_KEY, load_signing_key

NAME: Final = "headend-1"
TOKEN_MINUTES: Final = 720
"""How long a source's token lasts in a run that is served [min]."""

_BEARER: Final = "token"
_READINGS: Final = "day.csv"
_HALF_HOUR: Final = timedelta(minutes=30)
_KWH: Final = ("0.112", "0.095", "0.240", "0.398", "0.325", "0.181")
"""Invented energies of half-hours, eight of each, from midnight on."""


def prepare_source(folder: Path, *, call: Call, identity: httpx.Client, day: bytes) -> None:
    """Register a source as an operator does, sign it in, and write what it needs to send a batch.

    Args:
        folder: Its own, made here.
        call: Calls gateway and identity service as an operator.
        identity: A client whose base URL is the identity service's.
        day: The readings, from `day_of_readings`.

    Raises:
        GridSecureError: A service refused, or the disk did.
    """
    key = load_signing_key(folder)
    public = key.public_key.point.hex()
    declared = {"public_key": public, "stamps": "start"}
    call("gateway", "PUT", f"/v1/sources/{NAME}", json=declared)
    call("identity", "POST", "/source-keys", json={"name": NAME, "public_key": public})
    renew_token(folder, identity=identity)
    replace_file(folder / _READINGS, [day])


def is_prepared(folder: Path) -> bool:
    """Whether a source was registered and given all that it needs."""
    return (folder / _READINGS).exists()


def renew_token(folder: Path, *, identity: httpx.Client) -> None:
    """Sign a registered source in, and write its token in place of an earlier one.

    Args:
        folder: As in `prepare_source`.
        identity: As in `prepare_source`.

    Raises:
        GridSecureError: The service refused, or the disk did.
    """
    token, _ = ServiceLoginClient(identity, load_signing_key(folder), utc_now).token("gateway")
    replace_file(folder / _BEARER, [token.encode()])


def day_of_readings(files: MeterFiles, *, now: datetime) -> bytes:
    """Half-hours of a day after the run's month, or else of yesterday, of one of its meter points.

    Args:
        now: The present, aware.
    """
    meter_point_id = str(load_contracts(files.contracts)["meter_point_id"].iloc[0])
    following = billing_month(*read_month(files.month), timezone=TIMEZONE).end
    today = now.astimezone(following.tzinfo).replace(hour=0, minute=0, second=0, microsecond=0)
    start = min(following, today - timedelta(days=1))
    lines = (
        f"{meter_point_id},{(start + place * _HALF_HOUR).isoformat()},{_KWH[place // 8]}\n"
        for place in range(48)
    )
    return ("meter_point_id,start,kwh\n" + "".join(lines)).encode()


def describe_source(folder: Path, *, identity: str, gateway: str) -> str:
    """How readings are sent as the source, by commands to copy.

    Args:
        folder: As in `prepare_source`.
        identity: Address of the identity service.
        gateway: Address of the gateway.
    """
    key, token, day = (
        shlex.quote(str(folder / name)) for name in (SIGNING_KEY, _BEARER, _READINGS)
    )
    hours = TOKEN_MINUTES // 60
    return (
        f"Send a day of readings as the meter-data system {NAME} (docs/readings.md says more):\n"
        f"  curl --fail-with-body {gateway}/v1/readings --data-binary @{day} \\\n"
        f'    -H "Authorization: Bearer $(cat {token})" \\\n'
        '    -H "Idempotency-Key: first" -H "Batch-Sequence: 1"\n'
        f"Its token ends after {hours} hours (local demonstration only). Another one:\n"
        f"  gridsecure source token --identity {identity} --key {key}"
    )
