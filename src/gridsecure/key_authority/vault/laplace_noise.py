"""Discrete Laplace noise, drawn by OpenDP in the vault's own process.

OpenDP draws exactly, from the operating system's random numbers (`getrandom`); it takes no seed, so
no run can be repeated. What a question costs is asked of the mechanism itself before anything is
drawn. Budgets are this house's own (`noise_budgets`): OpenDP's compositors live in memory, and its
filters are spent for everybody by one request that is too large.

The library takes half a second to load: a vault loads it at the first question that asks for noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_laplace
from opendp.metrics import l1_distance
from opendp.mod import Measurement, enable_features, serialize

from gridsecure.errors import GridSecureError
from gridsecure.plans.noise import (
    MILLION,
    NoiseStatement,
    half_width,
    laplace_scale,
    spell_epsilon,
)

# What "contrib" asks of whoever enables it is that proofs are read; make_laplace has its own.
enable_features("contrib")
_WIDE = "i64"
"""OpenDP's `int` has 32 bits, which three billion Wh do not fit."""


def add_noise(
    totals: Sequence[int], *, sensitivity: int, epsilon: int
) -> tuple[list[int], NoiseStatement]:
    """Totals with noise, and what was added.

    Args:
        totals: All that is told of one question [Wh].
        sensitivity: The most that one customer may change them by, all together [Wh].
        epsilon: What they may cost, in millionths.

    Raises:
        InputError: As `laplace_scale`.
        GridSecureError: The mechanism says that it costs more (`vault.noise`); nothing is drawn.
    """
    scale = laplace_scale(sensitivity, epsilon)
    measurement = _laplace(scale)
    if Fraction(measurement.map(sensitivity)) > Fraction(epsilon, MILLION):
        raise GridSecureError(
            "The noise's mechanism costs more than was asked for.", reason="vault.noise"
        )
    statement = NoiseStatement(
        epsilon=spell_epsilon(epsilon),
        sensitivity=sensitivity,
        scale=scale,
        accuracy=half_width([scale]),
        mechanism=serialize(measurement),
    )
    return list(measurement(list(totals))), statement


def _laplace(scale: int) -> Measurement:
    domain = vector_domain(atom_domain(T=_WIDE))
    return make_laplace(domain, l1_distance(T=_WIDE), scale=float(scale))
