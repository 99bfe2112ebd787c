"""What organisations of this machine bring to a data market, from their records to an offer.

Every document is signed with the key of the person whom it names, as it would be on that person's
machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from gridsecure.billing.contracts import load_contracts
from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.organisations import MarketPerson, OrganisationRecord
from gridsecure.circulation.products import ProductDesign, ProductStep, Recipe
from gridsecure.circulation.rights import DatasetRecord, RightGrant
from gridsecure.circulation.trade import Offer
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.online import utc_now
from gridsecure.cli.services_client import ServicesClient
from gridsecure.messages import Digest, Message, sign_message
from gridsecure.plans.cells import MEASURES
from gridsecure.plans.purposes import RESEARCH

OFFICE: Final = "registration-office"
YEAR: Final = timedelta(days=365)
_DECADES: Final = timedelta(days=365 * 30)

Organisations = Mapping[str, tuple[str, str, list[Any], tuple[str, ...]]]
"""By name: titles, roles, and the users of the run who sign for it."""
Titles = tuple[str, str]
"""In English and Chinese."""


@dataclass(slots=True)
class MarketStand:
    """What a run's people bring to its market.

    Args:
        client: Calls the market as each of them: `utility` supplies, `reviewer` reviews,
            `exchange` operates.
    """

    client: ServicesClient
    organisations: Organisations
    sent: int = field(default=0)

    def enter_organisations(self) -> None:
        """Have the registration office enter all of them.

        Raises:
            GridSecureError: The market refused; likewise the others.
        """
        keys = self.client.home.people
        for name, (title, title_zh, roles, people) in self.organisations.items():
            record = OrganisationRecord(
                **self.by(REGISTRAR),
                name=name,
                number=1,
                title=title,
                title_zh=title_zh,
                roles=roles,
                people=[
                    MarketPerson(person=one, public_key=keys[one].public_key.point.hex())
                    for one in people
                ],
            )
            self.send(record, REGISTRAR)

    def hold(
        self,
        dataset: str,
        titles: Titles,
        *,
        zones: list[str],
        rights: Iterable[tuple[str, Any]],
    ) -> None:
        """Record a dataset of the utility's, which the office confirms, and grant rights to it.

        Args:
            rights: Organisations, and what each may besides.
        """
        record = DatasetRecord(
            **self.by("utility"),
            dataset=dataset,
            title=titles[0],
            title_zh=titles[1],
            measures=list(MEASURES),
            zones=zones,
            licence="by agreement",
            retained_until=after(_DECADES),
        )
        self.send(record, "utility")
        holder = record.organisation
        for grantee, right in ((holder, "hold"), *rights):
            signer = REGISTRAR if right == "hold" else "utility"
            grant = RightGrant(
                **self.by(signer),
                right=right,
                dataset=dataset,
                grantee=grantee,
                scope="everything",
                expires_at=after(YEAR),
            )
            self.send(grant, signer)

    def offer(
        self, dataset: str, product: str, titles: Titles, *, recipe: Recipe, price_fen: int
    ) -> Digest:
        """Bring a product of the workshop from its design to an offer; the offer."""
        design = ProductDesign(
            **self.by("utility"),
            product=product,
            version=1,
            title=titles[0],
            title_zh=titles[1],
            datasets=[dataset],
            measures=["energy_wh"],
            purpose=RESEARCH,
            recipe=recipe,
            reviewer=self.by("reviewer")["organisation"],
        )
        last = first = self.send(design, "utility")
        for person, step in (("reviewer", "review"), ("exchange", "publish")):
            said = {**self.by(person), "step": step, "design": first, "previous": last}
            last = self.send(ProductStep(**said), person)
        offer = Offer(
            **self.by("exchange"),
            product=product,
            version=1,
            design=first,
            price_fen=price_fen,
            valid_until=after(YEAR),
        )
        return self.send(offer, "exchange")

    def send(self, message: Message, signer: str) -> Digest:
        """Sign a document and bring it to the market; its digest."""
        home = self.client.home
        key = home.keys[OFFICE] if signer == REGISTRAR else home.people[signer]
        envelope = sign_message(message, key=key)
        sender = "operator" if signer == REGISTRAR else signer
        self.client.call(sender, "market", "POST", "/documents", json=envelope.model_dump())
        self.sent += 1
        return envelope.digest

    def by(self, person: str) -> dict[str, Any]:
        """What a document says of its signer."""
        names = {one: name for name, (*_, people) in self.organisations.items() for one in people}
        return {
            "organisation": names.get(person, REGISTRAR),
            "person": person,
            "signed_at": utc_now().isoformat(),
        }


def after(time: timedelta) -> str:
    """A moment to come."""
    return (utc_now() + time).isoformat()


def read_zones(files: MeterFiles) -> list[str]:
    """The zones of some meter points."""
    return sorted({str(zone) for zone in load_contracts(files.contracts)["zone"]})
