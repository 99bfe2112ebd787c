"""Logs as lines of JSON, which hold no plaintext.

Each line has a time, a level, the zone, who writes and what; and, where a request is answered, its
number. Our own modules write no value of a request, by the house's rules. Of other people's
libraries only the sentence is written, without what was to be put into it, and of an error its type
and place: either could quote data.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import Any, Final

from gridsecure.wire.request_ids import CURRENT

_OURS: Final = ("gridsecure", "gridsecure_api")
FIELDS: Final = "fields"
"""The attribute of a record that holds more members of its line."""


class JsonLines(logging.Formatter):
    """One JSON object a line.

    Args:
        zone: Whose log it is.
    """

    def __init__(self, zone: str) -> None:
        super().__init__()
        self._zone = zone

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        is_ours = record.name.partition(".")[0] in _OURS
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "zone": self._zone,
            "logger": record.name,
            "message": record.getMessage() if is_ours else str(record.msg),
        }
        if number := CURRENT.get():
            line["request"] = number
        line |= getattr(record, FIELDS, {})
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["place"] = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        return json.dumps(line, ensure_ascii=False)


def log_as_json(zone: str) -> None:
    """Have this process log lines of JSON: our own from `info` on, others' warnings.

    Args:
        zone: Whose log it is.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(zone))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)
