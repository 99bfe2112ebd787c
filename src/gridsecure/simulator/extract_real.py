"""Make the extracts of `data/real/` again from the packages that published the measurements.

    python -m gridsecure.simulator.extract_real OPENDSM_WHEEL PYCITY_BASE_WHEEL FOLDER

The wheels are those of opendsm 1.2.7 and pycity_base 0.3.3 (`pip download --no-deps`). Nothing is
repaired: repeated lines and gaps go into the extracts as they were measured. What is changed is
written in `data/real/README.md`.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import sys
import zipfile
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Final

# Six weeks, so that any month can be cut from them starting on the right weekday.
HOME_DAYS: Final = 42

# Meter point -> sample of opendsm and first day of the period taken from it.
HOMES: Final = {
    "990000000101": (1, dt.date(2012, 11, 1)),
    "990000000102": (1, dt.date(2013, 6, 1)),
    "990000000103": (1, dt.date(2013, 11, 1)),
    "990000000201": (2, dt.date(2012, 2, 1)),
    "990000000202": (2, dt.date(2012, 5, 1)),
    "990000000203": (2, dt.date(2013, 7, 1)),
}

# Meter point -> how many times its measured 1000 kWh a year are scaled up.
FACTORIES: Final = {"990000000301": 1000, "990000000302": 500, "990000000303": 400}

_SAMPLE = "opendsm/eemeter/samples/uk-electricity-hdd-only-hourly-sample-{}.csv.gz"
_YEAR = "pycity_base/inputs/measured_el_loads/non_res_annual_el_profiles.txt"

# 7-digit values in the samples are single-precision prints of three decimals (1.4529999 is 1.453).
_SINGLE_PRECISION_KWH = Decimal("0.000001")


def homes_csv(wheel: Path) -> str:
    """The homes' periods in the long layout, lines in the order of the source."""
    lines = ["meter_point_id,start,kwh"]
    samples = {number: list(_read_sample(wheel, number)) for number in (1, 2)}
    for meter_point_id, (number, first) in HOMES.items():
        for start, text in samples[number]:
            if 0 <= (start.date() - first).days < HOME_DAYS:
                lines.append(f"{meter_point_id},{start:%Y-%m-%d %H:%M},{_three_decimals(text)}")
    return "\n".join(lines) + "\n"


def factories_csv(wheel: Path) -> str:
    """The industrial year in the wide layout with 96 points, scaled."""
    with zipfile.ZipFile(wheel) as archive:
        rows = archive.read(_YEAR).decode("latin-1").splitlines()[2:35_042]
    power_w = [[Decimal(cell) for cell in row.split("\t")[2:5]] for row in rows]
    lines = ["meter_point_id,date," + ",".join(f"p{number + 1}" for number in range(96))]
    for column, (meter_point_id, scale) in enumerate(FACTORIES.items()):
        # Mean power [W] over a quarter of an hour, as energy [Wh], rounded half up once.
        energy_wh = [
            int((row[column] * scale / 4).quantize(Decimal(1), ROUND_HALF_UP)) for row in power_w
        ]
        for day in range(365):
            date = dt.date(2010, 1, 1) + dt.timedelta(days=day)
            cells = (f"{wh // 1000}.{wh % 1000:03d}" for wh in energy_wh[day * 96 : day * 96 + 96])
            lines.append(f"{meter_point_id},{date},{','.join(cells)}")
    return "\n".join(lines) + "\n"


def _read_sample(wheel: Path, number: int) -> Iterator[tuple[dt.datetime, str]]:
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(_SAMPLE.format(number))).decode()
    for row in csv.DictReader(io.StringIO(text)):
        yield dt.datetime.fromisoformat(row["start"]), row["value"]


def _three_decimals(text: str) -> str:
    value = Decimal(text)
    rounded = value.quantize(Decimal("0.001"), ROUND_HALF_UP)
    if abs(value - rounded) > _SINGLE_PRECISION_KWH:
        raise ValueError("a sample value is not three decimals in single precision")
    return str(rounded)


def main(arguments: list[str]) -> None:
    """Write both extracts into a folder."""
    opendsm, pycity, folder = (Path(argument) for argument in arguments)
    (folder / "uk-homes.csv").write_text(homes_csv(opendsm), encoding="utf-8")
    (folder / "industry-2010.csv").write_text(factories_csv(pycity), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
