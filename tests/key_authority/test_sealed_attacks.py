"""Attacks by sealed questions: differences, small groups, other questions, other answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gridsecure.approvals import APPROVER_ROLES, ReleaseSubject
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.crypto.sm3 import sm3_hex
from gridsecure.key_authority.checker import sealed_queries
from gridsecure.key_authority.checker.approvals import record_approval
from gridsecure.key_authority.checker.asked_questions import AskedQuestion
from gridsecure.key_authority.query_orders import groups_digest, steps_digest
from gridsecure.messages import ColumnEntry, QueriedUploads
from gridsecure.plans.query_groups import write_rows
from tests.approving import approval_of
from tests.attacks import WITHHELD, Attacked, attack, cut, rule
from tests.authority_simulator import Authority, waiting_subjects
from tests.grid_simulator import NOW, GridSimulator, GridUpload
from tests.key_authority.asked_queries import Asked, Asker, DayAsker, question_of
from tests.key_authority.test_approvals import stand
from tests.key_authority.test_sealed_days import FIRST, day_request, sealed_day
from tests.query_grants import grant_token, sealed_query_of

HOMES = {"customer_class": ["household"]}
FUTIAN = HOMES | {"zone": ["futian"]}
LOOKED = rule(
    "A group is told of only beside all that was told of its members.",
    WITHHELD,
    cut(
        "gridsecure.key_authority.checker.asked_questions:look_beside",
        "if ENERGY in found.get(place, ())",
        "if False",
    ),
)
ENTERED = rule(
    "That is looked at again in the transaction that keeps the certificate.",
    "release.meanwhile",
    cut(
        "gridsecure.key_authority.checker.ledger:enter",
        "not may_tell(wanted, told=company.told, is_compared=giving.basis.is_compared)",
        "False",
    ),
)

UNREAD = rule(
    "A question that cannot be read in a way nobody foresaw is refused, and told to its asker.",
    "query.shape",
    cut(
        "gridsecure.key_authority.checker.asked_questions:read_question",
        "except Exception",
        "except KeyError",
    ),
)
UNFORESEEN = rule(
    "A request that fails as nobody foresaw waits, and its round goes on.",
    "release.unexpected",
    cut(
        "gridsecure.key_authority.checker.answering:_going_on",
        "except Exception",
        "except KeyError",
    ),
)


@pytest.fixture
def asker(authority: Authority) -> Asker:
    return Asker(authority)


def victim(asker: Asker, wanted: str = "household") -> str:
    """The pseudonym of a household of futian, or of another meter point there."""
    (home, *_) = [
        name
        for upload in asker.grid.uploads
        for name, zone, kind in zip(
            upload.roster.manifest.pseudonyms,
            upload.roster.manifest.zones,
            upload.roster.manifest.customer_classes,
            strict=True,
        )
        if (zone, kind) == ("futian", wanted)
    ]
    return home


def without(name: str) -> dict[str, Any]:
    """The households of futian but for one."""
    return FUTIAN | {"none_of": [{"pseudonym": [name]}]}


def how_it_ended(asker: Asker, asked: Asked) -> str:
    """The reason of a refusal or failure, as the asker or the staff is told it; else what came."""
    outcome = asker.answered(asked)
    if outcome.state == "failed":
        return outcome.reason or ""
    if outcome.state == "refused":
        return asker.answer(asked).reason if outcome.reason == "release.query" else outcome.reason
    (certificate,) = [
        one for one in asker.authority.certificates if one.question == asked.content.digest
    ]
    return "" if any(cell.value is not None for cell in certificate.cells) else WITHHELD


@attack("one household by two questions of two askers", LOOKED, ENTERED)
def test_a_cohort_and_the_same_without_one(asker: Asker, attacked: Attacked) -> None:
    first = asker.ask(question_of(where=FUTIAN, every="day"), reader=generate_private_key())
    assert how_it_ended(asker, first) == ""
    second = asker.ask(question_of(where=without(victim(asker)), every="day"))
    attacked.ends(how_it_ended(asker, second))


@attack("one household by a published load curve and a question without it", LOOKED, ENTERED)
def test_a_load_curve_and_a_question_without_one(asker: Asker, attacked: Attacked) -> None:
    uploads = sorted(asker.grid.uploads, key=lambda one: -one.roster.manifest.slots)
    request = asker.authority.load_curve_request(uploads)
    assert asker.authority.answer(request).state == "released"
    asked = asker.ask(question_of(where=without(victim(asker)), every="interval"))
    attacked.ends(how_it_ended(asker, asked))


@attack(
    "one household by a question and a published load curve with it",
    rule(
        "What a question told stands in the ledger beside all that is told later.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.ledger:_compare",
            "if number in found and matters:",
            "if False:",
        ),
    ),
)
def test_a_question_without_one_and_a_load_curve(asker: Asker, attacked: Attacked) -> None:
    asked = asker.ask(question_of(where=without(victim(asker)), every="interval"))
    assert how_it_ended(asker, asked) == ""
    uploads = sorted(asker.grid.uploads, key=lambda one: -one.roster.manifest.slots)
    outcome = asker.authority.answer(asker.authority.load_curve_request(uploads))
    assert outcome.state == "released"
    (certificate,) = [one for one in asker.authority.certificates if one.plan == "load-curve"]
    homes = [c for c in certificate.cells if (c.zone, c.customer_class) == ("futian", "household")]
    attacked.ends("" if any(cell.value is not None for cell in homes) else WITHHELD)


@attack(
    "a hidden group of one household",
    rule(
        "Nothing is computed of a group with fewer customers than policy wants.",
        "query.small",
        cut(
            "gridsecure.key_authority.checker.asked_questions:_large_groups",
            "if not group.is_enough",
            "if False",
        ),
    ),
    rule(
        "The vault counts who is in each group itself, and decrypts nothing for one that is small.",
        "vault.group",
        cut(
            "gridsecure.key_authority.vault.queries:_check_groups",
            "len(group.crowd) and not group.is_enough",
            "False",
        ),
    ),
    rule(
        "It names no total of one, whatever it added up.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.vault.queries:list_totals",
            "group.is_enough and number not in withheld",
            "True",
        ),
    ),
)
def test_a_group_of_one(asker: Asker, attacked: Attacked) -> None:
    asked = asker.ask(question_of(where={"pseudonym": [victim(asker)]}, every="day"))
    attacked.ends(how_it_ended(asker, asked))


@attack(
    "other groups at the vault than officers approved",
    rule(
        "The vault adds up for nobody but those whose groups stand in the subject.",
        "approval.order",
        cut(
            "gridsecure.key_authority.vault.gate:Passage.admit_question",
            "(subject.question, subject.groups, subject.steps) != (question, groups, steps)",
            "False",
        ),
    ),
)
def test_forged_labels(asker: Asker, attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checker that shows officers one question's groups, and orders those of another."""
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    real = sealed_queries._subject

    def shown(at_work: Any, outputs: Any) -> Any:
        return real(at_work, outputs).model_copy(update={"groups": "0" * 64})

    monkeypatch.setattr(sealed_queries, "_subject", shown)
    attacked.ends(how_it_ended(asker, asked))


