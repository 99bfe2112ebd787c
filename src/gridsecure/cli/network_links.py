"""Direct links of a mesh: what cities agree on, and how each joins both cities' numbers.

Each city has a hub and a data market of its own. A link is an agreement at the market of the city
that supplies: both cities sign it, and it has the one policy in it that is as strict as each of
theirs. The supplier's vault decrypts nothing for a neighbour without it. What crosses is the
certificate of a total; ciphertexts, keys and rosters stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from gridsecure.analyst.desk import answer_published, verify_releases
from gridsecure.analyst.published_answers import Published
from gridsecure.analyst.releases import pin_authority
from gridsecure.circulation.products import Recipe
from gridsecure.circulation.recipes import plan_digest
from gridsecure.circulation.trade import Agreement, OfferRequest
from gridsecure.cli.home import APPROVERS, Home
from gridsecure.cli.market_files import name_release
from gridsecure.cli.market_stand import MarketStand, Organisations, after, read_zones
from gridsecure.cli.meters import MeterFiles
from gridsecure.cli.online import utc_now
from gridsecure.cli.services_client import ServicesClient
from gridsecure.errors import GridSecureError
from gridsecure.messages import Digest, PlanName, ReleaseCertificate
from gridsecure.policy.language import Policy, parse_policy
from gridsecure.policy.packs import UNIFORM, load_pack
from gridsecure.policy.signed_policies import SignedPolicy, sign_policy
from gridsecure.policy.strictest import find_strictest
from gridsecure.queries.language import Question
from gridsecure.released_values import SignedCertificate

BUYER: Final = "firm-analyst"
"""The user of a city's services who is the neighbour's, and signs for it at the market."""
_PLAN: Final[PlanName] = "load-curve"
_DAYS: Final = timedelta(days=30)
_CHINESE: Final = {"south": "南城", "north": "北城"}
_LEAST: Final = {"south": 15, "north": 20}
"""Of how many customers each city tells a number."""


def own_policy(city: str) -> Policy:
    """On which terms a city supplies its columns: research is told under agreements alone."""
    text = load_pack(UNIFORM).text
    for before, after_it in (
        ('name = "uniform-15"', f'name = "{city}"'),
        ("minimum = 15", f"minimum = {_LEAST[city]}"),
        ("\n[grades]", 'agreement = ["research"]\n\n[grades]'),
    ):
        text = text.replace(before, after_it, 1)
    return parse_policy(text)


def write_policies(home: Home, city: str, cities: Iterable[str]) -> tuple[Path, Path]:
    """The policy that a city puts in force, as its officers sign it, and the one it supplies under.

    The first is as strict as each city's own.
    """
    document = SignedPolicy(text=find_strictest(map(own_policy, cities)).text)
    for role in APPROVERS:
        document = sign_policy(
            document, person=role, role=role, key=home.people[role], now=utc_now()
        )
    signed, own = home.folder / "policy.json", home.folder / "policy.toml"
    signed.write_text(document.model_dump_json(), encoding="utf-8")
    own.write_text(own_policy(city).text, encoding="utf-8")
    for path in (signed, own):
        path.chmod(0o644)  # every service of the city reads it, as whichever user
    return signed, own


@dataclass(frozen=True, slots=True)
class Link:
    """What a city supplies to a neighbour.

    Args:
        client: Calls the supplier's services, as its people and the neighbour's.
        files: The meter points that the supplier holds data of.
    """

    supplier: str
    neighbour: str
    client: ServicesClient
    files: MeterFiles

    def agree(self) -> Digest:
        """Offer the totals at the supplier's market, and have both cities sign; the agreement.

        Raises:
            GridSecureError: The market refused.
        """
        titles = {city: (city.title(), _CHINESE[city]) for city in (self.supplier, self.neighbour)}
        sells, signs = ["supplier", "processor", "operator"], ("utility", "reviewer", "exchange")
        organisations: Organisations = {
            self.supplier: (*titles[self.supplier], sells, signs),
            self.neighbour: (*titles[self.neighbour], ["consumer"], (BUYER,)),
        }
        stand = MarketStand(self.client, organisations)
        stand.enter_organisations()
        dataset, rights = f"month-of-{self.supplier}", ("process", "operate")
        stand.hold(
            dataset,
            (f"Energy of {self.supplier}", f"{_CHINESE[self.supplier]}用电量"),
            zones=read_zones(self.files),
            rights=[(self.supplier, right) for right in rights],
        )
        offer = stand.offer(
            dataset,
            "energy-of-homes",
            ("Energy of homes", "居民用电量"),
            recipe=Recipe(recipe="plan", name=_PLAN, digest=plan_digest(_PLAN)),
            price_fen=0,
        )
        asked = OfferRequest(
            **stand.by(BUYER),
            offer=offer,
            uses=1,
            begins_at=utc_now().isoformat(),
            ends_at=after(_DAYS),
        )
        request = stand.send(asked, BUYER)
        body = {"offer": offer, "request": request}
        told = self.client.call(BUYER, "market", "POST", "/agreement-drafts", json=body)
        text = Agreement.parse(told["text"])
        stand.send(text, "exchange")
        return stand.send(text, BUYER)

    def name(self, agreement: Digest, release: str) -> None:
        """Have the neighbour name the agreement for what it asked to be released.

        Raises:
            GridSecureError: As `name_release`.
        """
        name_release(
            partial(self.client.call, BUYER),
            agreement,
            release=release,
            key=self.client.home.people[BUYER],
            now=utc_now(),
        )


def join_totals(
    question: Question,
    certificates: Mapping[str, bytes],
    *,
    homes: Mapping[str, Home],
    agreements: Mapping[str, Digest],
) -> Decimal:
    """What a city has of its own certificate and its neighbour's [kWh].

    Args:
        certificates: By the city whose vault decrypted it; likewise the others.

    Raises:
        GridSecureError: A certificate does not verify, was not released under the agreement of its
            city (`network.agreement`), or tells too little.
    """
    authorities = [pin_authority(home.point("authority")) for home in homes.values()]
    for city, content in certificates.items():
        said = ReleaseCertificate.parse(SignedCertificate.parse(content).body)
        if said.agreement != agreements[city]:
            raise GridSecureError(
                f"What {city} told is not under the agreement with it.",
                reason="network.agreement",
                remedy="Name the agreement for the release, and ask again.",
            )
    published = verify_releases(certificates.values(), authorities=authorities)
    return read_total(question, published)


def read_total(question: Question, published: Sequence[Published]) -> Decimal:
    """The one number of a question's answer [kWh].

    Raises:
        GridSecureError: It was withheld (`network.withheld`), or as `answer_published`.
    """
    (row,) = answer_published(question, published).frame.to_dict("records")
    if row["value"] is None:
        raise GridSecureError(
            "The total was withheld.",
            reason="network.withheld",
            remedy="Take more meter points: each owner's others have to be enough customers.",
        )
    return Decimal(row["value"])


def read_own(client: ServicesClient, release: str) -> bytes:
    """A certificate with its values, as readers of its city's hub have it."""
    told = client.call("billing", "authority", "GET", f"/releases/{release}")
    return json.dumps(told).encode()
