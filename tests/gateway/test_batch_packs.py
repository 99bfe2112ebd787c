"""Packs of small batches that are damaged on the disk."""

from __future__ import annotations

import random
from zipfile import ZipFile

from gridsecure.gateway.ingestion.batch_packs import PACK, open_stored

BODY = b"PAR1" * 150


def test_a_damaged_pack_is_one_that_cannot_be_read_and_gives_no_other_bytes(tmp_path):
    """Reconciling names its batches then; any other error would end it."""
    pack, name = tmp_path / f"some{PACK}", "one.parquet"
    with ZipFile(pack, "w") as made:
        made.writestr(name, BODY)
    whole = pack.read_bytes()
    draw = random.Random(1)  # noqa: S311 - where the damage is
    refused = 0
    for _ in range(1500):
        damaged = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
        if damaged:
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        pack.write_bytes(damaged)
        try:
            with open_stored(pack / name) as file:
                assert file.read() == BODY
        except OSError:
            refused += 1
    assert refused > 1000
