"""A sealed question from its sealing to its answer, and a trial of one, of a day of meter points.

All parties are the product's own, in one process and without a network, and have answered another
question before. What an analyst does is timed as well: seal the question, open the answer, verify
it and compute the statistic. Beside it, the same question in plain pandas on the readings in the
clear.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Final

import pandas as pd

from benchmarks.figures import Figure
from benchmarks.sizes import BenchSizes
from benchmarks.timing import best_of, time_call
from gridsecure.analyst.queries import Grant
from gridsecure.analyst.releases import PinnedAuthority
from gridsecure.analyst.sealed_asking import open_answer, read_answer
from gridsecure.cli.local_months import answer_approved
from gridsecure.cli.local_parties import LocalParties
from gridsecure.cli.online import utc_now
from gridsecure.compute.queries import admit_query
from gridsecure.compute.requests import list_waiting_requests, record_answer
from gridsecure.compute.sealed_queries import find_queried, keep_query
from gridsecure.credentials.access import GRANT_ROLE, ISSUER, query_subject, trial_subject
from gridsecure.credentials.queries import RESULT_PURPOSE, Query, sealed_query
from gridsecure.credentials.sealed_questions import seal_question, write_question
from gridsecure.crypto.envelope import open_from
from gridsecure.crypto.padding import unpad
from gridsecure.crypto.sm2 import Sm2PrivateKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.crypto.tokens import TokenClaims, issue_token
from gridsecure.key_authority.checker.answering import RELEASED
from gridsecure.key_authority.checker.grants import seal_result
from gridsecure.key_authority.checker.query_trials import TrialMemory, try_question
from gridsecure.messages import QueriedUploads, ReleaseRequest, Signed, open_message
from gridsecure.periods import BillingPeriod
from gridsecure.queries.answers import answer_question
from gridsecure.queries.language import Question, parse_question
from gridsecure.simulator.synthetic_meters import SimulatedMonth
from gridsecure.store.database import read_session
from gridsecure.trial_answers import TrialAnswer

_HOMES: Final = '"where":{"customer_class":["household"]}'
_SPARE: Final = 24
"""Trials that are sealed beforehand, each good for one."""


@dataclass(frozen=True, slots=True)
class _World:
    """The parties, as analysts meet them.

    Args:
        period: The day that was closed.
    """

    local: LocalParties
    period: BillingPeriod
    memory: TrialMemory = field(default_factory=TrialMemory)

    def message(self, kind: str, digest: str) -> Signed:
        """As the checker asks for it."""
        return self.local.platform.message(kind, digest)

    def objects(self, digests: Sequence[str]) -> Iterator[bytes]:
        """As the checker asks for them."""
        return self.local.platform.objects(digests)

    def queried(self, start: str, end: str) -> QueriedUploads:
        """As the checker asks for it."""
        with read_session(self.local.platform.zone.engine) as session:
            return find_queried(session, start=start, end=end)

    def question(self, said: str) -> Question:
        """A question about the day."""
        day = self.period.start.date().isoformat()
        return parse_question(f'{{"measure":"energy","period":{{"day":"{day}"}},{said}}}')

    def seal(self, question: Question) -> tuple[Query, Sm2PrivateKey, str]:
        """A query, who reads its answer, and what lies in it."""
        reader, span = generate_private_key(), self.period
        content = write_question(question.text, reader=reader.public_key)
        sealed = seal_question(content, recipient=self.local.authority.query_key.public_key)
        times = (span.start.isoformat(), span.end.isoformat())
        query = sealed_query(*times, reader=reader.public_key, sealed=sealed)
        return query, reader, content.model_dump_json()

    def claims(self, subject: str, role: str, audience: str) -> TokenClaims:
        """What the identity service signs once a credential was shown."""
        now = utc_now()
        return TokenClaims(
            subject=subject,
            roles=(role,),
            audience=audience,
            issuer=ISSUER,
            issued_at=now,
            expires_at=now + timedelta(days=1),
            token_id=secrets.token_hex(16),
        )

    def ask(self, question: Question) -> pd.DataFrame:
        """Ask it, have officers approve it, and read its answer."""
        query, reader, content = self.seal(question)
        subject = query_subject(sm3_digest(query.text.encode()))
        key, platform = self.local.identity.tokens.signer, self.local.platform.zone
        token = issue_token(self.claims(subject, GRANT_ROLE, "authority"), key=key)
        asked = admit_query(
            platform,
            self.claims(subject, GRANT_ROLE, "platform"),
            query=query.text,
            grant=token,
            now=utc_now(),
        )
        keep_query(platform, asked, at=utc_now())
        (envelope,) = (
            one
            for one in list_waiting_requests(platform)
            if ReleaseRequest.parse(one.body).plan == "query"
        )
        outcome = answer_approved(self.local, envelope)
        if outcome.state != RELEASED:
            raise AssertionError(f"the question was not answered: {outcome.reason}")
        record_answer(platform, outcome.request_id, answer=RELEASED, at=utc_now())
        authority, claims = self.local.authority, self.claims(subject, GRANT_ROLE, "authority")
        blob = seal_result(authority, claims, query=query.text, now=utc_now())
        grant = Grant(query, reader, "", token, utc_now(), content)
        pinned = PinnedAuthority(authority.signing_key.public_key)
        opened = open_from(blob, private_key=reader, purpose=RESULT_PURPOSE)
        answer = open_answer(opened, grant, authority=pinned)
        leg = read_answer(answer, grant, question, authority=pinned)
        return answer_question(question, [leg.totals])

    def tries(self, question: Question) -> Callable[[], bytes]:
        """Trials of a question, sealed beforehand: the service's own work is what is timed."""
        ready = [self.seal(question)[0].text for _ in range(_SPARE)]

        def run() -> bytes:
            return try_question(
                self.local.authority,
                self.claims(trial_subject(secrets.token_bytes(32)), "query-trial", "authority"),
                query=ready.pop(),
                view=self,
                memory=self.memory,
                now=utc_now(),
            )

        return run

    def read_trial(self, question: Question) -> TrialAnswer:
        """What a trial says."""
        query, reader, _ = self.seal(question)
        blob = try_question(
            self.local.authority,
            self.claims(trial_subject(bytes(32)), "query-trial", "authority"),
            query=query.text,
            view=self,
            memory=self.memory,
            now=utc_now(),
        )
        text = unpad(open_from(blob, private_key=reader, purpose=RESULT_PURPOSE))
        key = self.local.authority.signing_key.public_key
        return open_message(
            Signed.parse(text or b""), expect=TrialAnswer, trusted={key.thumbprint: key}
        )