@attack(
    "columns said to be of other times than their files are, to be held to other minima",
    rule(
        "An output's file says what times it is about, and the order says the same.",
        "ciphertext.key-mismatch",
        cut(
            "gridsecure.key_authority.vault.decryption:Vault._decrypt",
            "said == (entry.quantity, entry.start, entry.end)",
            "True",
        ),
    ),
)
def test_columns_of_other_days(
    asker: Asker, attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sealed_queries._derive

    def later(entry: ColumnEntry) -> ColumnEntry:
        start, end = (datetime.fromisoformat(one) for one in (entry.start, entry.end))
        shifted = [(one + timedelta(days=7)).isoformat() for one in (start, end)]
        return entry.model_copy(update=dict(zip(("start", "end"), shifted, strict=True)))

    def derived(*given: Any, **named: Any) -> Any:
        found = real(*given, **named)
        return {name: replace(one, entry=later(one.entry)) for name, one in found.items()}

    monkeypatch.setattr(sealed_queries, "_derive", derived)
    attacked.ends(how_it_ended(asker, asker.ask(question_of(where=FUTIAN, every="day"))))


@attack(
    "a question's cohort and hours guessed from its certificate",
    rule(
        "What a certificate says of groups and times is under a salt that it does not show.",
        WITHHELD,
        cut("gridsecure.key_authority.query_orders:groups_digest", "_GROUPS, salt,", "_GROUPS,"),
        cut("gridsecure.key_authority.query_orders:steps_digest", "_STEPS, salt,", "_STEPS,"),
    ),
)
def test_a_right_guess(asker: Asker, attacked: Attacked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the rosters tries cohorts and hours, and is right once."""
    tried: list[AskedQuestion] = []
    real = sealed_queries.lay_out_question

    def guessed(*given: Any) -> AskedQuestion:
        tried.append(real(*given))
        return tried[-1]

    monkeypatch.setattr(sealed_queries, "lay_out_question", guessed)
    assert how_it_ended(asker, asker.ask(question_of(where=FUTIAN, every="day"))) == ""
    (certificate,) = asker.authority.certificates
    subject = ReleaseSubject.parse(certificate.subject)
    right, no_salt = tried[-1], "0" * 64
    assert right.content.salt not in certificate.model_dump_json()
    rows = [sm3_hex(write_rows(own)) for own in right.rows]
    groups = groups_digest(right.rosters, rows, salt=no_salt) == subject.groups
    steps = steps_digest(right.steps, right.spans, salt=no_salt) == subject.steps
    attacked.ends("" if groups and steps else WITHHELD if not (groups or steps) else "one")


@attack(
    "another question in a query than its grant is for",
    rule(
        "A grant is for one query by its digest, and the sealed question is part of it.",
        "release.grant",
        cut(
            "gridsecure.credentials.access:check_query",
            "claims.subject != expected or",
            "",
        ),
    ),
)
def test_the_platform_puts_a_question_of_its_own_in(asker: Asker, attacked: Attacked) -> None:
    honest = asker.ask(question_of(where=FUTIAN, every="day"))
    own = generate_private_key()
    query, content = sealed_query_of(
        asker.grid, question_of(where=FUTIAN, every="interval"), reader=own.public_key
    )
    request = asker.sent(
        query,
        content,
        own,
        grant=grant_token(honest.query.text),
        requested_by=honest.subject,
    )
    outcome = asker.answered(request)
    attacked.ends(outcome.reason)


@attack(
    "a grant for one sealed query, used for the same again",
    rule(
        "A grant is good for one request.",
        "release.grant",
        cut(
            "gridsecure.key_authority.checker.grants:check_grant",
            "(o.request_id, o.used) != (entry.request_id, entry.used)",
            "False",
        ),
    ),
    rule(
        "Its use is kept, under its token, before anything is decrypted.",
        "release.grant",
        cut("gridsecure.key_authority.checker.grants:_bind", "keep(session, entry)", "pass"),
    ),
    rule(
        "What became of a query is kept once, whatever requests carry it.",
        "conflict.answered-query",
        cut(
            "gridsecure.key_authority.checker.query_answers:keep_answered",
            "keep(session, row)",
            "pass",
        ),
    ),
)
def test_a_sealed_query_replayed(asker: Asker, attacked: Attacked) -> None:
    """The platform sends one grant's query again, over a list of its own choice."""
    query, content = sealed_query_of(asker.grid, question_of(where=FUTIAN, every="day"))
    token, reader = grant_token(query.text), asker.ask(question_of()).reader
    first = asker.sent(query, content, reader, grant=token)
    assert asker.answered(first).state == "released"
    named = asker.queried()
    other = named.model_copy(update={"closings": [asker.closing_again()]})
    second = asker.sent(query, content, reader, grant=token, queried=other)
    attacked.ends(asker.answered(second).reason)


def probed(asker: Asker, *, same_grant: bool) -> str | None:
    """How a query ends that is sent again over another list, while officers look at the first."""
    query, content = sealed_query_of(asker.grid, question_of(where=FUTIAN, every="day"))
    token, reader = grant_token(query.text), generate_private_key()
    assert asker.unapproved(asker.sent(query, content, reader, grant=token)).state == "waiting"
    other = asker.queried().model_copy(update={"closings": [asker.closing_again()]})
    grant = token if same_grant else grant_token(query.text)
    outcome = asker.unapproved(asker.sent(query, content, reader, grant=grant, queried=other))
    return "" if outcome.state == "waiting" else outcome.reason


@attack(
    "how many a sealed question is about, by sending it again over other lists",
    rule(
        "A query is bound to its request before its question is opened.",
        "release.grant",
        cut(
            "gridsecure.key_authority.checker.sealed_queries:release_query",
            "bind_grant(zone, request, now=clock())",
            "pass",
        ),
    ),
)
def test_the_platform_probes_a_question(asker: Asker, attacked: Attacked) -> None:
    attacked.ends(probed(asker, same_grant=True))


@attack(
    "the same under a grant of an analyst who helps the platform",
    rule(
        "A sealed query is for one request, whatever grants there are for it.",
        "release.grant",
        cut(
            "gridsecure.key_authority.checker.grants:bind_grant",
            'if request.plan == "query":',
            "if False:",
        ),
    ),
)
def test_the_platform_probes_with_another_grant(asker: Asker, attacked: Attacked) -> None:
    attacked.ends(probed(asker, same_grant=False))


@attack(
    "a sealed question over a list that a later one superseded",
    rule(
        "A query is about no list of which a release rests on a later one of the same uploads.",
        "release.closing",
        cut(
            "gridsecure.key_authority.checker.closings:check_lists_in_force",
            "other.number > own.number",
            "False",
        ),
    ),
)
def test_the_platform_names_a_superseded_list(asker: Asker, attacked: Attacked) -> None:
    old = asker.queried()
    later = old.model_copy(update={"closings": [asker.closing_again()]})
    first = asker.ask(question_of(where=FUTIAN, every="day"), queried=later)
    assert asker.answered(first).state == "released"
    second = asker.ask(question_of(where=HOMES, every="day"), queried=old)
    outcome = asker.unapproved(second)
    attacked.ends("" if outcome.state == "waiting" else outcome.reason)


@attack(
    "fewer uploads than the office closed, named with its list",
    rule(
        "A query is about all uploads of the lists that the billing office signed.",
        "release.closing",
        cut(
            "gridsecure.key_authority.checker.queried_uploads:_check_lists",
            "sorted(uploads) != sorted(queried.uploads)",
            "False",
        ),
    ),
)
def test_the_platform_leaves_an_upload_out(asker: Asker, attacked: Attacked) -> None:
    whole = asker.queried()
    large = max(
        range(len(whole.uploads)), key=lambda n: len(asker.uploads[n].roster.manifest.pseudonyms)
    )
    fewer = QueriedUploads(
        closings=whole.closings, uploads=[whole.uploads[large]], rosters=[whole.rosters[large]]
    )
    asked = asker.ask(question_of(where=FUTIAN, every="day"), queried=fewer)
    outcome = asker.answered(asked)
    attacked.ends(outcome.reason)


HEARD = rule(
    "Who has no energy of a day hides nobody in it, whatever else was told of that day.",
    WITHHELD,
    cut(
        "gridsecure.key_authority.checker.ledger:Basis.is_heard_enough",
        "not self.silent",
        "True",
    ),
)
SILENT = 14
"""One fewer than policy wants customers."""


@pytest.fixture
def quiet_day(authority: Authority, uploads: list[GridUpload]) -> DayAsker:
    """A day of the flat roster, on which the last homes were silent."""
    slots = uploads[0].roster.manifest.slots
    day = sealed_day(authority.grid, uploads[0], silent_slots=list(range(slots - SILENT, slots)))
    authority.show(day)
    return DayAsker(authority, day)


@attack("one household by two questions, hidden among those that were silent", HEARD)
def test_a_difference_of_whom_all_but_one_were_silent(
    quiet_day: DayAsker, attacked: Attacked
) -> None:
    everybody = quiet_day.day.roster.manifest.pseudonyms
    others = everybody[: -SILENT - 1]
    assert how_it_ended(quiet_day, quiet_day.ask_about(others)) == ""
    attacked.ends(how_it_ended(quiet_day, quiet_day.ask_about(everybody)))


def test_silent_homes_withhold_nothing_where_enough_were_heard(quiet_day: DayAsker) -> None:
    everybody = quiet_day.day.roster.manifest.pseudonyms
    for every in ("day", "hour"):
        assert how_it_ended(quiet_day, quiet_day.ask_about(everybody, every=every)) == ""


FACT = {"zone": ["futian"]}
"""What an attacker would know of one home."""


@attack(
    "a fact of one household by the label of its group",
    rule(
        "A group that is too small has no label in the answer.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.asked_questions:_large_groups",
            "if label.values not in small",
            "if True",
        ),
        cut(
            "gridsecure.key_authority.vault.queries:_check_groups",
            "len(group.crowd) and not group.is_enough",
            "False",
        ),
    ),
)
def test_the_label_of_a_group_of_one(asker: Asker, attacked: Attacked) -> None:
    """Many homes of luohu and futian, by class; and one factory, if it is of futian."""
    factory = [{"pseudonym": [victim(asker, "factory")]} | FACT, HOMES]
    asked = asker.ask(question_of(where={"any_of": factory}, group_by=["customer_class"]))
    assert asker.answered(asked).state == "released"
    groups = asker.answer(asked).groups
    assert groups is not None
    attacked.ends("" if ["factory"] in [one.values for one in groups.groups] else WITHHELD)


def test_nobody_and_too_few_are_refused_alike(asker: Asker) -> None:
    home = {"pseudonym": [victim(asker)]}
    told = [
        asker.answer(asked).model_dump(exclude={"asked_by"})
        for zone in ("futian", "luohu")
        if asker.answered(asked := asker.ask(question_of(where=home | {"zone": [zone]})))
    ]
    assert told[0] == told[1]
    assert told[0]["reason"] == "query.small"


def test_of_a_withheld_group_no_size_is_told(asker: Asker) -> None:
    assert how_it_ended(asker, asker.ask(question_of(where=FUTIAN, every="day"))) == ""
    asked = asker.ask(question_of(where=without(victim(asker)), every="day"))
    assert how_it_ended(asker, asked) == WITHHELD
    groups = asker.answer(asked).groups
    assert groups is not None
    assert [(one.points, one.customers) for one in groups.groups] == [(0, 0)]
    assert {cell.members for cell in asker.release(asked).cells} == {0}


def test_of_two_cohorts_all_parts_are_told_or_none(asker: Asker) -> None:
    """Without the few that are in both, either's total would be too small."""
    large = max((one.roster.manifest.pseudonyms for one in asker.uploads), key=len)
    first, second = large[:20], large[19:]
    asked = asker.ask(
        question_of(
            where={"pseudonym": sorted(first)},
            statistic={"name": "difference", "of": {"pseudonym": sorted(second)}},
            every="day",
        )
    )
    assert asker.answered(asked).reason == "release.query"
    assert asker.answer(asked).reason == "query.small"


# --- days that were sealed -----------------------------------------------------------------------

ONE_DAY = question_of(period={"day": "2026-07-01"}, every="day", where=FUTIAN)


def lying(authority: Authority, upload: GridUpload) -> Asker:
    """Asks about one upload that the platform has."""
    authority.show(upload)
    return Asker(authority, lying=(upload,))


def about_day(asker: Asker) -> str:
    return how_it_ended(asker, asker.ask(ONE_DAY, span=FIRST))


@attack(
    "one household's late change by two versions of a day that was sealed",
    rule(
        "A sealed day is one upload, for all that is ever told of it.",
        "release.repeated",
        cut(
            "gridsecure.key_authority.checker.sealed_queries:release_query",
            "check_days(session, queried.by_upload)",
            "pass",
        ),
    ),
    rule(
        "That is bound before anything of it is decrypted.",
        "release.repeated",
        cut(
            "gridsecure.key_authority.checker.sealed_queries:_spend",
            "bind_days(session, at_work.queried.by_upload, at=at)",
            "pass",
        ),
    ),
)
def test_two_versions_of_a_day(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload], attacked: Attacked
) -> None:
    home = uploads[0]
    assert about_day(lying(authority, sealed_day(grid, home))) == ""
    attacked.ends(about_day(lying(authority, sealed_day(grid, home, estimated_readings=7))))


