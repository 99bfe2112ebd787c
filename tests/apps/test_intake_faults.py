"""Random sequences of faults at a gateway: nothing with a receipt is lost, nothing counts twice.

A model beside the gateway remembers what has a receipt and which reading of each interval counts.
After every step what came in adds up to what became of it, and once the month is billed, and after
each correction, the energy of every meter point is the model's. Bodies wait to be read, across
kills and bills, and days are sealed, each once and from what the model has by then.
"""

from __future__ import annotations

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pandas as pd
import pytest

from gridsecure.gateway import day_sealing, outbox, preparation
from gridsecure.gateway.ingestion import batch_queue, batches, stored_readings
from gridsecure.gateway.sealed_days import load_sealed
from gridsecure.gateway.year_to_date import load_totals
from gridsecure.periods import month_period
from gridsecure_api import gateway_readings
from gridsecure_api.gateway_queue import BatchReader
from tests.apps.queue_world import ASYNC, DONE_S
from tests.apps.test_api_readings import REAL_PACKING
from tests.apps.test_api_reconciliation import HEADER, Reconciled
from tests.gateway.gateway_world import MONTH, Killed

RANKS = ("missing", "estimated", "actual")
BEFORE, MORE = 8, 3  # steps before the month is billed, and after every kind was taken once
DAYS = 31

Rows = dict[tuple[str, str], tuple[int, int]]
"""Meter point and start -> rank of the quality, and energy [Wh]."""


