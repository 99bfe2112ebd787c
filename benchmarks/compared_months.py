"""What a rule that compares months with each other would leave of a city's totals.

`python -m benchmarks.compared_months` prints the tables of docs/adr/0094: a cell is told of a month
only if, against the last month that it was told of, 15 customers or nobody left it. In a month each
home moves with the same chance, and somebody moves in after it, so as many joined as left.
Simulated from a fixed seed; nothing is encrypted.
"""

from __future__ import annotations

from typing import Final

import numpy as np

FEWEST: Final = 15
MONTHS: Final = 36
CELLS: Final = 300
LARGEST: Final = 4_000
MOVES: Final = (0.0025, 0.005, 0.01, 0.02)
"""Share of homes that move in a month."""
SIZES: Final = (15, 30, 60, 250, 1_000, 4_000)
SPREADS: Final = (0.1, 0.2, 0.3)
"""By how much of a month each of the others differs from one month to the next, by itself."""
_REPEATS: Final = 400
_SEED: Final = 7


def share_told(
    random: np.random.Generator, homes: int, *, moves: float, cells: int, months: int = MONTHS
) -> float:
    """The share of cell-months that the rule lets tell, of cells of as many homes.

    Args:
        moves: Chance that a home moves in a month.
    """
    told = 0
    left = np.zeros(cells, dtype=np.int64)  # since the last month that was told
    for _ in range(months):
        left += random.binomial(homes - left, moves)
        is_told = (left == 0) | (left >= FEWEST)
        told += int(is_told.sum())
        left[is_told] = 0
    return told / (cells * months)


def city_shares(random: np.random.Generator, *, moves: float) -> tuple[float, float]:
    """The shares of cell-months and of homes' months that are told, of a city's cells.

    Sizes are even on a logarithmic scale, from the fewest that are told of to the largest.
    """
    sizes = np.exp(random.uniform(np.log(FEWEST), np.log(LARGEST), CELLS)).astype(np.int64)
    shares = [share_told(random, int(homes), moves=moves, cells=6) for homes in sizes]
    return float(np.mean(shares)), float(np.average(shares, weights=sizes))


def error_of_guess(homes: int, *, spread: float) -> float:
    """How far the difference of two months is off one home's month, in homes' months."""
    return float(spread * np.sqrt(homes - 1))


def main() -> None:
    """Print both tables."""
    random = np.random.default_rng(_SEED)
    for moves in MOVES:
        city = city_shares(random, moves=moves)
        cells = (share_told(random, n, moves=moves, cells=_REPEATS) for n in SIZES)
        print(f"| {100 * moves:.3g} % | " + " | ".join(f"{s:.0%}" for s in (*city, *cells)) + " |")
    for spread in SPREADS:
        errors = (error_of_guess(n, spread=spread) for n in (15, 30, 100, 500))
        print(f"| {spread:.0%} | " + " | ".join(f"{error:.1f}" for error in errors) + " |")


if __name__ == "__main__":
    main()
