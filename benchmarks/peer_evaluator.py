"""Another library's answer to a program: JSON on standard input, JSON on standard output.

    python peer_evaluator.py openfhe < request.json

It runs under whichever Python the library's wheel is for, and imports nothing of ours: programs are
integers in, steps on numbered columns, and columns out (`benchmarks.recording`). Every column is
encrypted by the library from the plaintext integers, under keys made here; what comes out is
decrypted by the library.

A request holds `programs`, `secure` (whether parameters keep 128 bits of security, or the ring is
just large enough for the arithmetic), and `repeats`, of which the fastest time is told.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

Numbers = list[int]
Array = np.ndarray[Any, Any]
SMALL_RING = 2048
PAIRS = ("plus", "minus", "times")
PUBLIC = ("scale", "select", "raise")


class OpenFhe:
    """OpenFHE's BFV, whose parameters it chooses itself from depth and plain modulus.

    Switching to fewer primes changes no integer, and OpenFHE's BFV does it by itself where it pays.
    """

    def __init__(self, program: dict[str, Any], *, secure: bool) -> None:
        openfhe = import_module("openfhe")
        self.modulus: int = program["modulus"]
        chosen = openfhe.CCParamsBFVRNS()
        chosen.SetPlaintextModulus(self.modulus)
        chosen.SetMultiplicativeDepth(program["depth"])
        if not secure:
            chosen.SetSecurityLevel(openfhe.SecurityLevel.HEStd_NotSet)
            chosen.SetRingDim(SMALL_RING)
        self.context = openfhe.GenCryptoContext(chosen)
        features = openfhe.PKESchemeFeature
        for feature in (features.PKE, features.KEYSWITCH, features.LEVELEDSHE):
            self.context.Enable(feature)
        self.keys = self.context.KeyGen()
        self.context.EvalMultKeyGen(self.keys.secretKey)
        self.degree: int = self.context.GetRingDimension()

    def read(self, values: Numbers) -> Array:
        """Integers as the encoder wants them: residues between -t/2 and t/2."""
        half = self.modulus // 2
        return np.array([(v + half) % self.modulus - half for v in values], dtype=np.int64)

    def encode(self, values: Array) -> Any:
        """A plaintext of residues, one a slot."""
        return self.context.MakePackedPlaintext(values)

    def constant(self, value: int) -> Any:
        """A plaintext with one integer in every slot."""
        return self.encode(self.read([value] * self.degree))

    def encrypt(self, values: Array) -> Any:
        """A fresh column."""
        return self.context.Encrypt(self.keys.publicKey, self.encode(values))

    def decrypt(self, column: Any, *, slots: int) -> Numbers:
        """The residues of a column."""
        plaintext = self.context.Decrypt(self.keys.secretKey, column)
        plaintext.SetLength(slots)
        return [value % self.modulus for value in plaintext.GetPackedValue()]

    def apply(self, operation: str, columns: list[Any], public: Any) -> Any:
        """What a step makes of its columns, and of a plaintext where it has one."""
        context, first = self.context, columns[0]
        if operation in ("scale", "select"):
            return context.EvalMult(first, public)
        if operation == "raise":
            return context.EvalAdd(first, public)
        if operation == "complement":
            return context.EvalAdd(context.EvalNegate(first), public)
        if operation == "switch":
            return first
        if operation == "relinearise":
            return context.Relinearize(first)
        two: dict[str, Callable[[Any, Any], Any]] = {
            "plus": context.EvalAdd,
            "minus": context.EvalSub,
            "times": context.EvalMultNoRelin,
        }
        return two[operation](first, columns[1])


class Seal:
    """Another build of SEAL, with the parameter sets that the plan was proven for."""

    def __init__(self, program: dict[str, Any], *, secure: bool) -> None:  # noqa: ARG002 - as the other library
        seal = import_module("seal")
        self.seal = seal
        self.modulus: int = program["modulus"]
        schemes = seal.scheme_type
        chosen = seal.EncryptionParameters(schemes.bgv if program["is_bgv"] else schemes.bfv)
        chosen.set_poly_modulus_degree(program["ring_degree"])
        chosen.set_coeff_modulus([seal.Modulus(prime) for prime in program["primes"]])
        chosen.set_plain_modulus(seal.Modulus(self.modulus))
        context = seal.SEALContext(chosen)
        made = seal.KeyGenerator(context)
        self.encoder, self.evaluator = seal.BatchEncoder(context), seal.Evaluator(context)
        self.encryptor = seal.Encryptor(context, made.create_public_key())
        self.decryptor = seal.Decryptor(context, made.secret_key())
        self.relinearisation = made.create_relin_keys() if context.using_keyswitching() else None
        self.degree: int = program["ring_degree"]

    def read(self, values: Numbers) -> Array:
        """Integers as the encoder wants them: residues below t."""
        return np.array([value % self.modulus for value in values], dtype=np.uint64)

    def encode(self, values: Array) -> Any:
        """A plaintext of residues, one a slot."""
        return self.encoder.encode(values)

    def constant(self, value: int) -> Any:
        """A plaintext with one integer in every slot."""
        return self.seal.Plaintext(f"{value % self.modulus:x}")

    def encrypt(self, values: Array) -> Any:
        """A fresh column."""
        return self.encryptor.encrypt(self.encode(values))

    def decrypt(self, column: Any, *, slots: int) -> Numbers:
        """The residues of a column."""
        values: Numbers = self.encoder.decode_uint64(self.decryptor.decrypt(column)).tolist()
        return values[:slots]

    def apply(self, operation: str, columns: list[Any], public: Any) -> Any:
        """What a step makes of its columns, and of a plaintext where it has one."""
        evaluator, first = self.evaluator, columns[0]
        if operation in ("scale", "select"):
            return evaluator.multiply_plain(first, public)
        if operation == "raise":
            return evaluator.add_plain(first, public)
        if operation == "complement":
            return evaluator.add_plain(evaluator.negate(first), public)
        if operation == "switch":
            return evaluator.mod_switch_to_next(first)
        if operation == "relinearise":
            return evaluator.relinearize(first, self.relinearisation)
        two: dict[str, Callable[[Any, Any], Any]] = {
            "plus": evaluator.add,
            "minus": evaluator.sub,
            "times": evaluator.multiply,
        }
        return two[operation](first, columns[1])


LIBRARIES: dict[str, type[OpenFhe] | type[Seal]] = {"openfhe": OpenFhe, "seal": Seal}


def evaluate(library: OpenFhe | Seal, program: dict[str, Any], *, repeats: int) -> dict[str, Any]:
    """Encrypt, compute and decrypt, a ring's worth of slots at a time; the fastest times [s].

    Integers that are the same in every slot, as rates are, count as encoded before the first run.
    """
    slots = len(program["inputs"][0])
    inputs = [library.read(values) for values in program["inputs"]]
    steps = [
        [library.read(item) if isinstance(item, list) else item for item in step]
        for step in program["steps"]
    ]
    constants = {value: library.constant(value) for value in _constants(steps)}
    outputs: list[Numbers] = [[] for _ in program["outputs"]]
    encrypting = computing = decrypting = 0.0
    for start in range(0, slots, library.degree):
        part = slice(start, min(start + library.degree, slots))
        fresh_times, run_times = [], []
        for _ in range(repeats):
            started = time.process_time()
            fresh = [library.encrypt(values[part]) for values in inputs]
            encrypted = time.process_time()
            columns = compute(library, fresh, steps, constants=constants, part=part)
            fresh_times.append(encrypted - started)
            run_times.append(time.process_time() - encrypted)
        encrypting += min(fresh_times)
        computing += min(run_times)
        computed = time.process_time()
        for number, told in enumerate(program["outputs"]):
            outputs[number] += library.decrypt(columns[told], slots=part.stop - part.start)
        decrypting += time.process_time() - computed
    return {
        "outputs": outputs,
        "ring_degree": library.degree,
        "encrypt_seconds": encrypting,
        "run_seconds": computing,
        "decrypt_seconds": decrypting,
    }


def _constants(steps: list[list[Any]]) -> set[int]:
    """The integers that are the same in every slot; a complement adds one."""
    alike = {step[2] for step in steps if step[0] in PUBLIC and isinstance(step[2], int)}
    return alike | {1}


def compute(
    library: OpenFhe | Seal,
    fresh: list[Any],
    steps: list[list[Any]],
    *,
    constants: dict[int, Any],
    part: slice,
) -> list[Any]:
    """All columns, those that went in first; arrays are cut to a part of the slots."""
    columns = list(fresh)
    for operation, first, *rest in steps:
        taken, public = [columns[first]], None
        if operation in PAIRS:
            taken.append(columns[rest[0]])
        elif operation in PUBLIC or operation == "complement":
            value = rest[0] if rest else 1
            public = constants[value] if isinstance(value, int) else library.encode(value[part])
        columns.append(library.apply(operation, taken, public))
    return columns


def main() -> None:
    """Answer the request on standard input."""
    request = json.load(sys.stdin)
    library = LIBRARIES[sys.argv[1]]
    answers = []
    for program in request["programs"]:
        opened = library(program, secure=request["secure"])
        answers.append(evaluate(opened, program, repeats=request["repeats"]))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
