"""The other libraries that answer for the same integers: where they are, and how they are asked.

OpenFHE's wheel holds a module for one Python, and none for 3.11, so `make openfhe` makes an
environment of its own inside ours with a Python on which it does import. `seal-python` is in our
own environment (extra `peer`). Both are asked in a process of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.recording import Program
from gridsecure.homomorphic.parameters import TIER

OPENFHE: Final = "OpenFHE"
SEAL: Final = "seal-python"
HOW_TO: Final = {
    OPENFHE: "make openfhe, where there is a Python 3.10 or 3.12: no wheel of it is for 3.11",
    SEAL: "make dev, or pip install seal-python",
}

_EVALUATOR: Final = Path(__file__).with_name("peer_evaluator.py")
MOST_BITS: Final = 58
"""OpenFHE's coefficient primes have at most 60 bits, and its plain moduli must be smaller."""
_PARTS: Final = (TIER.plain_modulus, 2147352577)
"""Two plain moduli, 66 bits together, that stand for a larger one by the remainder theorem; both
batch in rings of up to 16,384."""
_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Library:
    """One library that can be asked.

    Args:
        python: What it runs on.
        package: Its name at the package index.
    """

    name: str
    python: Path
    package: str

    def describe(self) -> str:
        """The release, and the Python it runs on."""
        told = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]), 'on Python', "
        told += "'.'.join(map(str, sys.version_info[:3])))"
        done = subprocess.run(
            [self.python, "-c", told, self.package],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        return f"{self.name} {done.stdout.strip()}"


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a library made of a program.

    Args:
        outputs: Output name -> residues of the program's plain modulus [slots].
        ring_degree: The largest that it took.
        encrypt: Processor seconds to encrypt all columns.
        run: Processor seconds of all steps.
        decrypt: Processor seconds to decrypt all outputs.
    """

    outputs: Mapping[str, NDArray[np.uint64]]
    ring_degree: int
    encrypt: float
    run: float
    decrypt: float


def find_libraries() -> dict[str, Library]:
    """The libraries that are installed, by name; the most independent one first."""
    found = {}
    environment = Path(sys.prefix) / "openfhe" / "bin" / "python"
    if environment.exists():
        found[OPENFHE] = Library(OPENFHE, environment, "openfhe")
    if find_spec("seal") is not None:
        found[SEAL] = Library(SEAL, Path(sys.executable), "seal-python")
    return found


def ask(
    library: Library, programs: Sequence[Program], *, secure: bool = False, repeats: int = 1
) -> list[Answer]:
    """Have a library run programs from their plaintext integers.

    Args:
        secure: With parameters of 128 bits of security; otherwise the ring may be smaller.
        repeats: The times told are the fastest of so many.

    Raises:
        AssertionError: The library failed; its last words are in the text.
    """
    split = [_split(program, library) for program in programs]
    wanted = {
        "programs": [described for parts in split for described in parts],
        "secure": secure,
        "repeats": repeats,
    }
    answers = iter(_ask(library, wanted))
    return [
        _joined(program, [next(answers) for _ in parts])
        for program, parts in zip(programs, split, strict=True)
    ]


def _ask(library: Library, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [library.python, _EVALUATOR, "openfhe" if library.name == OPENFHE else "seal"],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise AssertionError(f"{library.name} failed: {done.stderr[-500:]}")
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def _split(program: Program, library: Library) -> list[dict[str, Any]]:
    """A program for each plain modulus that the library computes it under."""
    described = program.describe()
    if library.name == OPENFHE and program.modulus.bit_length() > MOST_BITS:
        return [described | {"modulus": modulus} for modulus in _PARTS]
    return [described]


def _joined(program: Program, answers: Sequence[Mapping[str, Any]]) -> Answer:
    t = program.modulus
    moduli = _PARTS if len(answers) > 1 else (t,)
    columns = zip(*(answer["outputs"] for answer in answers), strict=True)
    return Answer(
        {
            name: np.array(
                [_lift(residues, moduli) % t for residues in zip(*parts, strict=True)],
                dtype=np.uint64,
            )
            for name, parts in zip(program.outputs, columns, strict=True)
        },
        max(answer["ring_degree"] for answer in answers),
        sum(answer["encrypt_seconds"] for answer in answers),
        sum(answer["run_seconds"] for answer in answers),
        sum(answer["decrypt_seconds"] for answer in answers),
    )


def _lift(residues: Sequence[int], moduli: Sequence[int]) -> int:
    """The integer nearest to zero that leaves these residues."""
    product = prod(moduli)
    total = sum(
        residue * (product // modulus) * pow(product // modulus, -1, modulus)
        for residue, modulus in zip(residues, moduli, strict=True)
    )
    lifted = total % product
    return lifted - product if lifted > product // 2 else lifted
