"""Whose an address is: the own machine's, where nobody between can read along, or a stranger's."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

_OWN_NETWORK: Final = 64
"""Bits of an IPv6 address that are one household's or machine's."""


def is_loopback(host: str) -> bool:
    """Say whether a name or address is the own machine's; any other name may be anybody's."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def source_of(address: str) -> str:
    """Whose an address is, as far as can be told: of IPv6 the network, of which one has many."""
    try:
        found = ip_address(address)
    except ValueError:  # a test's client, or a socket without an address
        return address or "nowhere"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None and not found.is_loopback:
        return str(ip_network((found, _OWN_NETWORK), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
