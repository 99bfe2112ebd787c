"""Cards of what was billed: short figures, the full ones on hover, and the change beside them."""

from __future__ import annotations

from decimal import Decimal

from gridsecure_dashboard import figures
from gridsecure_dashboard.billed_months import Billed, Change
from gridsecure_dashboard.tables import Tile
from gridsecure_dashboard.wording import large, say, say_of_month, tell


def billed_tiles(billed: Billed, *, change: Change | None = None, than: str = "") -> list[Tile]:
    """Amount, energy, bills and average price.

    Args:
        change: Beside which month.
        than: That month's name.
    """
    amount = figures.decimal(billed.amount_yuan, places=2)
    return [
        Tile(
            say("amount_yuan"),
            large(billed.amount_yuan, places=2),
            tell("full_value", value=amount),
            _beside(change and change.amount, than),
        ),
        energy_tile(billed.energy_kwh, change=_beside(change and change.energy, than)),
        Tile(
            say("bills"),
            large(billed.bills),
            tell("full_value", value=figures.count(billed.bills)),
            _beside(change and change.bills, than),
        ),
        Tile(
            say("average"),
            figures.decimal(billed.average, places=4),
            None,
            _beside(change and change.average, than),
        ),
    ]


def energy_tile(energy_kwh: Decimal, *, change: str | None = None) -> Tile:
    """Energy in the unit that leaves few digits; to the watt-hour on hover."""
    full = f"{figures.decimal(energy_kwh, places=3)} kWh"
    return Tile(say("energy"), figures.energy(energy_kwh), tell("full_value", value=full), change)


def _beside(ratio: Decimal | None, than: str) -> str | None:
    if ratio is None:
        return None
    return f"{figures.change(ratio)} {say_of_month('against', than)}"
