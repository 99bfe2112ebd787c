"""What a body of readings is, as the API page says it to programs that are written from it.

A body may say more than this: names of other systems are read as well, and other ways to write a
time. Whoever keeps to these schemas is understood by every later release.
"""

from __future__ import annotations

from typing import Any, Final

_NUMBER: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number"},
        {"type": "string", "pattern": r"^-?[0-9]{1,9}(\.[0-9]{1,9})?$"},
        {"type": "null"},
    ]
}
_POINT: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 256,
    "description": "The meter point.",
}
_START: Final = {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.0+)?)?"
    r"(Z|[+-][0-9]{2}:?[0-9]{2})?$",
    "description": "Start of the interval, or its end where the source declared so; of a face, the"
    " moment at which it stood. Without an offset it is in the source's zone.",
}
_SAID: Final = {
    "kwh": "Energy of the interval [kWh], with at most three decimals that are not zero; null is a"
    " missing reading.",
    "wh": "The same [Wh].",
    "mwh": "The same [MWh].",
    "energy": "The same in the unit that the reading, the body or the source says.",
    "export_kwh": "Energy fed in [kWh].",
    "export_wh": "The same [Wh].",
    "kvarh": "Reactive energy taken [kvarh].",
    "register_kwh": "Face of a cumulative register [kWh], in place of an energy.",
    "register_wh": "The same [Wh].",
    "register_mwh": "The same [MWh].",
    "register_export_kwh": "Face of the register of energy fed in [kWh].",
    "register_kvarh": "Face of the register of reactive energy [kvarh].",
}
"""Member -> what its number is."""
_MAIN: Final = ("kwh", "wh", "mwh", "energy", "register_kwh", "register_wh", "register_mwh")

READING: Final[dict[str, Any]] = {
    "title": "Reading",
    "type": "object",
    "description": "One reading: of a meter point, at a time, an energy or a face of a register.",
    "required": ["meter_point_id", "start"],
    "oneOf": [{"required": [name]} for name in _MAIN],
    "properties": {
        "meter_point_id": _POINT,
        "start": _START,
        **{name: _NUMBER | {"description": text} for name, text in _SAID.items()},
        "unit": {"enum": ["Wh", "kWh", "MWh"], "description": "Of `energy`."},
        "quality": {
            "enum": ["actual", "estimated", "missing"],
            "default": "actual",
            "description": "Letters of meter data files are read, too; another one is rejected by"
            " the rule quality-flag.",
        },
        "channel": {
            "enum": ["import", "export", "reactive"],
            "description": "Of which register `register_kwh` is the face, where there are several.",
        },
        "values": {
            "enum": ["interval", "register"],
            "description": "Whether numbers are energies or faces, the same on all readings.",
        },
        "stamps": {
            "enum": ["start", "end"],
            "description": "What `start` is of its interval, the same on all readings.",
        },
    },
    "patternProperties": {
        "^register_kwh_(sharp|peak|flat|valley|deep_valley|[1-9][0-9]?)$": _NUMBER
        | {"description": "Face of a register of the meter's own hours, beside `register_kwh`."}
    },
    "additionalProperties": False,
}
"""A reading as JSON, lines of JSON and the columns of Parquet have it."""

_READINGS: Final = {"type": "array", "minItems": 1, "maxItems": 16_000_000, "items": READING}
_LIST: Final = {
    "title": "Readings",
    "type": "object",
    "required": ["readings"],
    "additionalProperties": False,
    "properties": {
        "unit": {"enum": ["Wh", "kWh", "MWh"], "description": "Of `energy` of all readings."},
        "readings": _READINGS,
    },
}


def _one_or_more(schema: dict[str, Any]) -> dict[str, Any]:
    """An element of the XML as JSON: alone, or a list where it is repeated."""
    return {"anyOf": [schema, {"type": "array", "items": schema}]}


_REF: Final = {
    "type": "object",
    "required": ["ref"],
    "properties": {
        "ref": {
            "type": "string",
            "pattern": r"^\d+(\.\d+){17}$",
            "description": "The 18 numbers of a ReadingType, Annex C of IEC 61968-9.",
        }
    },
}
_VALUE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["timeStamp", "value"],
    "properties": {
        "timeStamp": {
            "type": "string",
            "format": "date-time",
            "description": "End of the interval, or the moment of a face, with its offset.",
        },
        "value": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        "ReadingQualities": _one_or_more({"type": "object"}),
    },
}
_NAMED: Final = {"type": "object", "properties": {"mRID": {"type": "string"}}}
METER_READINGS: Final[dict[str, Any]] = {
    "title": "MeterReadings",
    "type": "object",
    "required": ["MeterReadings"],
    "description": "A document of IEC 61968-9, with the names of its XML.",
    "properties": {
        "MeterReadings": {
            "type": "object",
            "required": ["MeterReading"],
            "properties": {
                "MeterReading": _one_or_more(
                    {
                        "type": "object",
                        "properties": {
                            "UsagePoint": _NAMED,
                            "Meter": _NAMED,
                            "IntervalBlocks": _one_or_more(
                                {
                                    "type": "object",
                                    "required": ["IntervalReadings", "ReadingType"],
                                    "properties": {
                                        "IntervalReadings": _one_or_more(_VALUE),
                                        "ReadingType": _REF,
                                    },
                                }
                            ),
                            "Readings": _one_or_more(
                                _VALUE
                                | {
                                    "required": ["timeStamp", "value", "ReadingType"],
                                    "properties": {**_VALUE["properties"], "ReadingType": _REF},
                                }
                            ),
                        },
                    }
                )
            },
        }
    },
}

JSON: Final = {"anyOf": [_LIST, _READINGS, METER_READINGS]}
LINES: Final = {"schema": {"type": "string"}, "itemSchema": READING}
"""Lines of JSON: a text, each of whose lines is such an object."""
CSV: Final = {
    "type": "string",
    "contentMediaType": "text/csv",
    "description": "A table with a header of one of the layouts of `docs/formats.md`, or NEM12.",
}
XML: Final = {
    "type": "string",
    "contentMediaType": "application/xml",
    "description": "MeterReadings of IEC 61968-9 (profile `MeterReadings.xsd`), or Green Button.",
}
PARQUET: Final = {
    "type": "string",
    "format": "binary",
    "description": "A reading a row, in columns with the names of a Reading's members; times as"
    " timestamps or text, numbers as decimals, integers, floating-point numbers or text.",
}
WORKBOOK: Final = {
    "type": "string",
    "format": "binary",
    "description": "A workbook whose one sheet with cells is a table as in CSV.",
}
