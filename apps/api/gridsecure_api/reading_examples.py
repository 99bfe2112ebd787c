"""What a body of readings may be, and how it is answered, as the API page shows it.

Tests send every body, and compare the answers with those of a gateway.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gridsecure.wire.problems import ReadingsFault, ReadingsProblem, RowRun
from gridsecure_api.reading_schemas import CSV, JSON, LINES, PARQUET, WORKBOOK, XML

_POINT: Final = "MP-0001"
_VALUES: Final = (("00", 0.412), ("30", 0.398))
_READINGS: Final = [
    {"meter_point_id": _POINT, "start": f"2026-07-01T00:{minute}+08:00", "kwh": kwh}
    for minute, kwh in _VALUES
]
_IN_WH: Final = [
    {"meter_point_id": one["meter_point_id"], "start": one["start"], "energy": wh}
    for one, wh in zip(_READINGS, (412, 398), strict=True)
]
_FACES: Final = [
    {"meter_point_id": _POINT, "start": f"2026-07-01T00:{minute}+08:00", "register_kwh": kwh}
    | {"channel": channel}
    for channel, first in (("import", 4821), ("export", 310))
    for minute, kwh in (("00", first), ("30", first + 0.4))
]
LONG: Final = "meter_point_id,start,kwh\n" + "".join(
    f"{one['meter_point_id']},{one['start']},{one['kwh']}\n" for one in _READINGS
)
_WIDE: Final = (
    "meter_point_id,date," + ",".join(f"{hour:02}:00" for hour in range(24)) + "\n"
    f"{_POINT},2026-07-01" + ",0.412" * 24 + "\n"
)
_DAILY: Final = f"meter_point_id,date,kwh\n{_POINT},2026-07-01,9.888\n{_POINT},2026-07-02,10.4\n"
_DAYS: Final = f"meter_point_id,2026-07-01,2026-07-02\n{_POINT},9.888,10.4\n"

_TYPE: Final = "0.0.2.4.1.1.12.0.0.0.0.0.0.0.0.3.72.0"
"""Energy taken in intervals of 15 minutes, in kWh, as IEC 61968-9 codes it (Annex C)."""
_ENDS: Final = [(f"2026-07-01T00:{minute}:00+08:00", "0.103") for minute in ("15", "30")]
_DOCUMENT: Final = {
    "MeterReadings": {
        "MeterReading": [
            {
                "IntervalBlocks": [
                    {
                        "IntervalReadings": [{"timeStamp": at, "value": v} for at, v in _ENDS],
                        "ReadingType": {"ref": _TYPE},
                    }
                ],
                "UsagePoint": {"mRID": _POINT},
            }
        ]
    }
}
_XML: Final = (
    '<MeterReadings xmlns="http://iec.ch/TC57/2011/MeterReadings#"><MeterReading><IntervalBlocks>'
    + "".join(
        f"<IntervalReadings><timeStamp>{at}</timeStamp><value>{value}</value></IntervalReadings>"
        for at, value in _ENDS
    )
    + f'<ReadingType ref="{_TYPE}"/></IntervalBlocks>'
    f"<UsagePoint><mRID>{_POINT}</mRID></UsagePoint></MeterReading></MeterReadings>"
)
_FORMATS: Final[dict[str, dict[str, Any]]] = {
    "text/csv": {
        "schema": CSV,
        "examples": {
            "long": {"summary": "A reading a line", "value": LONG},
            "wide": {"summary": "A day a line", "value": _WIDE},
            "daily": {"summary": "Energies of whole days", "value": _DAILY},
            "days": {"summary": "A column for each day", "value": _DAYS},
        },
    },
    "application/json": {
        "schema": JSON,
        "examples": {
            "readings": {"summary": "Energies", "value": {"readings": _READINGS}},
            "list": {"summary": "The list alone", "value": _READINGS},
            "unit": {
                "summary": "Energies in a unit that is said once",
                "value": {"unit": "Wh", "readings": _IN_WH},
            },
            "faces": {"summary": "Faces of registers", "value": {"readings": _FACES}},
            "meter-readings": {"summary": "MeterReadings, IEC 61968-9", "value": _DOCUMENT},
        },
    },
    "application/x-ndjson": {
        **LINES,
        "examples": {"lines": {"value": "".join(json.dumps(one) + "\n" for one in _READINGS)}},
    },
    "application/xml": {
        "schema": XML,
        "examples": {"meter-readings": {"summary": "MeterReadings, IEC 61968-9", "value": _XML}},
    },
    "application/vnd.apache.parquet": {"schema": PARQUET},
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": {"schema": WORKBOOK},
}
BODY: Final = {"requestBody": {"required": True, "content": _FORMATS}}
"""What a body may be; the examples are sent by a test."""

WAITS: Final[dict[str, object]] = {
    "state": "waiting",
    "receipt": None,
    "months": {},
    "counts": {},
    "refusal": None,
    "size": len(LONG),
    "pieces": 0,
    "readings": 0,
}
"""The answer to `LONG` while it waits."""

DONE: Final[dict[str, object]] = WAITS | {
    "state": "done",
    "receipt": {
        "body_kind": "batch-receipt",
        "body": "the exact text that is signed: JSON of a BatchReceipt",
        "signer": "8d3bb6fabd40ca7a7fae1c4a7e7ea0d20afca4d5d6fcb0a9a1a3a5a7b8e0c1d2",
        "signature": "of SM2, in hexadecimal digits",
    },
    "months": {"2026-07": "waiting"},
    "size": 0,
    "readings": len(_READINGS),
}
"""The answer to `LONG` once it is taken in, but for the receipt."""

MALFORMED: Final = LONG.replace("0.412", "0,412") + (
    f"{_POINT},2026-07-01T01:00+08:00,0.4125\n{_POINT},01.07.2026 01:30,0.4\n"
)
"""A table with three faults."""
_FIELDS: Final = (
    "Each line needs one field per column, separated by commas; beside decimal commas, by"
    " semicolons."
)


def _fault(line: int, reason: str, rule: str, detail: str, remedy: str) -> ReadingsFault:
    """A kind of fault that one line has."""
    return ReadingsFault(
        reason=f"readings.{reason}",
        rule=rule,
        detail=detail,
        remedy=remedy,
        place="line",
        count=1,
        rows=[RowRun(first=line, last=line)],
    )


REFUSED: Final[dict[str, Any]] = ReadingsProblem(
    type="/reasons/readings.malformed",
    title="Bad Request",
    status=400,
    reason="readings.malformed",
    detail="1 line refused (malformed), first line 2: not as many fields as the header. Also"
    " refused: 1 line (timestamp) from line 5, 1 line (kwh-decimals) from line 4.",
    remedy=_FIELDS,
    problems=[
        "line 2: not as many fields as the header (malformed)",
        "line 5: the time is not of the form YYYY-MM-DD HH:MM, year first (timestamp)",
        "line 4: more than three decimals of a kWh (kwh-decimals)",
    ],
    faults=[
        _fault(2, "malformed", "malformed", "not as many fields as the header", _FIELDS),
        _fault(
            5,
            "timestamp",
            "timestamp",
            "the time is not of the form YYYY-MM-DD HH:MM, year first",
            "Write local times as 2026-07-01 00:30, or with an offset as 2026-07-01 00:30+08:00"
            " where the clock is changed. If their clock is never changed, name its fixed offset as"
            " the zone, such as +08:00.",
        ),
        _fault(
            4,
            "energy",
            "kwh-decimals",
            "more than three decimals of a kWh",
            "Write kWh with up to three decimals, such as 12.345; nothing is rounded here.",
        ),
    ],
).model_dump()
"""The answer to `MALFORMED`."""

_PROGRESS: Final = WAITS | {"state": "reading", "pieces": 1, "readings": len(_READINGS)}
EVENTS: Final = "".join(
    f"event: {one['state']}\ndata: {json.dumps(one, separators=(',', ':'))}\n\n"
    for one in (WAITS, _PROGRESS)
)
"""What a stream begins with that follows it."""
