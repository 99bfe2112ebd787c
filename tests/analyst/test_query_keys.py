"""The authority's query keys, pinned by the wallet that asks with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from gridsecure.analyst.query_keys import take_query_keys
from gridsecure.analyst.wallets import make_wallet, open_wallet
from gridsecure.credentials.pinning import check_statements
from gridsecure.credentials.returned_grants import public_return_key
from gridsecure.credentials.sealed_questions import QueryKeys
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import AuthenticityError
from tests.attacks import Attacked, attack, cut, rule
from tests.identity.identity_world import keys, suite

SEAL = generate_private_key().public_key
PUBLISHED = QueryKeys(SEAL, public_return_key(2, suite=suite()))
MARKED = QueryKeys(SEAL, public_return_key(3, suite=suite()))


@dataclass
class Serving:
    """An authority that signs more than one notice."""

    shown: QueryKeys = field(default=PUBLISHED)

    def query_keys(self) -> QueryKeys:
        return self.shown


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "wallet.json"
    with open_wallet(path, suite=suite()) as file:
        file.keep(
            make_wallet(check_statements(keys().statements, signers=keys().signers), suite=suite())
        )
    return path


@attack(
    "a query key of its own for one analyst",
    rule(
        "A wallet takes no other query key than it took first.",
        "query.key",
        cut("gridsecure.analyst.query_keys:take_query_keys", "wanted != keys.thumbprint", "False"),
    ),
)
def test_another_key_than_the_first_is_refused(path, attacked: Attacked):
    authority = Serving()
    with open_wallet(path, suite=suite()) as file:
        assert take_query_keys(file, authority) == PUBLISHED
    authority.shown = MARKED
    with open_wallet(path, suite=suite()) as file:
        attacked.tries(lambda: take_query_keys(file, authority))


def test_whoever_compared_thumbprints_takes_a_renewed_key_and_no_other(path):
    authority = Serving()
    with open_wallet(path, suite=suite()) as file:
        with pytest.raises(AuthenticityError):
            take_query_keys(file, authority, accepted=MARKED.thumbprint)
        take_query_keys(file, authority)
        authority.shown = MARKED
        take_query_keys(file, authority, accepted=MARKED.thumbprint)
    with open_wallet(path, suite=suite()) as file:
        assert take_query_keys(file, authority) == MARKED
        authority.shown = PUBLISHED
        with pytest.raises(AuthenticityError) as refused:
            take_query_keys(file, authority)
    assert PUBLISHED.thumbprint in refused.value.message
