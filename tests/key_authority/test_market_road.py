"""The whole road: from sealed readings to an index that is agreed, paid, registered and verified.

The readings are encrypted, computed on as ciphertexts, approved by two officers and released by a
real checker and vault. The market is a service of its own, asked over HTTP by people of a grid
company, a workshop, an exchange, a bank, and a regulator.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from gridsecure.analyst import desk
from gridsecure.analyst.certificates import verify_certificate
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.circulation.documents import REGISTRAR
from gridsecure.circulation.kinds import KINDS
from gridsecure.circulation.uses import MeteredUse, SettlementStatement
from gridsecure.key_authority.checker.answering import find_certificate
from gridsecure.messages import Signed, open_message
from gridsecure.released_values import SignedCertificate
from gridsecure.store.database import read_session
from gridsecure.store.log_tree import verify_log
from gridsecure_api.market import create_market_app
from tests.apps.zone_apps import TestClock, point
from tests.authority_simulator import SEED, Authority
from tests.grid_simulator import NOW, GridSimulator
from tests.market import market_world as world
from tests.market.market_world import Market

DAY = "2026-07-01"
MONTH = f"{NOW:%Y-%m}"


@pytest.fixture
def market(authority: Authority, tmp_path: Path) -> Iterator[Market]:
    """A market that knows the key authority of the grid."""
    pinned = {"authority_public_key": point(authority.grid.authority_key)}
    settings = world.market_settings(tmp_path / "market").model_copy(update=pinned)
    clock = TestClock()
    app = create_market_app(settings, clock=clock)
    with TestClient(app) as client:
        yield Market(app, client, clock)


def plain_load_factor(grid: GridSimulator) -> Decimal:
    """Mean over peak of the homes of futian on the day, from the readings in the clear."""
    homes = grid.contracts[
        (grid.contracts["customer_class"] == "household") & (grid.contracts["zone"] == "futian")
    ]
    readings = grid.readings
    of_homes = readings[readings["meter_point_id"].isin(homes["meter_point_id"])]
    local = of_homes["start"].dt.tz_convert("Asia/Shanghai")
    hours = of_homes[local.dt.strftime("%Y-%m-%d") == DAY].groupby("start")["energy_wh"].sum()
    assert len(hours) == 24
    factor = Fraction(int(hours.sum()), 24 * int(hours.max()))
    exact = Decimal(factor.numerator) / factor.denominator
    return exact.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)


def released(authority: Authority) -> SignedCertificate:
    """The certificate of the day's load curve, as somebody of the bank asked for it."""
    transcript = authority.load_curve_transcript(authority.grid.uploads)
    request = authority.request([transcript], seeds=[SEED], requested_by="bank-1")
    outcome = authority.answer(request)
    assert outcome.state == "released", outcome
    return find_certificate(authority.zone, outcome.request_id)


def test_from_sealed_readings_to_a_paid_registered_and_verified_index(
    authority: Authority, market: Market
) -> None:
    # 1. rights, a product that two persons made, an agreement that both sides signed
    market.enter()
    made, agreement = market.publish(), market.agree()
    # 2. the readings' totals, released by checker and vault
    issue = released(authority)
    pinned = PinnedAuthority(authority.grid.authority_key.public_key)
    # 3. the bank verifies the certificate by itself, and its index is that of the readings
    published = desk.verify_releases([issue.model_dump_json().encode()], authorities=[pinned])
    asked = desk.build_question(
        "energy", DAY, every="interval", statistic="load_factor",
        where={"zone": ["futian"], "customer_class": ["household"]},
    )  # fmt: skip
    answered = desk.answer_published(asked, published).frame.set_index("quantity")
    index = answered.loc["load factor"]
    assert (index["state"], index["value"]) == ("told", plain_load_factor(authority.grid))
    # 4. it is metered, once, and nobody else's certificate is
    bare = Signed(**issue.model_dump(exclude={"values"}))
    use = MeteredUse(**world.by("bank-1"), agreement=agreement, certificate=bare)
    market.take("use", world.sign("bank-1", use))
    assert market.refusal(world.use(agreement)) == "authenticity.refused"
    # 5. the month is paid to the fen
    market.clock.advance(days=31)
    (told,) = market.settle(MONTH).json()["signed"]
    key = market.app.state.market.zone.signing_key.public_key
    statement = open_message(
        Signed(**told), expect=SettlementStatement, trusted={key.thumbprint: key}
    )
    assert (statement.total_fen, statement.consumer) == (world.PRICE, "bank")
    release = published[0].release
    assert [line.release_id for line in statement.lines] == [release.release_id]
    # 6. the product becomes an asset
    last = market.digests["publish"]
    registered = world.step(REGISTRAR, "register", of=made, after=last, evidence=issue.digest)
    market.take("register", registered)
    assert market.state("design", "rival-1") == "registered"
    _look_as_regulator(market, authority, issue)


def _look_as_regulator(market: Market, authority: Authority, issue: SignedCertificate) -> None:
    """Who supervises sees every document and figure of use, and no value beyond a release."""
    seen = {
        kind: market.client.get(
            f"/documents?kind={kind}&side=everybody", headers=market.headers("bureau-1")
        ).json()
        for kind in KINDS
    }
    of_all = {one["digest"] for rows in seen.values() for one in rows}
    assert set(market.digests.values()) <= of_all
    use = market.get(f"/documents/{market.digests['use']}", "bureau-1").text
    told = [cell for cell in authority.certificates[0].cells if cell.value is not None]
    assert told
    assert issue.values is not None
    assert issue.values.salt not in use
    assert not any(f'"{cell.value}"' in use for cell in told)
    used = market.get(f"/usage?month={MONTH}", "bureau-1").json()["used"]
    assert {"party": "bank", "measure": "fen", "amount": world.PRICE} in used
    # The same certificate, without its values, is proved to be in the key authority's log.
    content = issue.without_values().model_dump_json(exclude_none=True).encode()
    pinned = PinnedAuthority(authority.grid.authority_key.public_key)
    assert not verify_certificate(content, authority=pinned).has_values
    with read_session(market.app.state.market.zone.engine) as session:
        assert verify_log(session) >= len(market.digests)


def test_no_party_of_the_market_holds_a_reading(authority: Authority, market: Market) -> None:
    """What the market keeps names no meter point, pseudonym or energy of one."""
    market.enter()
    market.publish()
    agreement = market.agree()
    bare = Signed(**released(authority).model_dump(exclude={"values"}))
    use = MeteredUse(**world.by("bank-1"), agreement=agreement, certificate=bare)
    market.take("use", world.sign("bank-1", use))
    kept = (Path(market.app.state.market.zone.engine.url.database).parent).rglob("*")
    content = b"".join(path.read_bytes() for path in kept if path.is_file())
    assert market.digests["use"].encode() in content
    grid = authority.grid
    for name, pseudonym in grid.pseudonyms.items():
        assert name.encode() not in content
        assert pseudonym.encode() not in content
