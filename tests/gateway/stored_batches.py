"""Files of batches as a gateway keeps them, without a gateway."""

from __future__ import annotations

from pathlib import Path

from gridsecure.gateway.ingestion.bodies import read_body
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody
from gridsecure.gateway.ingestion.stored_readings import RULE, ReadingsWriter, batch_file

ZONE = "Asia/Shanghai"


def batch(folder: Path, text: str, *, has_faces: bool = True) -> Path:
    """The file of a batch of a source that stamps starts."""
    source = Source("headend", "t", ("",), "start", ZONE, "")
    with SpooledBody(folder) as body, ReadingsWriter(folder) as writer:
        body.add(text.encode())
        body.finish()
        for readings in read_body(body, source=source, timezone=ZONE):
            writer.add(readings.assign(**{RULE: ""}))
        path = folder / batch_file(writer.keep(), has_faces=has_faces)
    assert path.exists()
    return path