@dataclass
class Model:
    """What has a receipt, and what counts.

    Args:
        taken: Batches in the order in which they came.
        waiting: Those that were answered and not read, in that order.
        sealed: Days that were sealed, and what was said of each.
        version: What counts as the month was billed or corrected; None before.
        counted: How many of the batches that takes up.
    """

    taken: list[Rows] = field(default_factory=list)
    waiting: list[Rows] = field(default_factory=list)
    edits: list[Rows] = field(default_factory=list)
    sealed: dict[str, dict] = field(default_factory=dict)
    version: Rows | None = None
    counted: int = 0

    @property
    def came_in(self) -> int:
        return sum(len(rows) for rows in (*self.taken, *self.edits))

    def bill(self) -> None:
        """Let everything that came so far count, edits over what the month was billed from."""
        is_first = self.version is None
        version = dict(self.version or {})
        for rows in self.taken[self.counted :]:
            better = {key: one for key, one in rows.items() if one >= (version.get(key, one)[0],)}
            version |= better
        for rows in self.edits if is_first else ():
            version |= rows
        self.version, self.counted = version, len(self.taken)

    def of_day(self, day: str) -> int:
        """What a bill of now would count of a day [Wh]."""
        now = replace(self)
        now.bill()
        return sum(wh for (_, start), (_, wh) in now.version.items() if start.startswith(day))

    def totals(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for (name, _), (_, wh) in (self.version or {}).items():
            found[name] = found.get(name, 0) + wh
        return found


class Faults(Reconciled):
    """A gateway to which everything happens that may happen to one."""

    def __init__(self, folder, monkeypatch, seed: int) -> None:
        super().__init__(folder)
        self.monkeypatch, self.random = monkeypatch, np.random.default_rng(seed)
        self.model, self.number, self.log = Model(), 0, [f"seed {seed}"]
        self.readings = self.world.simulated.readings().astype({"meter_point_id": "str"})
        self.period = month_period(MONTH, timezone="Asia/Shanghai")
        for name in self.keys:
            self.register(name, stamps="start")

    def start(self) -> None:
        """Start the service; what waits is read when it is asked to."""
        super().start()
        intake = self.app.state.intake
        reader = BatchReader(intake.queue, intake.clock, pause_s=0.01)
        reader.stop()
        self.app.state.intake = replace(intake, reader=reader)

    # --- what is sent ----------------------------------------------------------------------------

    def days(self, first: int, last: int) -> pd.DataFrame:
        """Readings of whole days, from a number on and before another, 0 to 31."""
        day = self.readings["start"].dt.day
        return self.readings[(day > first) & (day <= last)]

    def some(self) -> pd.DataFrame:
        """Readings of some days or of one meter point, each a little other than before."""
        first = int(self.random.integers(DAYS))
        part = self.days(first, first + int(self.random.integers(1, 4)))
        if self.random.random() < 0.3:
            part = part[part["meter_point_id"] == self.random.choice(part["meter_point_id"])]
        more = self.random.integers(0, 40, len(part))
        quality = self.random.choice(["actual", "actual", "estimated"])
        return part.assign(energy_wh=part["energy_wh"] + more, quality=str(quality))

    @staticmethod
    def text(readings: pd.DataFrame) -> str:
        lines = (
            f"{name},{start.isoformat()},{wh // 1000}.{wh % 1000:03d},{quality}\n"
            for name, start, wh, quality in readings[
                ["meter_point_id", "start", "energy_wh", "quality"]
            ].itertuples(index=False)
        )
        return HEADER + "".join(lines)

    def rows(self, readings: pd.DataFrame) -> Rows:
        """The same for the model: what is of the month."""
        start = readings["start"]
        own = readings[(start >= self.period.start) & (start < self.period.end)]
        return {
            (name, at.isoformat()): (RANKS.index(quality), wh)
            for name, at, wh, quality in own[
                ["meter_point_id", "start", "energy_wh", "quality"]
            ].itertuples(index=False)
        }

    def name(self, *sources: str) -> dict:
        """The next batch of one of some sources; of any whose batches do not wait, without."""
        self.number += 1
        free = ["other"] if self.model.waiting else ["headend", "other"]
        by = str(self.random.choice(sources or free))
        return {"batch": f"b{self.number}", "sequence": self.number, "by": by}

    def take(self, readings: pd.DataFrame, named: dict | None = None) -> None:
        """Send a batch that must be taken in."""
        self.batch(self.text(readings).removeprefix(HEADER), **(named or self.name()))
        self.model.taken.append(self.rows(readings))

    # --- what happens ----------------------------------------------------------------------------

    def send(self, body, *, batch, sequence, by, **headers):
        """Send as the service stands now, which may have been started again."""
        self.senders[by] = self.sender(by)
        named = {"Idempotency-Key": batch, "Batch-Sequence": str(sequence)}
        return self.senders[by].post("/v1/readings", content=body, headers=named | headers)

    def send_some(self) -> None:
        self.take(self.some())

    def repeat_everything(self) -> None:
        """A source sends its whole month again, in one batch of another id."""
        self.take(self.readings.assign(quality="actual"))

    def send_twice(self) -> None:
        """The same batch again, and another one under its id."""
        part, other, named = self.some(), self.some(), self.name()
        self.take(part, named)
        again = self.send(self.text(part).encode(), **named)
        assert again.status_code == 200
        if self.text(other) != self.text(part):
            refused = self.send(self.text(other).encode(), **named)
            assert (refused.status_code, refused.json()["reason"]) == (409, "conflict.batch")

    def send_two_at_once(self) -> None:
        """Two different batches of one id, at the same moment: one of them is taken in."""
        named, parts = self.name(), (self.some(), self.days(0, 1), self.days(0, 1))
        bodies = [self.text(part).encode() for part in parts]
        self.senders[named["by"]] = self.sender(named["by"])
        with ThreadPoolExecutor(len(parts)) as pool:
            sends = [pool.submit(Reconciled.send, self, body, **named) for body in bodies]
        codes = [one.result().status_code for one in sends]
        assert set(codes) <= {200, 409}, codes
        assert codes[1] == codes[2] != codes[0] or bodies[0] == bodies[1], codes
        self.model.taken.append(self.rows(parts[codes.index(200)]))

    def send_half_garbage(self) -> None:
        """Half of the lines are none: the batch is refused whole, and sent again as it should."""
        part, named = self.some(), self.name()
        lines = self.text(part).splitlines(keepends=True)
        for place in self.random.choice(np.arange(1, len(lines)), len(lines) // 2, replace=False):
            lines[place] = str(
                self.random.choice(["\x00\x01\n", "a,b\n", "MP-1,then,much,actual\n"])
            )
        refused = self.send("".join(lines).encode(), **named)
        assert refused.status_code == 400, refused.text
        self.take(part, named)

    def send_an_hour_wrong(self) -> None:
        """The clock of a source is an hour wrong; what leaves the month is not of it.

        Whole days of hours that begin an hour late look like ends, and are refused.
        """
        part, named = self.some(), self.name()
        hours = int(self.random.choice([-1, 1]))
        moved = part.assign(start=part["start"] + pd.Timedelta(hours=hours))
        answer = self.send(self.text(moved).encode(), **named)
        if hours > 0:
            assert answer.json()["reason"] == "readings.stamps", (answer.text, self.log)
        self.take(part if hours > 0 else moved, named)

    def fill_disk(self) -> None:
        self._break(OSError(errno.ENOSPC, "No space left on device"), _WRITES)

    def kill(self) -> None:
        """The process ends anywhere, before a batch is taken in or before its receipt is sent."""
        self._break(Killed(), (*_WRITES, (batches, "_keep"), (gateway_readings, "BatchStatus")))

    def _break(self, error: BaseException, places: tuple) -> None:
        """What fails once, at each place in turn, is sent again to a service that was started."""

        def fail(*_given: object, **_more: object) -> None:
            raise error

        for place in places:
            part, named = self.some(), self.name()
            with self.monkeypatch.context() as patched:
                patched.setattr(*place, fail)
                if isinstance(error, Killed):
                    with pytest.raises(Killed):
                        self.send(self.text(part).encode(), **named)
                else:
                    assert self.send(self.text(part).encode(), **named).status_code == 507
            self.start()
            self.take(part, named)

    # --- what waits ------------------------------------------------------------------------------

    def have_some_wait(self) -> None:
        """Answered before it is read, repeated and altered; and another one behind it."""
        part, other, named = self.some(), self.some(), self.name("headend")
        for _ in range(2):
            assert self.send(self.text(part).encode(), **named, **ASYNC).status_code == 202
        if self.text(other) != self.text(part):
            refused = self.send(self.text(other).encode(), **named)
            assert (refused.status_code, refused.json()["reason"]) == (409, "conflict.batch")
        self.model.waiting.append(self.rows(part))
        behind = self.send(self.text(other).encode(), **self.name("headend"))
        assert behind.status_code == 202, behind.text
        self.model.waiting.append(self.rows(other))

    def read_what_waits(self) -> None:
        reader = self.app.state.intake.reader
        reader.start()
        reader.wait(DONE_S)
        reader.stop()
        waiting = self.client.get("/v1/waiting-batches", headers=self.token("operator"))
        assert waiting.json() == []
        self.model.taken += self.model.waiting
        self.model.waiting.clear()

    def end_while_reading(self) -> None:
        """What waits is read once the disk has room, or the killed service was started."""
        full = OSError(errno.ENOSPC, "No space left on device")
        ends = [(full, place) for place in _WRITES]
        ends += [(Killed(), place) for place in (*_WRITES, (batches, "_keep"), _FORGOTTEN)]
        for error, place in (ends[one] for one in self.random.permutation(len(ends))[:3]):
            self.have_some_wait()
            failed = threading.Event()

            def fail(*_given: object, **_more: object) -> None:
                failed.set()  # noqa: B023 - of this turn, which waits for it
                raise error  # noqa: B023

            with self.monkeypatch.context() as patched:
                patched.setattr(*place, fail)
                self.app.state.intake.reader.start()
                assert failed.wait(DONE_S)
                self.app.state.intake.reader.stop()
            if isinstance(error, Killed):
                self.start()
            self.read_what_waits()
            self.check(f"read after {place[1]}")

    # --- what persons do -------------------------------------------------------------------------

    def seal_a_day(self) -> None:
        """A day is sealed once, from what there is of it; no more once the month is fixed."""
        day = f"{MONTH}-{int(self.random.integers(1, DAYS + 1)):02d}"
        fresh = self.model.version is None and day not in self.model.sealed
        if fresh and self.random.random() < 0.5:
            places = ((day_sealing, "fix_day"), (day_sealing, "pack_day"), (outbox, "send"))
            with self.monkeypatch.context() as patched:
                patched.setattr(*places[self.random.integers(len(places))], _kill)
                told = self.sealed(day)
                assert told["state"] in ("waiting", "interrupted"), (told, self.log)
            self.start()
        told = self.sealed(day)
        if fresh:
            assert told["state"] == "sealed", (told, self.log)
            self.model.sealed[day] = told
            energies = load_sealed(self.app.state.service.zone, day).values()
            assert sum(int(one.sum()) for one in energies) == self.model.of_day(day), self.log
        if day in self.model.sealed:
            assert (told["state"], told) == ("sealed", self.model.sealed[day]), self.log
        else:
            assert (told["state"], told["reason"]) == ("failed", "day.month-fixed")
        listed = self.call("GET", "/days").json()
        assert {one["day"] for one in listed if one["state"] == "sealed"} == set(self.model.sealed)

    def sealed(self, day: str) -> dict:
        """What is said of a day after it was to be sealed."""
        operator = self.token("operator")
        started = self.client.post(f"/days/{day}/seal", headers=operator)
        assert started.status_code == 202, started.text
        self.worker.wait(300)
        return self.client.get(f"/days/{day}", headers=operator).json()

    def edit(self) -> None:
        """A person puts another reading in the place of one, where the month is open."""
        part = self.some().iloc[:1].assign(quality="actual")
        made = self.client.post(
            "/v1/edits",
            params={"month": MONTH, "reason": "read on site"},
            content=self.text(part).encode(),
            headers=self.token("operator"),
        )
        if self.model.version is not None:
            assert made.json()["reason"] == "conflict.month-edits"
            return
        assert made.json()["state"] == "in-force", made.text
        self.model.edits.append(self.rows(part))

    # --- bills -----------------------------------------------------------------------------------

    def bill(self, path: str) -> None:
        """Process or correct the month; half of the times a first run is killed on its way out."""
        if self.random.random() < 0.5:
            with self.monkeypatch.context() as patched:
                patched.setattr(outbox, "send", _kill)
                self.call("POST", path)
                self.worker.wait(300)
            self.start()
        started = self.call("POST", path)
        assert started.status_code == 202, started.text
        self.worker.wait(300)
        stands = self.call("GET", "").json() if path == "/process" else self.corrections()[-1]
        assert stands["state"] == "done", (stands, self.log)
        self.model.bill()
        self.check("billed")
        assert load_totals(self.months / MONTH) == self.model.totals(), self.log

    def corrections(self) -> list[dict]:
        return self.call("GET", "/corrections").json()

    def check(self, done: str) -> None:
        """What came in is what the model has, and adds up."""
        self.log.append(done)
        total = self.told()["total"]
        late = sum(len(rows) for rows in self.model.taken[self.model.counted :])
        waiting = self.model.came_in if self.model.version is None else late
        assert (total["came_in"], total["waiting"]) == (self.model.came_in, waiting), (
            total,
            self.log,
        )


def _kill(*_given: object, **_more: object) -> None:
    raise Killed


_WRITES = ((stored_readings.os, "fsync"), (stored_readings, "sync_folder"))
_FORGOTTEN = (batch_queue, "delete")  # taken in, and not yet out of the queue
GARBAGE = ("\x00\x01\n", "a,b\n", "MP-1,then,much,actual\n")
NAMES = (
    *("send_some", "repeat_everything", "send_twice", "send_two_at_once", "send_half_garbage"),
    *("send_an_hour_wrong", "fill_disk", "kill", "edit", "have_some_wait", "read_what_waits"),
    *("end_while_reading", "seal_a_day"),
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 12))]
)
def test_whatever_happens_every_reading_is_accounted_for(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(
        preparation, "pack_energies", lambda *a, **k: islice(REAL_PACKING(*a, **k), 3)
    )
    gateway = Faults(tmp_path, monkeypatch, seed)
    cut = int(gateway.random.integers(1, DAYS))
    for part in (gateway.days(0, cut), gateway.days(cut, DAYS)):
        gateway.take(part.assign(quality="actual"))
    gateway.put_files(readings=[])
    steps = [*gateway.random.permutation(NAMES), *gateway.random.choice(NAMES, MORE)]
    for path, own in (("/process", steps[:BEFORE]), ("/corrections", steps[BEFORE:])):
        for step in own:
            gateway.log.append(str(step))
            getattr(gateway, step)()
            gateway.check("then")
        gateway.put_files(readings=[])
        gateway.send_some()
        gateway.bill(path)
    gateway.read_what_waits()
    gateway.check("read at last")
    gateway.close()
