"""What a question costs: totals of a hidden set of meter points, from stored columns to the answer.

All of the key authority's own work is timed: lay the totals out, check every file, blind it, write
it, name it by its digest; then check that again, decrypt, add up and hold every total to its bound.
A million meter points are shared by two processes, as on two cores. Beside it, the same question in
plain pandas on the same numbers in the clear.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.column_store import GATEWAY_ID
from benchmarks.figures import Figure
from benchmarks.key_sets import BenchKeys, open_keys
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of, time_call
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.blinding import SEED_SIZE
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, open_column
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import INTERVAL
from gridsecure.messages import ColumnEntry, KeyNotice, RosterManifest, UploadManifest
from gridsecure.plans.execution import RosterData, roster_data
from gridsecure.plans.key_ring import KeyRing, KnownKeys
from gridsecure.plans.query_totals import (
    OUTSIDE,
    TotalsLayout,
    add_up,
    execute_totals,
    lay_out_totals,
)
from gridsecure.store.objects import ObjectStore, folder_url, open_objects

_INTERVALS: Final = 48
_HIGH_WH: Final = 65_535
_ORDINARY_WH: Final = 2_000
_MINIMUM: Final = 15
_GROUPS: Final = 2
_DISTINCT: Final = 2
"""So many days of rosters are encrypted; the files of further rosters hold the same again."""
_CORES: Final = 2
_QUANTITY: Final = "intervals:2026-07-01"
_START: Final = "2026-07-01T00:00:00+08:00"
_END: Final = "2026-07-02T00:00:00+08:00"
_SEED: Final = bytes(SEED_SIZE)  # nothing is hidden in a benchmark


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Rosters with a day of columns in an object store, and a question about them.

    Args:
        energy: In the clear, by roster [intervals, slots].
        rows: The group of every slot; two in three are in none.
    """

    url: str
    datas: tuple[RosterData, ...]
    notice: KeyNotice
    energy: tuple[NDArray[np.int64], ...]
    rows: tuple[NDArray[np.int64], ...]

    def lay_out(self) -> TotalsLayout:
        """The question's totals: each group at each interval."""
        rosters = [data.roster for data in self.datas]
        steps = {_QUANTITY: np.arange(_INTERVALS)}
        return lay_out_totals(rosters, rows=self.rows, steps=steps, minima=[_MINIMUM] * _GROUPS)

    def check(self, totals: NDArray[Any], plain: NDArray[np.int64]) -> None:
        """Refuse an answer that is not the plain one."""
        if totals.tolist() != plain.tolist():
            raise AssertionError("a timed total differs from the sum of its members")


