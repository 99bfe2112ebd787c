"""The data market of a served run: a few organisations, and a small example that stands in it.

The utility supplies and designs, with two people, of whom one reviews what the other designed; the
exchange operates; the firm consumes; the bureau supervises. Every document is signed with the key
of the person whom it names, as it would be on that person's machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from gridsecure.billing.contracts import load_contracts
from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.entries import CatalogueEntry
from gridsecure.circulation.organisations import MarketPerson, OrganisationRecord
from gridsecure.circulation.products import ProductDesign, ProductStep
from gridsecure.circulation.recipes import file_recipe
from gridsecure.circulation.rights import DatasetRecord, RightGrant
from gridsecure.circulation.trade import Need, Offer
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.online import utc_now
from gridsecure.cli.services_client import ServicesClient
from gridsecure.messages import Message, Signed, sign_message
from gridsecure.plans.cells import MEASURES
from gridsecure.products.designs import standard_text

OFFICE: Final = "registration-office"
DATASET: Final = "month-of-the-city"
PRODUCT: Final = "recovery-index"
ORGANISATIONS: Final[dict[str, tuple[str, str, list[Any], tuple[str, ...]]]] = {
    "grid": ("Demonstration utility", "示范供电局", ["supplier", "processor"],
             ("utility", "reviewer")),
    "data-exchange": ("Demonstration data exchange", "示范数据交易所", ["operator"], ("exchange",)),
    "firm": ("Demonstration analyst firm", "示范分析公司", ["consumer"], ("firm-analyst",)),
    "bureau": ("Demonstration regulator", "示范监管局", ["regulator"], ("regulator",)),
}  # fmt: skip
"""By name: titles, roles, and the users of the run who sign for it."""
_YEAR: Final = timedelta(days=365)
_DECADES: Final = timedelta(days=365 * 30)
_PRICE_FEN: Final = 150_000
_BILL: Final = "bill"


def open_market(client: ServicesClient, files: MeterFiles) -> str:
    """Bring the example to a market that is new; what it has.

    Raises:
        GridSecureError: A service refused.
    """
    return _Example(client, files).bring()


@dataclass(slots=True)
class _Example:
    client: ServicesClient
    files: MeterFiles
    sent: int = field(default=0)

    def bring(self) -> str:
        for record in self._organisations():
            self._send(record, REGISTRAR)
        zones = sorted({str(zone) for zone in load_contracts(self.files.contracts)["zone"]})
        self._send(self._dataset(zones), "utility")
        for grantee, right in (("grid", "hold"), ("grid", "process"), ("data-exchange", "operate")):
            signer = REGISTRAR if right == "hold" else "utility"
            self._send(self._grant(right, grantee, signer), signer)
        self._publish()
        self._send(
            Need(
                **self._by("firm-analyst"),
                title="Vacancy of districts, month by month",
                title_zh="各区逐月空置率",
                valid_until=self._after(_YEAR),
            ),
            "firm-analyst",
        )
        for entry in self._entries():
            self._send(entry, "utility")
        return f"{len(ORGANISATIONS)} organisations, {self.sent} documents"

    def _organisations(self) -> Iterator[Message]:
        for name, (title, title_zh, roles, people) in ORGANISATIONS.items():
            keys = self.client.home.people
            yield OrganisationRecord(
                **self._by(REGISTRAR),
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

    def _dataset(self, zones: list[str]) -> Message:
        return DatasetRecord(
            **self._by("utility"),
            dataset=DATASET,
            title="Released totals of the demonstration city",
            title_zh="示范城市已发布合计",
            measures=list(MEASURES),
            zones=zones,
            licence="by agreement",
            retained_until=self._after(_DECADES),
        )

    def _grant(self, right: Any, grantee: str, signer: str) -> Message:
        return RightGrant(
            **self._by(signer),
            right=right,
            dataset=DATASET,
            grantee=grantee,
            scope="everything",
            expires_at=self._after(_YEAR),
        )

    def _publish(self) -> None:
        """A product of the workshop, from its design to an offer."""
        design = self._send(
            ProductDesign(
                **self._by("utility"),
                product=PRODUCT,
                version=1,
                title="Recovery index",
                title_zh="复工电力指数",
                datasets=[DATASET],
                measures=["energy_wh"],
                purpose="research",
                recipe=file_recipe(standard_text(PRODUCT)),
                reviewer="grid",
            ),
            "utility",
        )
        last = design
        for person, step in (("reviewer", "review"), ("exchange", "publish")):
            said = {**self._by(person), "step": step, "design": design, "previous": last}
            last = self._send(ProductStep(**said), person)
        self._send(
            Offer(
                **self._by("exchange"),
                product=PRODUCT,
                version=1,
                design=design,
                price_fen=_PRICE_FEN,
                valid_until=self._after(_YEAR),
            ),
            "exchange",
        )

    def _entries(self) -> Iterator[Message]:
        """The newest release of bills, without its values."""
        listed = self.client.call("billing", "authority", "GET", "/releases")
        found = [one for one in listed if one["plan"] == _BILL]
        if not found:
            return  # nothing was told of so few meters
        newest = max(found, key=lambda one: str(one["released_at"]))
        path = f"/releases/{newest['release_id']}"
        answer = self.client.call("billing", "authority", "GET", path)
        bare = {name: answer[name] for name in Signed.model_fields if name in answer}
        yield CatalogueEntry(
            **self._by("utility"), dataset=DATASET, price_yuan="120", certificate=Signed(**bare)
        )

    def _send(self, message: Message, signer: str) -> str:
        home = self.client.home
        key = home.keys[OFFICE] if signer == REGISTRAR else home.people[signer]
        envelope = sign_message(message, key=key)
        sender = "operator" if signer == REGISTRAR else signer
        self.client.call(sender, "market", "POST", "/documents", json=envelope.model_dump())
        self.sent += 1
        return envelope.digest

    def _by(self, person: str) -> dict[str, Any]:
        """What a document says of its signer."""
        names = {one: name for name, (*_, people) in ORGANISATIONS.items() for one in people}
        return {
            "organisation": names.get(person, REGISTRAR),
            "person": person,
            "signed_at": utc_now().isoformat(),
        }

    def _after(self, time: timedelta) -> str:
        return (utc_now() + time).isoformat()