@pytest.mark.parametrize("first", ["question", "load curve"])
def test_load_curves_and_questions_are_of_one_version_of_a_day(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload], first: str
) -> None:
    one, other = (sealed_day(grid, uploads[0], estimated_readings=n) for n in (0, 7))
    if first == "question":
        assert about_day(lying(authority, one)) == ""
        assert authority.answer(day_request(authority, other)).reason == "release.repeated"
        assert authority.answer(day_request(authority, one)).state == "released"
    else:
        assert authority.answer(day_request(authority, one)).state == "released"
        assert about_day(lying(authority, other)) == "release.repeated"
        assert about_day(lying(authority, one)) == ""


@attack(
    "one household's late change by a question about one day of its month",
    rule(
        "Of a group with somebody whose readings changed, nothing finer than the month is told.",
        WITHHELD,
        cut(
            "gridsecure.key_authority.checker.asked_questions:_moved_groups",
            "() if is_whole else data.upload.changed_slots",
            "()",
        ),
    ),
)
def test_a_changed_day_of_the_month_beside_the_day(
    authority: Authority, grid: GridSimulator, uploads: list[GridUpload], attacked: Attacked
) -> None:
    home = uploads[0]
    everybody = range(home.roster.manifest.slots)
    assert about_day(lying(authority, sealed_day(grid, home))) == ""
    month = grid.upload(home.roster, days=2, changed_slots=list(everybody))
    attacked.ends(about_day(lying(authority, month)))


