"""What a certificate says of its cells besides their values: which places each is made of.

A place is a zone and customer class. A certificate lists each once, with its meter points and
customers by owner, and its cells refer to it by number. From these counts and the steps of the
policy anybody can merge the cells again. Owners have numbers of the certificate's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from gridsecure.errors import GridSecureError
from gridsecure.key_authority.checker.told_cells import Prepared
from gridsecure.messages import DOMINANCE, CellTotal, CountedPlace, OwnCount, PreviewCell
from gridsecure.plans.cells import Crowd, Place

_CellT = TypeVar("_CellT", CellTotal, PreviewCell)


def name_limits(cells: Iterable[CellTotal], prepared: Prepared) -> list[CellTotal]:
    """The cells, those said so that are withheld for the policy's limit of dominance alone."""
    return [
        cell.model_copy(update={"withheld_by": DOMINANCE})
        if (cell.zone, cell.customer_class) in prepared.limited
        else cell
        for cell in cells
    ]


class CountedPlaces:
    """The places of one certificate, as they come."""

    def __init__(self) -> None:
        self.places: list[CountedPlace] = []
        self._numbers: dict[str, int] = {}
        self._owners: dict[str, int] = {}

    def refer(self, cells: Iterable[_CellT], prepared: Prepared) -> list[_CellT]:
        """The cells of a part of a request, with the places that each is made of.

        Raises:
            GridSecureError: A cell that was not ordered (`vault.cells`).
        """
        parts = {
            cell: [self._number(place, prepared.counted[place]) for place in own]
            for cell, own in prepared.merged.parts().items()
        }
        try:
            return [
                cell.model_copy(update={"parts": parts[cell.zone, cell.customer_class]})
                for cell in cells
            ]
        except KeyError as error:
            raise GridSecureError(
                "The vault answered with a cell that the checker did not order.",
                reason="vault.cells",
                remedy="Run the same release of the software as checker and vault.",
            ) from error

    def _number(self, place: Place, crowd: Crowd) -> int:
        """The number of a place with these counts; one of other counts is another one."""
        owners = sorted(crowd.by_owner().items())
        counts = [
            OwnCount(
                owner=self._owners.setdefault(owner, len(self._owners) + 1),
                points=points,
                customers=customers,
            )
            for owner, (points, customers) in owners
        ]
        counted = CountedPlace(zone=place[0], customer_class=place[1], counts=counts)
        text = counted.model_dump_json()
        if text not in self._numbers:
            self._numbers[text] = len(self.places)
            self.places.append(counted)
        return self._numbers[text]
