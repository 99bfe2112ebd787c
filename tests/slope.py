"""What a meter point costs, and what each party keeps in memory, as there are more of them.

    make slope ARGS="1024 4096 16384"

For each number of meter points a month is billed through the parties' own functions, on disk: the
gateway packs and encrypts rosters of up to 4,096 slots, one after the other (one day of half-hours,
and all settlement columns of a three-tier tariff); the platform takes them in, closes the month,
runs the bill and the load curve; the key authority runs both again, decrypts and releases. Readings
are drawn at random. Each party is a process of its own, which tells its processor time and the
most memory it had.

In place of enrolment every pseudonym is in the hand of one key, whose agreement to each seat is
signed beforehand and not timed. Platform and authority verify all of them, as they do once a year;
that is told as a stage of its own. What came out is compared with the sums of what was drawn.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import pickle
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import pandas as pd

from benchmarks.figures import BenchResult, Figure
from benchmarks.machine import describe_machine
from benchmarks.report import format_table
from gridsecure.compute import intake
from gridsecure.compute.jobs import LocalPool
from gridsecure.compute.key_sets import read_known_keys
from gridsecure.compute.runs import run_plan
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.gateway.energies import IntervalEnergies
from gridsecure.gateway.packing import pack_energies, packed_columns
from gridsecure.gateway.rosters import Roster, assign_id
from gridsecure.key_authority.checker import seating
from gridsecure.messages import RosterManifest, Signed, UploadManifest
from tests.authority_simulator import Authority
from tests.grid_simulator import NOW, TIERS, GridSimulator, grid_keys

SIZES: Final = (1_024, 4_096, 16_384, 65_536)
SLOTS: Final = 4_096
STEP: Final = pd.Timedelta(minutes=30)
ZONES: Final = ("futian", "luohu", "nanshan", "baoan", "longgang", "yantian")
PLANS: Final = {"bill": "billing", "load-curve": "operations"}
SEATS: Final = "seats"
NAMES: Final = ("gateway", "platform", "authority")
COLOURS: Final = ("#1b9e77", "#d95f02", "#7570b3", "#222222", "#999999")
FIGURES: Final = Path(__file__).parents[1] / "docs" / "slope.json"
DRAWING: Final = FIGURES.with_suffix(".svg")
TABLE: Final = FIGURES.with_suffix(".md")
Costs = defaultdict[str, float]


@contextmanager
def timed(costs: Costs, stage: str) -> Iterator[None]:
    """Add the processor time of a block to a stage."""
    started = time.process_time()
    yield
    costs[stage] += time.process_time() - started


def grid_of(folder: Path) -> GridSimulator:
    """Keys, tariffs and clock; its own few meters are not used."""
    return GridSimulator(folder / "platform", meters=16, household_tariff=TIERS)


def parts_of(meters: int) -> list[int]:
    """Slots of each roster."""
    return [min(SLOTS, meters - start) for start in range(0, meters, SLOTS)]


def gateway(folder: Path, meters: int, costs: Costs) -> dict[str, Any]:
    """Pack and encrypt; what is sent lies in files."""
    grid = grid_of(folder)
    random = np.random.default_rng(meters)
    template = next(r for r in grid.rosters if grid.tariff(r).tiers)
    tariff, period = grid.tariff(template), grid.period
    starts = pd.date_range(period.start, period.end, freq=STEP, inclusive="left")
    keys = {name: own.public for name, own in grid.keys.secret.items()}
    energy = 0
    for number, slots in enumerate(parts_of(meters)):
        names = [sm3_hex(f"{number}/{slot}".encode()) for slot in range(slots)]
        draft = assign_id(
            RosterManifest(
                roster_id="",
                gateway_id=grid.gateway_key.public_key.thumbprint,
                domain=grid.domain,
                tariff=template.manifest.tariff,
                pseudonyms=names,
                zones=[ZONES[slot * len(ZONES) // slots] for slot in range(slots)],
                customer_classes=["household"] * slots,
                household_quota_wh=[0] * slots,
                contracted_va=[0] * slots,
            )
        )
        seats = grid.seats_of(draft).model_dump_json().encode()
        roster = Roster(draft.model_copy(update={"seats": sm3_hex(seats)}), tuple(names))
        drawn = random.integers(0, 1_000, (slots, len(starts)))
        energy += int(drawn.sum())
        with timed(costs, "gateway: pack, encrypt, sign"):
            table = IntervalEnergies(pd.Index(names), starts, STEP, drawn)
            own = {"roster": roster, "tariff": tariff, "period": period}
            settled = packed_columns(roster, tariff=tariff, period=period, days=0)
            columns = list(islice(pack_energies(table, **own, keys=keys), settled + 1))
            manifest = UploadManifest(
                roster_id=roster.manifest.roster_id,
                gateway_id=roster.manifest.gateway_id,
                start=period.start.isoformat(),
                end=period.end.isoformat(),
                sequence=number + 1,
                estimated_readings=0,
                columns=[column.entry for column in columns],
            )
            sent = grid.signed_roster(roster), seats, grid.sign(manifest)
        objects = {column.entry.digest: column.data for column in columns}
        (folder / f"{number}.sent").write_bytes(pickle.dumps((*sent, objects)))
        del table, columns, objects  # else one roster is held while the next one is packed
    grid.close()
    return {"energy_wh": energy}


def platform(folder: Path, meters: int, costs: Costs) -> dict[str, Any]:
    """Take everything in, close the month, and run both plans over it."""
    grid = grid_of(folder)
    zone = grid.platform_zone
    grid.install_key_sets()
    grid.install_tariffs()
    for number in range(len(parts_of(meters))):
        path = folder / f"{number}.sent"
        roster, seats, upload, objects = pickle.loads(path.read_bytes())  # noqa: S301 - our own
        path.unlink()
        with timed(costs, f"platform: {SEATS}"):
            intake.register_roster(zone, roster, seats=seats, at=NOW)
        with timed(costs, "platform: intake"):
            status = intake.begin_upload(zone, upload, at=NOW)
            wanted = {digest: objects[digest] for digest in status.missing}
            intake.receive_objects(zone, status.upload_id, objects=wanted)
            intake.commit_upload(zone, status.upload_id, at=NOW)
        del objects, wanted
    grid.close_month()
    for plan, purpose in PLANS.items():
        order = replace(grid.order(plan), purpose=purpose)
        with timed(costs, f"platform: {plan}"):
            pool = LocalPool(zone.objects.store, read_known_keys(zone.engine))
            request = run_plan(zone, order, pool=pool, clock=lambda: NOW, progress=lambda *_: None)
        (folder / f"{plan}.request").write_text(request.model_dump_json(), encoding="utf-8")
    grid.close()
    return {}


def authority(folder: Path, meters: int, costs: Costs) -> dict[str, Any]:
    """Run both plans again, compare, decrypt, release."""
    grid = grid_of(folder)
    own = Authority(grid, folder / "authority")
    verify = seating.verify_seats
    spent: Costs = defaultdict(float)

    def timed_seats(*given: Any, **named: Any) -> Any:
        with timed(spent, SEATS):
            return verify(*given, **named)

    with patch.object(seating, "verify_seats", timed_seats):
        for plan in PLANS:
            text = (folder / f"{plan}.request").read_text(encoding="utf-8")
            spent.clear()
            with timed(costs, f"authority: {plan}"):
                outcome = own.answer(Signed.parse(text))
            costs[f"authority: {plan}"] -= spent[SEATS]
            costs[f"authority: {SEATS}"] += spent[SEATS]
            assert outcome.state == "released", outcome
    bills = own.certificates[0]
    energy = [cell for cell in bills.cells if cell.measure == "energy_wh"]
    assert sum(cell.members for cell in energy) == meters
    own.close()
    grid.close()
    return {"energy_wh": sum(int(cell.value or 0) for cell in energy)}


PARTIES: Final[tuple[Callable[[Path, int, Costs], dict[str, Any]], ...]] = (
    gateway, platform, authority,
)  # fmt: skip


def work(
    party: Callable[[Path, int, Costs], dict[str, Any]], folder: Path, meters: int, to: Connection
) -> None:
    """A party's process: its work, then what that took."""
    costs: Costs = defaultdict(float)
    told = party(folder, meters, costs)
    used = resource.getrusage(resource.RUSAGE_SELF)
    to.send(told | {"seconds": dict(costs), "memory_mb": used.ru_maxrss / 1024})


