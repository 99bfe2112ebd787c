"""Trap: some library calls encrypt inside, and a release that used one could not be re-executed.

Every operation on columns gives the same bytes each time, also in another process that has the
public bytes alone: that is how the checker proves what the platform computed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.homomorphic.blinding import SEED_SIZE, SlotGroups, zero_sum_blinding
from gridsecure.homomorphic.column_files import ColumnLabel, column_bytes, open_column
from gridsecure.homomorphic.columns import EncryptedColumn
from gridsecure.homomorphic.parameters import TIER
from gridsecure.homomorphic.secret_key import SecretKeySet

SLOTS = 64
LABEL = ColumnLabel("total", "Wh", "roster", "2026-01-01", "2026-02-01", SLOTS, 10**6)
MASK = (np.arange(SLOTS) % 3 == 0).astype(np.int64)
(BLINDING,) = zero_sum_blinding(
    bytes(SEED_SIZE),
    groups=[SlotGroups.of(np.arange(SLOTS) % 4)],
    modulus=TIER.plain_modulus,
    purpose="total",
)

OPERATIONS: dict[str, Callable[[EncryptedColumn, EncryptedColumn], EncryptedColumn]] = {
    "plus": lambda a, b: a.plus(b),
    "minus": lambda a, b: a.minus(b),
    "times": lambda a, b: a.times(b),
    "scaled": lambda a, _: a.scale(1023),
    "raised": lambda a, _: a.raise_by(7),
    "raised slots": lambda a, _: a.raise_by(np.arange(SLOTS) - 5),
    "complement": lambda a, _: a.complement(),
    "selected": lambda a, _: a.select(MASK),
    "blinded": lambda a, _: a.blind(BLINDING),
    "relinearised": lambda a, b: a.times(b).relinearise(),
    "lowered": lambda a, _: a.switch_down(2),
    "all": lambda a, b: (
        a.times(b.complement()).relinearise().switch_down(2).scale(9).blind(BLINDING).switch_down(1)
    ),
}


def inputs(files: tuple[bytes, bytes], keys: SecretKeySet) -> list[EncryptedColumn]:
    return [
        open_column(
            data,
            digest=sm3_hex(data),
            evaluation=keys.public.evaluation,
            roster_id=LABEL.roster_id,
        )[0]
        for data in files
    ]


@pytest.fixture(scope="module")
def files(tier_keys: SecretKeySet) -> tuple[bytes, bytes]:
    first, second = (
        column_bytes(tier_keys.public.encrypt(np.arange(SLOTS) * n, high=10**6), label=LABEL)
        for n in (1, 2)
    )
    return first, second


@pytest.mark.parametrize("operation", OPERATIONS)
def test_same_bytes_each_time(
    tier_keys: SecretKeySet, files: tuple[bytes, bytes], operation: str
) -> None:
    """Each time from bytes again, so that no state of the objects can be what repeats."""
    outputs = {
        column_bytes(OPERATIONS[operation](*inputs(files, tier_keys)), label=LABEL)
        for _ in range(3)
    }
    assert len(outputs) == 1


def test_operations_leave_their_inputs_alone(
    tier_keys: SecretKeySet, files: tuple[bytes, bytes]
) -> None:
    columns = inputs(files, tier_keys)
    for operation in OPERATIONS.values():
        operation(columns[0], columns[1])
    assert tuple(column_bytes(column, label=LABEL) for column in columns) == files


RE_EXECUTION = """
import sys
from pathlib import Path
from gridsecure.homomorphic.blinding import SEED_SIZE, SlotGroups, zero_sum_blinding
from gridsecure.homomorphic.column_files import column_bytes, open_column
from gridsecure.homomorphic.keys import PublicKeySet
from gridsecure.homomorphic.parameters import TIER
from gridsecure.crypto.sm3 import sm3_hex
import numpy as np

folder = Path(sys.argv[1])
public = PublicKeySet(TIER, (folder / "public").read_bytes(), (folder / "relin").read_bytes())
columns = []
for name in ("first", "second"):
    data = (folder / name).read_bytes()
    column, label = open_column(
        data, digest=sm3_hex(data), evaluation=public.evaluation, roster_id="roster"
    )
    columns.append(column)
a, b = columns
(blinding,) = zero_sum_blinding(
    bytes(SEED_SIZE),
    groups=[SlotGroups.of(np.arange(a.slots) % 4)],
    modulus=TIER.plain_modulus,
    purpose="total",
)
out = a.times(b.complement()).relinearise().switch_down(2).scale(9).blind(blinding).switch_down(1)
assert "gridsecure.homomorphic.secret_key" not in sys.modules
print(sm3_hex(column_bytes(out, label=label)))
"""


def test_another_process_gets_the_same_digest(
    tier_keys: SecretKeySet, files: tuple[bytes, bytes], tmp_path: Path
) -> None:
    """From public bytes alone, in a process that never had the secret key."""
    public = tier_keys.public
    (tmp_path / "public").write_bytes(public.public_key)
    (tmp_path / "relin").write_bytes(public.relinearisation_keys)
    (tmp_path / "first").write_bytes(files[0])
    (tmp_path / "second").write_bytes(files[1])
    here = column_bytes(OPERATIONS["all"](*inputs(files, tier_keys)), label=LABEL)
    there = subprocess.run(
        [sys.executable, "-c", RE_EXECUTION, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert there.stdout.strip() == sm3_hex(here)


def test_encrypting_twice_is_not_deterministic(tier_keys: SecretKeySet) -> None:
    """The counter-example: had an operation encrypted inside, the tests above would see it."""
    first, second = (
        column_bytes(tier_keys.public.encrypt(np.arange(SLOTS), high=10**6), label=LABEL)
        for _ in range(2)
    )
    assert first != second
