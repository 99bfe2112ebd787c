"""The holders this gateway keeps: the agent of each meter point, and its own.

All their secrets follow from one seed, so a run that was killed asks for nothing new. Folder and
database belong together all the same: back them up and restore them as one. The seed gives back
secrets, but not which sequence numbers were used, which seats and rosters were signed, or whether
the platform has them; that is in the database alone. A gateway restored with an older one signs
numbers and rosters a second time, and the platform refuses them.

Nothing of a secret leaves but what is proved with it: requests, presentations, signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from gridsecure.credentials.access import login_text
from gridsecure.credentials.holder import Holder, derive_secret, publics_in
from gridsecure.credentials.presentations import Domain, PublicKeys
from gridsecure.credentials.suites import Suite, sm2_suite
from gridsecure.crypto.sm2 import Sm2PrivateKey, Sm2PublicKey
from gridsecure.gateway.identity_keys import load_identity_keys
from gridsecure.gateway.zone import GatewayZone

MAX_REMEMBERED = 16_384
"""Agents whose SM2 keys stay parsed; making one anew takes a millisecond and a half."""


class Agent:
    """One holder, as it applies for credentials and acts under its pseudonyms.

    Args:
        identity: For whom, as the utility's books have it: the meter point, or the gateway's
            thumbprint.
        holder: Its secret.
    """

    __slots__ = ("_keys", "_publics", "holder", "identity")

    def __init__(self, identity: str, holder: Holder) -> None:
        self.identity = identity
        self.holder = holder
        self._keys: dict[Domain, Sm2PrivateKey] = {}
        self._publics: dict[Domain, Sm2PublicKey] = {}

    def key_in(self, domain: Domain) -> Sm2PrivateKey:
        """The SM2 key that acts under its pseudonym in a domain, made once."""
        known = self._keys.get(domain)
        if known is None:
            known = self._keys.setdefault(domain, self.holder.key_in(domain))
        return known

    def public_in(self, domain: Domain) -> Sm2PublicKey:
        """The public half of that key, made once."""
        known = self._publics.get(domain)
        if known is None:
            known = self._publics.setdefault(domain, self.holder.public_in(domain))
        return known

    def know_public(self, domain: Domain, public: Sm2PublicKey) -> None:
        """Take over the public half of its key in a domain, made elsewhere from its secret."""
        self._publics.setdefault(domain, public)

    def has_public(self, domain: Domain) -> bool:
        """Whether the public half of its key in a domain is made."""
        return domain in self._publics

    def sign_in(self, domain: Domain, *, challenge: bytes) -> bytes:
        """The signature that answers a login challenge."""
        text = login_text(self.holder.name_in(domain), domain=domain, challenge=challenge)
        return self.key_in(domain).sign(text)


def make_publics(agents: Sequence[Agent], domain: Domain) -> list[Sm2PublicKey]:
    """The public keys of agents in a domain; those that are not made yet are made together."""
    new = [agent for agent in agents if not agent.has_public(domain)]
    made = publics_in(domain, [agent.holder for agent in new])
    for agent, public in zip(new, made, strict=True):
        agent.know_public(domain, public)
    return [agent.public_in(domain) for agent in agents]


@dataclass(frozen=True, slots=True)
class Agents:
    """All holders of a gateway.

    Args:
        seed: What their secrets follow from.
        service_id: The gateway's name as a service.
    """

    keys: PublicKeys
    seed: bytes = field(repr=False)
    service_id: str
    suite: Suite = field(default_factory=sm2_suite)
    _agent: Callable[[str, str], Agent] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_agent", lru_cache(MAX_REMEMBERED)(self._make))

    def meter_point(self, meter_point_id: str) -> Agent:
        """The agent of a meter point."""
        return self._agent(f"meter-point/{meter_point_id}", meter_point_id)

    def gateway(self) -> Agent:
        """The gateway's own holder."""
        return self._agent("gateway", self.service_id)

    def prepare(self, *domains: Domain) -> None:
        """Make showing credentials in these domains cheaper, where the backend can."""
        issuer, bases = self.keys.issuer, (domain.base(self.suite) for domain in domains)
        self.suite.group.prepare(issuer.x0, issuer.x1, issuer.x2, self.keys.opening, *bases)

    def _make(self, name: str, identity: str) -> Agent:
        m1 = derive_secret(self.seed, name=name, suite=self.suite)
        return Agent(identity, Holder(self.suite, self.keys, m1))


def agents_of(zone: GatewayZone) -> Agents:
    """The holders of a gateway that has met the identity authority.

    Raises:
        NotFoundError: It has not (`not-found.identity-keys`).
    """
    return Agents(load_identity_keys(zone), zone.seed, zone.service_id)