def measure(meters: int) -> dict[str, Any]:
    """Bill so many meter points: seconds by stage, and the most memory of each party [MB]."""
    forked = multiprocessing.get_context("fork")
    told: dict[str, dict[str, Any]] = {}
    with TemporaryDirectory() as folder:
        for party in PARTIES:
            here, there = forked.Pipe(duplex=False)
            child = forked.Process(target=work, args=(party, Path(folder), meters, there))
            child.start()
            there.close()
            told[party.__name__] = here.recv()
            child.join()
    assert told["gateway"]["energy_wh"] == told["authority"]["energy_wh"]
    return {
        "meters": meters,
        "seconds": {name: s for one in told.values() for name, s in one["seconds"].items()},
        "memory_mb": {name: one["memory_mb"] for name, one in told.items()},
    }


def per_meter_ms(one: Mapping[str, Any], party: str) -> float:
    """A party's processor time a meter point, without the check of seats [ms]."""
    stages = one["seconds"].items()
    own = sum(s for name, s in stages if name.startswith(party) and not name.endswith(SEATS))
    return float(own / one["meters"] * 1e3)


def seats_ms(one: Mapping[str, Any]) -> float:
    """What all parties' check of seats takes a meter point [ms]."""
    stages = one["seconds"].items()
    return float(sum(s for name, s in stages if name.endswith(SEATS)) / one["meters"] * 1e3)


