"""A local day from the first byte of its readings to sealed columns, and on to a released curve.

All parties are the product's own, in one process and without a network. The month's first day has
everybody enrolled and seated, and is not timed: that is once a year and once a month. The next one
is. Its body goes the way it goes in use, and so does the list that closes the day.
"""

from __future__ import annotations

import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Final

import pandas as pd

from benchmarks.asked_costs import asked_costs
from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from gridsecure.billing.contracts import load_contracts
from gridsecure.cli.local_months import answer_approved, close_month
from gridsecure.cli.local_parties import ACTOR, LocalParties, local_parties
from gridsecure.cli.online import utc_now
from gridsecure.compute.jobs import LocalPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.requests import list_waiting_requests
from gridsecure.compute.runs import RunOrder, run_plan
from gridsecure.gateway.books.imports import state_contracts
from gridsecure.gateway.day_sealing import seal_day
from gridsecure.gateway.ingestion.batches import Arrival, BatchName, batch_folder, take_in
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.month_files import load_day_files
from gridsecure.key_authority.checker.answering import RELEASED
from gridsecure.periods import local_day
from gridsecure.simulator.synthetic_meters import SimulatedMonth, simulate

_ZONE: Final = "Asia/Shanghai"
_MONTH: Final = "2026-07"
_FIRST, _DAY = f"{_MONTH}-01", f"{_MONTH}-02"
_MINUTES: Final = 15


def day_costs(*, sizes: BenchSizes) -> list[Figure]:
    """Seconds from a day's readings to its sealed columns, its released load curve, and answers."""
    meters = sizes.run_meters
    simulated = simulate(meters, month=_MONTH, interval_minutes=_MINUTES)
    bodies = [_body(simulated, place) for place in range(2)]
    with local_parties(years=(_MONTH[:4],), timezone=_ZONE) as local:
        contracts = _contracts(simulated)
        local.identity.enter(contracts)
        first = date.fromisoformat(_FIRST)
        state_contracts(local.gateway, contracts, valid_from=first, person=ACTOR, at=utc_now())
        _seal(local, _FIRST, bodies[0], sequence=1)
        begun = time.perf_counter()
        _seal(local, _DAY, bodies[1], sequence=2)
        sealed = time.perf_counter()
        _release(local, _DAY)
        released = time.perf_counter()
        day = local_day(_DAY, timezone=_ZONE)
        asked = asked_costs(local, day, simulated, place=1, sizes=sizes)
    taken = f"{meters:,} meter points × {24 * 60 // _MINUTES} intervals as one CSV body"
    return [
        Figure(
            name="day_sealed",
            title="a day of readings, from first byte to sealed columns on the platform",
            unit="s",
            value=sealed - begun,
            must=15,
            try_for=4,
            note=f"{taken}: taken in, validated, encrypted, signed, committed; all parties in one"
            " process, rosters of the month's first day",
        ),
        Figure(
            name="day_released",
            title="lag from the end of a day's last interval to the released load of its zones",
            unit="s",
            value=released - begun,
            must=300,
            try_for=60,
            note=f"{taken}, closed, computed, executed again by the checker, decrypted, certified;"
            " earlier intervals of the day wait for its end",
        ),
        *asked,
    ]


def _contracts(simulated: SimulatedMonth) -> pd.DataFrame:
    """The contract frame of the file that the simulator writes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contracts.csv"
        simulated.contracts.to_csv(path, index=False)
        return load_contracts(path)


def _body(simulated: SimulatedMonth, place: int) -> bytes:
    """The readings of a day of the month, as one CSV body."""
    energy_wh = simulated.energy_wh[:, place, :]
    day = pd.Timestamp(_FIRST, tz=_ZONE) + pd.Timedelta(days=place)
    starts = pd.date_range(day, periods=energy_wh.shape[1], freq=f"{_MINUTES}min")
    texts = starts.strftime("%Y-%m-%dT%H:%M:%S+08:00")
    lines = [
        f"{name},{text},{wh // 1000}.{wh % 1000:03}\n"
        for name, row in zip(simulated.meter_point_ids, energy_wh.tolist(), strict=True)
        for text, wh in zip(texts, row, strict=True)
    ]
    return "".join(["meter_point_id,start,kwh\n", *lines]).encode()


def _seal(local: LocalParties, day: str, data: bytes, *, sequence: int) -> None:
    zone = local.gateway
    source = Source("bench", "", ("",), "start", _ZONE, "")
    with SpooledBody(batch_folder(zone)) as body:
        if body.add(data):
            body.spill()
        arrival = Arrival(source, BatchName(day, sequence), utc_now(), is_answered=True)
        take_in(zone, body, arrival=arrival)
    report = seal_day(
        zone,
        day,
        load=lambda: load_day_files(zone, day),
        peers=local.peers,
        clock=utc_now,
        progress=lambda _stage, _done, _of: None,
    )
    if report.silent:
        raise AssertionError(f"{report.silent:,} meter points have no complete day")


def _release(local: LocalParties, day: str) -> None:
    period, zone = local_day(day, timezone=_ZONE), local.platform.zone
    close_month(local, period)
    span = (period.start.isoformat(), period.end.isoformat())
    order = RunOrder("load-curve", *span, purpose="operations", requested_by=ACTOR)
    pool = LocalPool(zone.objects.store, read_known_keys(zone.engine))
    run_plan(zone, order, pool=pool, clock=utc_now, progress=lambda _done, _of: None)
    (envelope,) = list_waiting_requests(zone)
    outcome = answer_approved(local, envelope)
    if outcome.state != RELEASED:
        raise AssertionError(f"the load curve was not released: {outcome.reason}")