def asked_costs(
    local: LocalParties,
    period: BillingPeriod,
    simulated: SimulatedMonth,
    *,
    place: int,
    sizes: BenchSizes,
) -> list[Figure]:
    """Seconds of a sealed question about a closed day, and of a trial of it.

    Args:
        period: The day.
        simulated: What its meter points read.
        place: The day's, in the month.

    Raises:
        AssertionError: An answer is not pandas', or a trial says something else.
    """
    world = _World(local, period)
    wanted = world.question(f'{_HOMES},"every":"hour"')
    world.ask(world.question(f'{_HOMES},"every":"day"'))  # whatever starts once has started
    tried = world.read_trial(wanted)
    if not tried.is_allowed or tried.withheld or tried.cost is None:
        raise AssertionError(f"the trial says {tried.reason}")
    trial, _ = best_of(world.tries(wanted), sizes=sizes, clock=time.process_time)
    waited, _ = best_of(world.tries(wanted), sizes=sizes)
    nowhere = '"where":{"customer_class":["household"],"zone":["nowhere"]}'
    small = world.question(f'{nowhere},"group_by":["zone"],"every":"hour"')
    refused, _ = best_of(world.tries(small), sizes=sizes, clock=time.process_time)
    if not world.read_trial(small).nearest:
        raise AssertionError("no question near it is allowed")
    seconds, frame = time_call(lambda: world.ask(wanted))
    plain, expected = best_of(lambda: _in_pandas(simulated, place), sizes=sizes)
    if [Decimal(str(kwh)) * 1000 for kwh in frame["value"]] != list(expected):
        raise AssertionError("an answer is not the sum of its members")
    found = {"asked": seconds, "plain": plain, "trial": trial, "waited": waited, "near": refused}
    return _figures(simulated, found, estimate=tried.cost.seconds)


def _in_pandas(simulated: SimulatedMonth, place: int) -> pd.Series[int]:
    """The same in the clear: Wh of all households by hour."""
    energy = pd.DataFrame(simulated.energy_wh[:, place, :])
    homes = energy[(simulated.contracts["customer_class"] == "household").to_numpy()]
    hours = [interval * 24 // energy.shape[1] for interval in range(energy.shape[1])]
    return homes.sum().groupby(hours).sum()


def _figures(
    simulated: SimulatedMonth, seconds: Mapping[str, float], *, estimate: float
) -> list[Figure]:
    meters, _, intervals = simulated.energy_wh.shape
    said = f"{meters:,} meter points × {intervals} intervals"
    return [
        Figure(
            name="query_whole",
            title=f"a sealed question against {meters:,} meter points, end to end, services warm",
            unit="s",
            value=seconds["asked"],
            must=10,
            try_for=3,
            note=f"{said}, totals of all households by hour: sealed, carried, checked, blinded,"
            " approved by two officers, decrypted, certified, opened, verified; all parties in one"
            f" process. Its trial said {estimate} s; plain pandas takes"
            f" {seconds['plain'] * 1e3:.2f} ms on the readings in the clear",
        ),
        Figure(
            name="query_trial",
            title=f"a trial of a question against {meters:,} meter points",
            unit="ms",
            value=seconds["trial"] * 1e3,
            must=50,
            try_for=10,
            note=f"one core, processor time, {said}, at the key authority, what lies there"
            " remembered: opened, grouped, looked at beside all that was told, answered sealed; by"
            f" the clock {seconds['waited'] * 1e3:.1f} ms, with a commit of the database; refused,"
            f" with the nearest question that is allowed, {seconds['near'] * 1e3:.1f} ms",
        ),
    ]
