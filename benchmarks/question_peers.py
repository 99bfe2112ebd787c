"""Questions by the peers: the same totals and moments by OpenFHE, and noise by OpenDP, as ratios.

OpenFHE is asked as it answers best, at 128 bits of security: a day of one roster is blinded
interval by interval and decrypted, as ours is; the month's Wh are squared in one column, under two
plain moduli of 66 bits together, so that no sum of squares wraps. Its times hold computing and
decrypting, and no stored files, digests, bounds or proofs, all of which ours hold. OpenDP adds up
readings in the clear and draws the same noise as the vault: it hides totals from readers, and
nothing from whoever computes. Polars stays away: no lock of ours has it, and OpenDP's own frames
need it. No question of ours has a histogram with noise, so none is compared. OpenFHE's one column
is not capped, where ours squares digits and caps them. Times are of the processor and of one
thread. All answers are compared with sums in the clear, those with noise within its tail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_laplace
from opendp.metrics import l1_distance, symmetric_distance
from opendp.mod import enable_features
from opendp.transformations import make_clamp, make_sum

from benchmarks.figures import Figure
from benchmarks.peer_libraries import OPENFHE, Answer, ask, find_libraries
from benchmarks.recording import Program
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of
from gridsecure.homomorphic.parameters import INTERVAL, TIER
from gridsecure.key_authority.vault.laplace_noise import add_noise
from gridsecure.plans.noise import MILLION, laplace_scale
from gridsecure.plans.query_counts import CAP_WH

_INTERVALS: Final = 48
_HIGH_WH: Final = 65_535
_ORDINARY_WH: Final = 2_000
_GROUPS: Final = 2
_REPEATS: Final = 3
_WIDE_MODULUS: Final = (1 << 61) - 1
"""Wider than OpenFHE takes, so that a program is computed under two moduli."""
_BLIND_BITS: Final = 60
_EPSILON: Final = MILLION // 2
_TAIL: Final = 60
"""Noise of more than 60 scales comes once in 10**26 draws."""
_WIDE: Final = "i64"


def question_peers(ours: Mapping[str, float], *, sizes: BenchSizes) -> list[Figure]:
    """Ratios of peers over our own questions.

    Args:
        ours: Our seconds: `query_roster`, `query_variance`.

    Raises:
        AssertionError: A peer answers something else.
    """
    draw = np.random.default_rng(61)
    slots = sizes.roster_slots
    groups = draw.choice([-1] * 2 * _GROUPS + list(range(_GROUPS)), slots)
    energy = draw.integers(0, _ORDINARY_WH, (_INTERVALS, slots))
    figures = [_noisy_totals(energy, groups, ours["query_roster"], sizes)]
    if OPENFHE in find_libraries():
        figures += [
            _totals(energy, groups, ours["query_roster"], sizes),
            _variance(draw.integers(0, CAP_WH, slots), groups, ours["query_variance"], sizes),
        ]
    return figures


def _totals(energy: NDArray[Any], groups: NDArray[Any], ours: float, sizes: BenchSizes) -> Figure:
    """Totals of hidden groups at each interval of a day."""
    program = Program(INTERVAL, energy.shape[1], other_modulus=TIER.plain_modulus)
    blinding = np.random.default_rng(62).integers(0, TIER.plain_modulus, energy.shape)
    columns = [program.encrypt(row) for row in energy]
    for number, (column, blind) in enumerate(zip(columns, blinding, strict=True)):
        program.outputs[str(number)] = column.blind(blind.astype(np.uint64)).number
    answer = _ask(program, sizes)
    told = np.array([answer.outputs[str(number)] for number in range(_INTERVALS)])
    found = (told.astype(np.int64) - blinding) % TIER.plain_modulus
    compare_totals(_grouped(found, groups), _grouped(energy, groups))
    return _ratio(
        "query_roster_openfhe", "totals of a hidden segment over one roster", answer, ours
    )


def _variance(energy: NDArray[Any], groups: NDArray[Any], ours: float, sizes: BenchSizes) -> Figure:
    """Sums and sums of squares of hidden groups."""
    program = Program(TIER, len(energy), other_modulus=_WIDE_MODULUS)
    column = program.encrypt(energy)
    blinding = np.random.default_rng(63).integers(0, 1 << _BLIND_BITS, (2, len(energy)))
    moments = (column, column.times(column).relinearise())
    for name, one, blind in zip(("sum", "squares"), moments, blinding, strict=True):
        program.outputs[name] = one.blind(blind.astype(np.uint64)).number
    answer = _ask(program, sizes)
    told = np.array([answer.outputs["sum"], answer.outputs["squares"]]).astype(np.int64)
    found = (told - blinding) % _WIDE_MODULUS
    compare_totals(_grouped(found, groups), _grouped(np.array([energy, energy**2]), groups))
    return _ratio(
        "query_variance_openfhe", "variance of a month's Wh over one roster", answer, ours
    )


def _ask(program: Program, sizes: BenchSizes) -> Answer:
    library = find_libraries()[OPENFHE]
    return ask(library, [program], secure=True, repeats=min(sizes.repeats, _REPEATS))[0]


def _ratio(name: str, title: str, answer: Answer, ours: float) -> Figure:
    theirs = answer.run + answer.decrypt
    return Figure(
        name,
        f"{title}: {OPENFHE} over ours",
        "×",
        theirs / ours,
        note=f"{find_libraries()[OPENFHE].describe()}, ring {answer.ring_degree:,}; theirs"
        f" {theirs * 1e3:.1f} ms without files, digests, bounds and proofs (of these"
        f" {answer.decrypt * 1e3:.1f} decrypting), ours {ours * 1e3:.1f} ms with them",
    )


def _noisy_totals(
    energy: NDArray[Any], groups: NDArray[Any], ours: float, sizes: BenchSizes
) -> Figure:
    """The same totals with noise; ours are the encrypted question's and the vault's draws."""
    sensitivity = _HIGH_WH * _INTERVALS
    scale = laplace_scale(sensitivity, _EPSILON)
    exact = _grouped(energy, groups)
    parts = [
        [int(value) for value in row[groups == group]] for row in energy for group in range(_GROUPS)
    ]
    whole = [int(total) for total in exact.ravel()]
    in_clear, told = _timed(lambda: _add_in_clear(parts, scale=scale), sizes)
    drawing, own = _timed(
        lambda: add_noise(whole, sensitivity=sensitivity, epsilon=_EPSILON)[0], sizes
    )
    for answer in (told, own):
        if np.abs(np.array(answer) - exact.ravel().astype(np.int64)).max() > _TAIL * scale:
            raise AssertionError("totals with noise are too far from the exact ones")
    return Figure(
        "query_noise_opendp",
        "totals with noise of a segment over one roster: OpenDP in the clear over ours",
        "×",
        in_clear / (ours + drawing),
        note=f"opendp {version('opendp')}; theirs {in_clear * 1e3:.1f} ms, which bound and add up"
        f" readings in the clear; ours {(ours + drawing) * 1e3:.1f} ms on ciphertext, of these"
        f" {drawing * 1e3:.2f} to draw the noise",
    )


def _add_in_clear(parts: list[list[int]], *, scale: int) -> list[int]:
    """Bounded sums of lists, each with a draw of noise."""
    enable_features("contrib")
    clamp = make_clamp(
        vector_domain(atom_domain(T=_WIDE)), symmetric_distance(), bounds=(0, _HIGH_WH)
    )
    total = clamp >> make_sum(clamp.output_domain, clamp.output_metric)
    noise = make_laplace(
        vector_domain(atom_domain(T=_WIDE)), l1_distance(T=_WIDE), scale=float(scale)
    )
    told: list[int] = noise([total(part) for part in parts])
    return told


def _timed(operation: Callable[[], Any], sizes: BenchSizes) -> tuple[float, Any]:
    return best_of(operation, sizes=sizes, clock=time.process_time)


def _grouped(values: NDArray[Any], groups: NDArray[Any]) -> NDArray[Any]:
    """Exact sums by row and group."""
    return np.array(
        [values[:, groups == group].astype(object).sum(axis=1) for group in range(_GROUPS)]
    ).T


def compare_totals(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Refuse what is not the sum in the clear.

    Raises:
        AssertionError: It is something else.
    """
    if found.tolist() != expected.tolist():
        raise AssertionError(f"{OPENFHE} tells other totals")
