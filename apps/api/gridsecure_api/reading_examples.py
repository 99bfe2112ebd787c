"""What a body of readings may be, and how it is answered, as the API page shows it.

Tests send every body, and compare the answers with those of a gateway.
"""

from __future__ import annotations

import json
from typing import Any, Final

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
_LIST: Final = {
    "type": "object",
    "required": ["readings"],
    "properties": {
        "unit": {"enum": ["Wh", "kWh", "MWh"]},
        "readings": {"type": "array", "items": {"type": "object"}},
    },
}
_DOCUMENTS: Final = {
    "type": "object",
    "required": ["MeterReadings"],
    "properties": {"MeterReadings": {"type": "object"}},
}
_FORMATS: Final[dict[str, dict[str, Any]]] = {
    "text/csv": {
        "schema": {"type": "string"},
        "examples": {
            "long": {"summary": "A reading a line", "value": LONG},
            "wide": {"summary": "A day a line", "value": _WIDE},
            "daily": {"summary": "Energies of whole days", "value": _DAILY},
            "days": {"summary": "A column for each day", "value": _DAYS},
        },
    },
    "application/json": {
        "schema": {"anyOf": [_LIST, _DOCUMENTS]},
        "examples": {
            "readings": {"summary": "Energies", "value": {"readings": _READINGS}},
            "unit": {
                "summary": "Energies in a unit that is said once",
                "value": {"unit": "Wh", "readings": _IN_WH},
            },
            "faces": {"summary": "Faces of registers", "value": {"readings": _FACES}},
            "meter-readings": {"summary": "MeterReadings, IEC 61968-9", "value": _DOCUMENT},
        },
    },
    "application/x-ndjson": {
        "schema": {"type": "string"},
        "examples": {"lines": {"value": "".join(json.dumps(one) + "\n" for one in _READINGS)}},
    },
    "application/xml": {
        "schema": {"type": "string"},
        "examples": {"meter-readings": {"summary": "MeterReadings, IEC 61968-9", "value": _XML}},
    },
    "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
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

_PROGRESS: Final = WAITS | {"state": "reading", "pieces": 1, "readings": len(_READINGS)}
EVENTS: Final = "".join(
    f"event: {one['state']}\ndata: {json.dumps(one, separators=(',', ':'))}\n\n"
    for one in (WAITS, _PROGRESS)
)
"""What a stream begins with that follows it."""