def lines_of(measured: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[float]], ...]:
    """The lines of the two drawings: cost by party, and memory by party."""
    cost = {name: [per_meter_ms(one, name) for one in measured] for name in NAMES}
    cost["all parties"] = [sum(values) for values in zip(*cost.values(), strict=True)]
    cost["seats, once a year"] = [seats_ms(one) for one in measured]
    memory = {name: [float(one["memory_mb"][name]) for one in measured] for name in NAMES}
    return cost, memory


def draw(measured: Sequence[Mapping[str, Any]]) -> str:
    """Cost and memory over the number of meter points, as SVG."""
    cost, memory = lines_of(measured)
    meters = [one["meters"] for one in measured]
    parts = [
        panel(cost, meters, title="processor time, ms per meter point", left=60),
        panel(memory, meters, title="most memory of a party, MB", left=500),
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 330" font-family="sans-serif"'
        ' font-size="12">\n<rect width="900" height="330" fill="white"/>\n'
        + "".join(parts)
        + "</svg>\n"
    )


def panel(
    lines: Mapping[str, Sequence[float]], meters: Sequence[int], *, title: str, left: int
) -> str:
    """One drawing on logarithmic scales, 300 by 240, with its legend."""
    low = 10 ** np.floor(np.log10(min(map(min, lines.values()))))
    high = 10 ** np.ceil(np.log10(max(map(max, lines.values()))))

    def x(count: float) -> float:
        return left + 300 * float(np.log(count / meters[0]) / np.log(meters[-1] / meters[0]))

    def y(value: float) -> float:
        return 280 - 240 * float(np.log(value / low) / np.log(high / low))

    drawn = [f'<text x="{left}" y="25" font-weight="bold">{title}</text>\n']
    for power in range(round(np.log10(low)), round(np.log10(high)) + 1):
        value = 10.0**power
        drawn.append(
            f'<path d="M{left} {y(value):.1f}h300" stroke="#ddd"/>'
            f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>\n'
        )
    drawn += [
        f'<text x="{x(count):.1f}" y="300" text-anchor="middle">{count:,}</text>\n'
        for count in meters
    ]
    place = 0.0
    colours = dict(zip(lines, COLOURS, strict=False))
    # From the highest line down, so that no name lies on the one above it.
    for name, values in sorted(lines.items(), key=lambda line: -line[1][-1]):
        points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in zip(meters, values, strict=True))
        place = max(y(values[-1]) + 4, place + 14)
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{colours[name]}" stroke-width="2"/>'
            f'<text x="{left + 304}" y="{place:.1f}" fill="{colours[name]}">{name}</text>\n'
        )
    return "".join(drawn)