def query_costs(keys: BenchKeys, *, sizes: BenchSizes) -> list[Figure]:
    """Figures of a question about one roster, and about a million meter points.

    Raises:
        AssertionError: A total is not the sum of its members.
    """
    slots = sizes.roster_slots
    with TemporaryDirectory(prefix="gridsecure-bench-") as folder:
        single = _grid(keys, rosters=1, slots=slots, folder=Path(folder) / "one")
        one, totals = best_of(lambda: _answer(single, keys), sizes=sizes, clock=time.process_time)
        plain, expected = best_of(lambda: _in_pandas(single), sizes=sizes, clock=time.process_time)
        single.check(totals, expected)
        rosters = -(-sizes.query_meters // slots)
        city = _grid(keys, rosters=rosters, slots=slots, folder=Path(folder) / "city")
        many, totals = _answer_on_cores(city, keys)
        many_plain, expected = time_call(lambda: _in_pandas(city))
        city.check(totals, expected)
    said = f"{slots:,} slots × {_INTERVALS} intervals, {_GROUPS} hidden groups of a third of them"
    return [
        Figure(
            name="query_roster",
            title="totals of a hidden segment over one roster, all checks included",
            unit="s",
            value=one,
            must=1,
            try_for=0.2,
            note=f"one core, processor time, {said}; plain pandas takes {plain * 1e3:.2f} ms",
        ),
        Figure(
            name="query_million",
            title=f"totals over {rosters * slots:,} meter points × {_INTERVALS} intervals, from"
            " stored columns to the answer",
            unit="s",
            value=many,
            must=30,
            try_for=5,
            note=f"{_CORES} processes with half of {rosters} rosters each, both the checker's and"
            f" the vault's work; {said} each; plain pandas takes {many_plain:.2f} s on one core",
        ),
    ]


def _answer(grid: _Grid, keys: BenchKeys) -> NDArray[Any]:
    layout = grid.lay_out()
    return add_up(_derive(grid, layout, keys, only=set(layout.rosters)), layout=layout)


def _derive(
    grid: _Grid, layout: TotalsLayout, keys: BenchKeys, *, only: set[str]
) -> Iterator[NDArray[np.uint64]]:
    """What is decrypted of some rosters: the checker's work and the vault's, one by one."""
    own, objects = keys.secret[INTERVAL.name], open_objects(grid.url)
    ring = KeyRing(KnownKeys((grid.notice,)), objects.get)
    _, outputs = execute_totals(
        grid.datas,
        layout=layout,
        seed=_SEED,
        load=lambda digest: _load(objects, digest),
        keys=ring,
        only=only,
    )
    for name, output in outputs:
        column, _ = open_column(
            output.data,
            digest=output.entry.digest,
            evaluation=own.public.evaluation,
            roster_id=name.partition("/")[0],
        )
        yield own.decrypt(column)


def _load(objects: ObjectStore, digest: str) -> bytes:
    """A stored column, checked by its digest."""
    data = objects.get(digest)
    if sm3_hex(data) != digest:
        raise AssertionError("the object store gave another file")
    return data


_worker: dict[str, Any] = {}


def _start(grid: _Grid, secret: tuple[bytes, bytes]) -> None:
    _worker.update(grid=grid, keys=open_keys(INTERVAL, *secret))


def _ready(_number: int) -> None:
    """A worker that answers has read what it was started with."""


def _share(layout: TotalsLayout, only: set[str]) -> list[NDArray[np.uint32]]:
    derived = _derive(_worker["grid"], layout, _worker["keys"], only=only)
    return [own.astype(np.uint32) for own in derived]  # below 2**31, and half the way to send


def _answer_on_cores(grid: _Grid, keys: BenchKeys) -> tuple[float, NDArray[Any]]:
    """Seconds of one answer on warm processes, and the answer."""
    own = keys.secret[INTERVAL.name]
    secret = (own.to_bytes(), own.public.public_key)
    with ProcessPoolExecutor(
        _CORES, mp_context=get_context("spawn"), initializer=_start, initargs=(grid, secret)
    ) as pool:
        list(pool.map(_ready, range(4 * _CORES)))

        def answer() -> NDArray[Any]:
            layout = grid.lay_out()
            shares = np.array_split(np.array(layout.rosters), _CORES)
            jobs = [pool.submit(_share, layout, set(part.tolist())) for part in shares]
            values = (part.astype(np.uint64) for job in jobs for part in job.result())
            return add_up(values, layout=layout)

        return time_call(answer)


def _in_pandas(grid: _Grid) -> NDArray[np.int64]:
    """The same totals in the clear [intervals, groups]."""
    frame = pd.DataFrame(np.concatenate([own.T for own in grid.energy]))
    rows = np.concatenate(grid.rows)
    frame = frame[rows != OUTSIDE]
    totals: NDArray[np.int64] = frame.groupby(rows[rows != OUTSIDE]).sum().to_numpy().T
    return totals


def _grid(keys: BenchKeys, *, rosters: int, slots: int, folder: Path) -> _Grid:
    """Encrypt days and write them to an object store, as gateways do."""
    public, objects = keys.public[INTERVAL.name], open_objects(folder_url(folder))
    random = np.random.default_rng(31)
    made: list[tuple[NDArray[np.int64], EncryptedColumn]] = []
    for _ in range(min(rosters, _DISTINCT)):
        energy = random.integers(0, _ORDINARY_WH, (_INTERVALS, slots))
        made.append((energy, public.encrypt(energy.ravel(), high=_HIGH_WH)))
    chosen = [made[number % len(made)] for number in range(rosters)]
    return _Grid(
        url=folder_url(folder),
        datas=tuple(
            _upload(public, objects, bench_roster(f"bench-{n:03d}", slots), column)
            for n, (_, column) in enumerate(chosen)
        ),
        notice=key_notice(public, objects.put),
        energy=tuple(energy for energy, _ in chosen),
        rows=tuple(
            random.choice([OUTSIDE] * 2 * _GROUPS + list(range(_GROUPS)), slots) for _ in chosen
        ),
    )


def bench_roster(name: str, slots: int) -> RosterManifest:
    """A roster of households in one zone."""
    return RosterManifest(
        roster_id=name,
        gateway_id=GATEWAY_ID,
        domain="bench",
        tariff="0" * 64,
        pseudonyms=[f"{name}-{slot:05d}" for slot in range(slots)],
        zones=["bench"] * slots,
        customer_classes=["household"] * slots,
        household_quota_wh=[0] * slots,
        contracted_va=[0] * slots,
    )


def _upload(
    own: PublicKeySet, objects: ObjectStore, roster: RosterManifest, column: EncryptedColumn
) -> RosterData:
    said: Mapping[str, Any] = {
        "quantity": _QUANTITY, "unit": "Wh", "start": _START, "end": _END, "high": _HIGH_WH
    }  # fmt: skip
    label = ColumnLabel(roster_id=roster.roster_id, slots=column.slots, **said)
    data = column_bytes(column, label=label)
    entry = ColumnEntry(
        parameters=INTERVAL.name,
        key_id=own.key_id,
        digest=objects.put(data),
        size=len(data),
        intervals=_INTERVALS,
        **said,
    )
    return roster_data(roster, _manifest(roster, [entry]))


def _manifest(roster: RosterManifest, entries: Sequence[ColumnEntry]) -> UploadManifest:
    return UploadManifest(
        roster_id=roster.roster_id,
        gateway_id=roster.gateway_id,
        start=_START,
        end=_END,
        sequence=1,
        estimated_readings=0,
        columns=list(entries),
    )


def key_notice(own: PublicKeySet, put: Callable[[bytes], str]) -> KeyNotice:
    """The notice of a benchmark's key set.

    Args:
        put: Stores a key and tells its digest.
    """
    relinearisation = own.relinearisation_keys
    return KeyNotice(
        key_id=own.key_id,
        gateway=GATEWAY_ID,
        generation=1,
        parameters=own.parameters.name,
        parameters_digest=own.parameters.digest,
        public_key=put(own.public_key),
        relinearisation_keys=put(relinearisation) if relinearisation else None,
        created_at=_START,
    )