# --- authorisations ------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [{}, {"scope": "purpose", "purpose": "research"}])
@attack(
    "a sealed question under authorisations that do not speak of questions",
    rule(
        "Sealed questions fall under authorisations of their own domain alone.",
        "approval.missing",
        cut(
            "gridsecure.approvals:check_authorisation",
            'is_question = subject.plan == "query"',
            "is_question = False",
        ),
    ),
)
def test_authorisations_of_everything(
    asker: Asker, attacked: Attacked, scope: dict[str, object]
) -> None:
    for role in APPROVER_ROLES:
        assert stand(asker.authority, bearer=role, **scope) == ""
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    attacked.ends(asker.unapproved(asked).reason)


def test_an_authorisation_of_the_domain_of_queries_will_do(asker: Asker) -> None:
    for role in APPROVER_ROLES:
        assert stand(asker.authority, bearer=role, scope="domain", domain="queries") == ""
    asked = asker.ask(question_of(where=FUTIAN, every="day"))
    assert asker.unapproved(asked).state == "released"


@attack(
    "a rejected question, asked again of one meter point less",
    rule(
        "After a rejection authorisations count for no question of that time.",
        "approval.missing",
        cut(
            "gridsecure.key_authority.checker.approvals:_is_like",
            "one.plan != other.plan",
            "one.plan != other.plan or one.groups != other.groups",
        ),
    ),
)
def test_a_rejected_question_but_for_one(asker: Asker, attacked: Attacked) -> None:
    first = asker.ask(question_of(where=FUTIAN, every="day"))
    assert asker.unapproved(first).state == "waiting"
    (waiting,) = waiting_subjects(asker.authority.zone)
    no = approval_of(waiting.text, decision="reject")
    record_approval(asker.authority.zone, no, bearer="data-owner", now=NOW)
    for role in APPROVER_ROLES:
        assert stand(asker.authority, bearer=role, scope="domain", domain="queries") == ""
    again = asker.ask(question_of(where=without(victim(asker)), every="day"))
    attacked.ends(asker.unapproved(again).reason)