def main() -> None:
    """Measure every size, one after the other, and keep figures and drawing."""
    parser = argparse.ArgumentParser(prog="python -m tests.slope", description=__doc__)
    parser.add_argument("meters", type=int, nargs="*", default=SIZES)
    started = time.perf_counter()
    grid_keys()  # before the first fork, so that all parties have the same
    measured = []
    for meters in parser.parse_args().meters:
        measured.append(measure(meters))
        print(json.dumps(measured[-1]), file=sys.stderr, flush=True)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    keep({"measured_on": today, "machine": describe_machine(), "measured": measured})
    result = BenchResult(
        "slope", describe_machine(), figures_of(measured), time.perf_counter() - started
    )
    print(format_table(result))
    sys.exit(1 if result.missed else 0)


def figures_of(measured: Sequence[Mapping[str, Any]]) -> tuple[Figure, ...]:
    """How cost and memory grow from the first size to the last."""
    cost, memory = lines_of(measured)
    last = measured[-1]["meters"]
    # A ring a quarter full costs as much as a full one, and a party holds one roster at a time.
    full = next(n for n, one in enumerate(measured) if one["meters"] >= min(SLOTS, last))
    span = f"from one full roster to {last:,} meter points"
    whole = cost["all parties"]
    slope = Figure(
        "slope", f"cost of a meter point, {span}", "×", whole[-1] / whole[full], 1.1, 1.02,
        note=f"{whole[full]:.2f} to {whole[-1]:.2f} ms of all parties, without the yearly check of"
        " seats",
    )  # fmt: skip
    grown = [
        Figure(
            f"memory_{name}", f"most memory of the {name}, {span}", "×",
            values[-1] / values[full], 1.2, 1.0,
            note=f"{values[full]:,.0f} to {values[-1]:,.0f} MB in one process",
        )
        for name, values in memory.items()
    ]  # fmt: skip
    return (slope, *grown)


def keep(result: Mapping[str, Any]) -> None:
    """Write what was measured, and its drawing, where the docs have them."""
    FIGURES.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    DRAWING.write_text(draw(result["measured"]), encoding="utf-8")
    TABLE.write_text(tabulate(result), encoding="utf-8")


def tabulate(result: Mapping[str, Any]) -> str:
    """Both drawings in numbers, and the machine, as Markdown."""
    measured = result["measured"]
    cost, memory = lines_of(measured)
    rows = [(f"{name}, ms per meter point", values, ".2f") for name, values in cost.items()]
    rows += [(f"{name}, most memory in MB", values, ",.0f") for name, values in memory.items()]
    lines = [
        "| | " + " | ".join(f"{one['meters']:,} meter points" for one in measured) + " |",
        "|---|" + "---:|" * len(measured),
        *(
            f"| {name} | {' | '.join(f'{v:{form}}' for v in values)} |"
            for name, values, form in rows
        ),
        "",
        "Measured on: "
        + ", ".join(f"{name} {fact}" for name, fact in result["machine"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