@attack(
    "one question that ends every round before the requests behind it",
    rule(
        "A tariff with a number that no decimal holds is refused as any that is none.",
        "tariff.syntax",
        cut("gridsecure.toml_documents:read_document", "except ArithmeticError", "except KeyError"),
    ),
    UNREAD,
    UNFORESEEN,
)
def test_a_tariff_that_no_decimal_holds(
    asker: Asker, attacked: Attacked, caplog: pytest.LogCaptureFixture
) -> None:
    what_if = {"name": "what_if", "tariff": f"a = 1e{'9' * 20}\n"}
    asked = asker.ask(question_of(measure="bill", statistic=what_if))
    try:
        ended = how_it_ended(asker, asked)
    except ArithmeticError:
        ended = ""  # and with it the round
    attacked.ends(ended)
    assert ("InvalidOperation" in caplog.text) == (ended in ("query.shape", "release.unexpected"))
    assert "99999" not in caplog.text, "what was asked"


@attack(
    "a text that no parser was thought to fail on, asked anew in every round",
    rule(
        "What Python reads as JSON and the question's own parser does not is refused as no JSON.",
        "query.shape",
        cut(
            "gridsecure.queries.refusals:explain_error",
            "return no_question()",
            'raise ValueError("not enough values to unpack")',
        ),
    ),
    UNREAD,
    UNFORESEEN,
)
def test_half_of_a_surrogate_pair(asker: Asker, attacked: Attacked) -> None:
    try:
        ended = how_it_ended(asker, asker.ask(r'{"measure":"\ud800"}'))
    except ValueError:
        ended = ""  # and with it the round
    attacked.ends(ended)
