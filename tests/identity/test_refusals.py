"""Enrol, register, log in, upload, settle, open, revoke, carry over; and all that is refused."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, select

from gridsecure.compute.holder_uploads import WINDOW, admit_upload, take_counter
from gridsecure.credentials.access import ISSUER, check_query
from gridsecure.credentials.grants import Question, Quota, grant_bytes, request_grant, verify_grant
from gridsecure.credentials.holder import Wallet
from gridsecure.credentials.issuer_keys import Context, IssuerPrivateKey, generate_issuer_key
from gridsecure.credentials.log_details import REGISTERED
from gridsecure.credentials.presentations import Domain, Occasion, present, verify_presentation
from gridsecure.credentials.settlement import prove_settlements, verify_settlements
from gridsecure.credentials.uploads import Upload, sign_upload
from gridsecure.crypto.sm2 import Sm2PublicKey, generate_private_key
from gridsecure.crypto.sm3 import sm3_digest
from gridsecure.crypto.tokens import verify_token
from gridsecure.errors import (
    AccessDeniedError,
    AuthenticityError,
    ConflictError,
    GridSecureError,
    InvalidMessageError,
    NotFoundError,
    SignatureError,
    StaleMessageError,
)
from gridsecure.identity.enrolments.enrolled_keys import identity_of
from gridsecure.identity.registrations.registry import CHALLENGES, find_registration
from gridsecure.identity.registrations.revoking import revoke
from gridsecure.identity.registrations.token_service import (
    GRANT_LIFETIME,
    TOKEN_LIFETIME,
    GivenGrant,
)
from gridsecure.store.evidence import EvidenceRow
from tests.identity.identity_world import (
    ANALYST,
    CHANNEL,
    HOME,
    METER,
    NOW,
    SETTLE,
    UPLOAD,
    World,
    answered,
    in_books,
    keys,
    new_holder,
    shown_with,
    suite,
)

NEXT = Context("meter-point", "2027")
NEXT_UPLOAD = Domain("platform", "upload", "2027")
QUOTA = Quota(ANALYST, "2026-03", 8)


def refused(kind: type[GridSecureError], reason: str):
    return pytest.raises(kind, match=rf"^\[{reason}\]")


def claims_of(token: str, *, audience: str = UPLOAD.platform, now=NOW):
    return verify_token(
        token, key=keys().signer.public_key, audience=audience, issuer=ISSUER, now=now
    )


@pytest.fixture
def member(world: World):
    holder = new_holder()
    return holder, world.enrol(holder, "customer 1")


# --- the whole way -------------------------------------------------------------------------------


def test_a_meter_point_enrols_registers_logs_in_uploads_and_settles(world, member):
    holder, credential = member
    entries = world.register(holder, credential, UPLOAD, SETTLE)
    assert [entry.subject for entry in entries] == [
        holder.name_in(UPLOAD),
        holder.name_in(SETTLE),
    ]
    token = world.log_in(holder)
    claims = claims_of(token)
    assert (claims.subject, claims.holder_thumbprint) == (
        entries[0].subject,
        holder.key_in(UPLOAD).public_key.thumbprint,
    )
    for counter in (1, 2, 9):
        send(world, holder, token, counter=counter)
    (nym,), proof = prove_settlements(
        [holder.m1], domain=SETTLE, challenge=b"office", suite=suite()
    )
    enrolled = suite().group.multiply(suite().g, scalar=holder.m1)
    assert verify_settlements(
        [(nym, enrolled)], proof, domain=SETTLE, challenge=b"office", suite=suite()
    ) == [entries[1].subject]
    key = suite().group.encode(enrolled)
    assert identity_of(world.issuer.engine, key=key) == "customer 1"


def test_a_period_change_carries_the_year_over_by_one_proof(world, member):
    holder, credential = member
    world.register(holder, credential)
    renewed = world.enrol(holder, "customer 1", NEXT)
    (entry,) = world.register(holder, renewed, NEXT_UPLOAD, UPLOAD)
    assert entry.carried == (holder.name_in(UPLOAD),)
    assert find_registration(world.service.engine, subject=entry.subject) == entry


def test_nothing_but_the_pseudonym_repeats_in_a_domain_and_nothing_across(member):
    holder, credential = member
    shown = [
        holder.show(credential, domains=(domain,), challenge=bytes(32))[1]
        for domain in (UPLOAD, UPLOAD, SETTLE)
    ]
    parts = [
        {message[at : at + 64] for at in range(0, 640, 64)} | {message[640:672], message[672:]}
        for message in shown
    ]
    assert [len(message) for message in shown] == [704] * 3
    assert parts[0] & parts[1] == {shown[0][320:384]}
    assert parts[0] & parts[2] == set()


def test_databases_keep_each_to_its_own(world, member):
    holder, credential = member
    world.register(holder, credential)
    enrolments, registrations = (
        engine.url.database for engine in (world.issuer.engine, world.service.engine)
    )
    key = suite().group.encode(suite().group.multiply(suite().g, scalar=holder.m1)).hex()
    contents = {
        name: b"".join(path.read_bytes() for path in Path(name).parent.glob(Path(name).name + "*"))
        for name in (enrolments, registrations)
    }
    assert b"customer 1" in contents[enrolments]
    assert key.encode() in contents[enrolments]
    assert b"customer 1" not in contents[registrations]
    assert key.encode() not in contents[registrations]
    assert bytes.fromhex(key) not in contents[registrations]
    assert holder.name_in(UPLOAD).encode() not in contents[enrolments]


# --- enrolment -----------------------------------------------------------------------------------


def test_a_second_credential_in_a_period_is_refused(world, member):
    with refused(ConflictError, "conflict.enrolment"):
        world.enrol(new_holder(), "customer 1")


def test_a_second_credential_of_an_analyst_is_refused(world):
    world.enrol(new_holder(), "analyst 1", ANALYST)
    with refused(ConflictError, "conflict.credential"):
        world.enrol(new_holder(), "analyst 1", ANALYST)


def test_one_key_is_one_identity(world, member):
    with refused(ConflictError, "conflict.enrolment"):
        world.enrol(member[0], "customer 2")


def test_the_same_key_may_have_its_credential_again(world, member):
    holder, first = member
    assert world.enrol(holder, "customer 1").u != first.u


@pytest.mark.parametrize(
    ("context", "channel"),
    [(NEXT, CHANNEL), (Context("gateway", "2026"), CHANNEL), (METER, b"another")],
)
def test_a_request_is_for_its_context_and_channel(world, context, channel):
    pending = new_holder().ask(METER, channel=CHANNEL)
    with refused(SignatureError, "authenticity.credential-request"):
        world.issuer.issue(pending.message, identity="x", context=context, channel=channel, now=NOW)
    world.enrol(new_holder(), "x")  # the refused request left no trace


def test_a_credential_of_a_private_key_of_its_own_is_not_taken():
    holder = new_holder()
    pending = holder.ask(METER, channel=CHANNEL)
    tagging = generate_issuer_key(suite())
    request = holder.suite  # the device asks under the pinned key, the issuer answers with another
    marked = replace(keys().public, issuer=tagging.public_key(request))
    fooled = replace(holder, keys=marked).ask(METER, channel=CHANNEL)
    response = answered(fooled.message, key=tagging, context=METER, channel=CHANNEL)
    with refused(SignatureError, "authenticity.credential-response"):
        holder.take(pending, response=response, channel=CHANNEL, facts=HOME)


def test_the_issuer_not_the_holder_sets_the_context(world):
    holder = new_holder()
    pending = holder.ask(METER, channel=CHANNEL)
    in_books(world.issuer.engine, "y")
    issued = world.issuer.issue(
        pending.message, identity="y", context=METER, channel=CHANNEL, now=NOW
    )
    taken = {"response": issued.response, "channel": CHANNEL, "facts": issued.facts}
    with refused(SignatureError, "authenticity.credential-response"):
        holder.take(replace(pending, context=NEXT), **taken)
    for change in ({"zone": "luohu"}, {"customer_class": "shop"}, {"counted": False}):
        told = issued.facts.model_copy(update=change)
        with refused(SignatureError, "authenticity.credential-response"):
            holder.take(pending, **(taken | {"facts": told}))
    assert holder.take(pending, **taken).context.facts == HOME


# --- registration --------------------------------------------------------------------------------


def test_a_replayed_presentation_is_refused(world, member):
    holder, credential = member
    challenge = world.service.challenge(now=NOW)
    occasion, message = holder.show(credential, domains=(UPLOAD,), challenge=challenge)
    world.registrar.register(message, occasion=occasion, now=NOW)
    with refused(StaleMessageError, "authenticity.challenge"):
        world.registrar.register(message, occasion=occasion, now=NOW)
    again = replace(occasion, challenge=world.service.challenge(now=NOW))
    with refused(SignatureError, "authenticity.presentation"):
        world.registrar.register(message, occasion=again, now=NOW)


@pytest.mark.parametrize("late", [CHALLENGES.lifetime, CHALLENGES.lifetime * 10])
def test_a_challenge_ends(world, member, late):
    holder, credential = member
    challenge = world.service.challenge(now=NOW)
    occasion, message = holder.show(credential, domains=(UPLOAD,), challenge=challenge)
    with refused(StaleMessageError, "authenticity.challenge"):
        world.registrar.register(message, occasion=occasion, now=NOW + late)


def other_occasions(occasion: Occasion):
    yield "holder", replace(occasion, holder=generate_private_key().public_key)
    yield "challenge", replace(occasion, challenge=b"c" * 32)
    yield "domain", replace(occasion, domains=(Domain("rival", "upload", "2026"),))
    yield "purpose", replace(occasion, domains=(SETTLE,))
    yield "period", replace(occasion, context=NEXT)
    yield "role", replace(occasion, context=Context("gateway", "2026"))


@pytest.mark.parametrize("swapped", ["holder", "challenge", "domain", "purpose", "period", "role"])
def test_a_presentation_is_for_its_occasion(member, swapped):
    holder, credential = member
    occasion, message = holder.show(credential, domains=(UPLOAD,), challenge=bytes(32))
    verify(message, occasion)
    with refused(SignatureError, "authenticity.presentation"):
        verify(message, dict(other_occasions(occasion))[swapped])


def verify(message, occasion, key: IssuerPrivateKey | None = None):
    return verify_presentation(
        message,
        occasion=occasion,
        keys=keys().public,
        key=key or keys().issuer,
        suite=suite(),
    )


def test_a_cloned_credential_rings_the_alarm(world, member):
    holder, credential = member
    world.register(holder, credential)
    world.register(holder, credential)  # the same key again is no clone
    clone = generate_private_key()
    occasion, message = shown_with(
        holder, credential, UPLOAD, key=clone, challenge=world.service.challenge(now=NOW)
    )
    with refused(AccessDeniedError, "authenticity.cloned"):
        world.registrar.register(message, occasion=occasion, now=NOW)
    with Session(world.service.engine) as session:
        rows = session.exec(select(EvidenceRow)).all()
    actions = [row.action for row in rows]
    assert actions == [REGISTERED, REGISTERED, "identity.clone-alarm", REGISTERED]
    detail = json.loads(rows[2].detail)
    assert detail["subject"] == holder.name_in(UPLOAD)
    assert detail["second"] == clone.public_key.thumbprint
    assert world.log_in(holder)


def test_a_credential_of_the_wrong_period_is_refused(world, member):
    holder, credential = member
    occasion = Occasion(NEXT, (NEXT_UPLOAD,), holder.key_in(UPLOAD).public_key, bytes(32))
    posing = replace(credential, context=NEXT)
    message = present(posing, occasion=occasion, keys=keys().public, suite=suite())
    with refused(SignatureError, "authenticity.presentation"):
        verify(message, occasion)
    with pytest.raises(ValueError, match="own context"):
        present(credential, occasion=occasion, keys=keys().public, suite=suite())
    with refused(AccessDeniedError, "authenticity.registration"):
        world.register(holder, credential, NEXT_UPLOAD)


def test_a_forged_secret_is_refused(member):
    holder, credential = member
    forged = replace(credential, m1=credential.m1 + 1)
    occasion, message = holder.show(forged, domains=(UPLOAD,), challenge=bytes(32))
    with refused(SignatureError, "authenticity.presentation"):
        verify(message, occasion)


def test_an_earlier_pseudonym_must_be_registered(world, member):
    holder, _ = member
    renewed = world.enrol(holder, "customer 1", NEXT)
    with refused(AccessDeniedError, "authenticity.registration"):
        world.register(holder, renewed, NEXT_UPLOAD, UPLOAD)


@pytest.mark.parametrize("domains", [(), (UPLOAD, UPLOAD), (UPLOAD, SETTLE, NEXT_UPLOAD) * 2])
def test_an_occasion_has_a_few_different_domains(domains):
    with refused(InvalidMessageError, "identity.domain"):
        Occasion(METER, domains, generate_private_key().public_key, bytes(32))


def test_analysts_show_no_pseudonym():
    with refused(InvalidMessageError, "identity.context"):
        Occasion(ANALYST, (UPLOAD,), generate_private_key().public_key, bytes(32))


@pytest.mark.parametrize(
    "parts", [("", "a", "b"), ("a", "b/c", "d"), ("a", " ", "b"), ("a", "b", "c" * 41)]
)
def test_domains_have_three_plain_parts(parts):
    with refused(InvalidMessageError, "identity.domain"):
        Domain(*parts)


@pytest.mark.parametrize(
    ("role", "period"), [("king", "2026"), ("analyst", ""), ("analyst", "x" * 41)]
)
def test_contexts_are_known_roles_and_short_periods(role, period):
    with refused(InvalidMessageError, "identity.context"):
        Context(role, period)


# --- tokens and uploads --------------------------------------------------------------------------


def send(world: World, holder, token: str, *, counter: int, **changes):
    upload = Upload("PUT", "/columns/1", token, counter, sm3_digest(b"body"))
    signature = sign_upload(upload, key=holder.key_in(UPLOAD))
    signed_by = changes.pop("holder", holder.key_in(UPLOAD).public_key)
    claims = changes.pop("claims", None) or claims_of(token)
    admit_upload(
        replace(upload, **changes),
        signature=signature,
        claims=claims,
        holder=signed_by,
        engine=world.platform,
        now=NOW,
    )


@pytest.fixture
def signed_in(world, member):
    holder, credential = member
    world.register(holder, credential)
    return holder, world.log_in(holder)


def test_a_replayed_upload_is_refused(world, signed_in):
    holder, token = signed_in
    send(world, holder, token, counter=5)
    for counter in (4, 1, 3):  # overtaken, and new all the same
        send(world, holder, token, counter=counter)
    for counter in (5, 4, 1, 3):
        with refused(StaleMessageError, "authenticity.counter"):
            send(world, holder, token, counter=counter)
    send(world, holder, token, counter=6)


def test_counters_that_are_sent_at_once_are_all_taken_and_those_behind_are_closed(world):
    def take(counter: int) -> None:
        take_counter(world.platform, subject="one", counter=counter)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, sorted(range(1000, 1064), key=lambda n: n * 37 % 64)))
    for counter in range(2000, 2000 + WINDOW):
        take(counter)
    for closed in (1, 999, 1063, 2000):
        with refused(StaleMessageError, "authenticity.counter"):
            take(closed)
    take(2000 + WINDOW)


@pytest.mark.parametrize("counter", [0, 10**18 + 1])
def test_a_counter_is_in_range(world, signed_in, counter):
    with refused(StaleMessageError, "authenticity.counter"):
        send(world, *signed_in, counter=counter)


@pytest.mark.parametrize(
    "change",
    [
        {"body_digest": sm3_digest(b"other")},
        {"method": "POST"},
        {"path": "/columns/2"},
        {"counter": 6},
        {"counter": 2**64},
        {"token": "another"},
    ],
)
def test_a_swapped_part_of_an_upload_is_refused(world, signed_in, change):
    holder, token = signed_in
    upload = Upload("PUT", "/columns/1", token, 5, sm3_digest(b"body"))
    signature = sign_upload(upload, key=holder.key_in(UPLOAD))
    with refused(SignatureError, "authenticity.upload"):
        admit_upload(
            replace(upload, **change),
            signature=signature,
            claims=claims_of(token),
            holder=holder.key_in(UPLOAD).public_key,
            engine=world.platform,
            now=NOW,
        )


def test_a_stolen_token_is_useless(world, signed_in):
    _, token = signed_in
    thief = new_holder()
    with refused(SignatureError, "authenticity.upload"):
        send(world, thief, token, counter=1)


def test_the_platform_pins_the_first_key(world, signed_in):
    holder, token = signed_in
    send(world, holder, token, counter=1)
    other = new_holder()
    rekeyed = replace(
        claims_of(token), holder_thumbprint=other.key_in(UPLOAD).public_key.thumbprint
    )
    with refused(AccessDeniedError, "authenticity.holder-pin"):
        send(world, other, token, counter=2, claims=rekeyed)


def test_a_token_is_for_one_platform_and_five_minutes(signed_in):
    _, token = signed_in
    with refused(AccessDeniedError, "authenticity.token-audience"):
        claims_of(token, audience="rival")
    assert claims_of(token, now=NOW + TOKEN_LIFETIME - timedelta(seconds=1))
    with refused(StaleMessageError, "authenticity.token-time"):
        claims_of(token, now=NOW + TOKEN_LIFETIME)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256", "sgd_sm3_sm2"])
def test_another_algorithm_is_refused(signed_in, algorithm):
    _, token = signed_in
    _, payload, signature = token.split(".")
    header = {"alg": algorithm, "typ": "JWT", "kid": keys().signer.public_key.thumbprint}
    text = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    for tail in (signature, ""):
        with pytest.raises(AuthenticityError):
            claims_of(f"{text}.{payload}.{tail}")


def test_login_needs_the_holder_key_the_domain_and_a_new_challenge(world, signed_in):
    holder, _ = signed_in
    name, challenge = holder.name_in(UPLOAD), world.service.challenge(now=NOW)
    signature = generate_private_key().sign(b"whatever")
    with refused(SignatureError, "authenticity.signature"):
        world.service.log_in(name, domain=UPLOAD, challenge=challenge, signature=signature, now=NOW)
    with refused(StaleMessageError, "authenticity.challenge"):
        world.service.log_in(
            name,
            domain=UPLOAD,
            challenge=challenge,
            signature=holder.sign_in(UPLOAD, challenge=challenge),
            now=NOW,
        )
    with refused(AccessDeniedError, "authenticity.registration"):
        world.service.log_in(
            name,
            domain=SETTLE,
            challenge=world.service.challenge(now=NOW),
            signature=signature,
            now=NOW,
        )
    with refused(AccessDeniedError, "authenticity.registration"):
        world.log_in(new_holder())


def test_a_revoked_pseudonym_is_out_at_once(world, signed_in):
    holder, _ = signed_in
    assert revoke(world.service.engine, subject=holder.name_in(UPLOAD), reference="w", now=NOW)
    assert not revoke(world.service.engine, subject=holder.name_in(UPLOAD), reference="w", now=NOW)
    with refused(AccessDeniedError, "authenticity.registration"):
        world.log_in(holder)


def test_an_unknown_key_is_nobodys(world):
    with refused(NotFoundError, "not-found.enrolment"):
        identity_of(world.issuer.engine, key=b"\2" + bytes(32))


# --- settlement ----------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["account", "domain", "challenge"])
def test_a_settlement_proof_is_for_its_account_domain_and_challenge(wrong):
    one, two = new_holder(), new_holder()
    (nym,), proof = prove_settlements([one.m1], domain=SETTLE, challenge=b"1", suite=suite())
    owner = two if wrong == "account" else one
    with refused(SignatureError, "authenticity.settlement"):
        verify_settlements(
            [(nym, suite().group.multiply(suite().g, scalar=owner.m1))],
            proof,
            domain=UPLOAD if wrong == "domain" else SETTLE,
            challenge=b"2" if wrong == "challenge" else b"1",
            suite=suite(),
        )


# --- grants --------------------------------------------------------------------------------------


@pytest.fixture
def wallet(world: World) -> Wallet:
    return Wallet(world.enrol(new_holder(), "analyst 1", ANALYST), QUOTA)


def ask(wallet: Wallet, query: bytes = b"query"):
    return wallet.ask(
        audience="platform", digest=sm3_digest(query), keys=keys().public, suite=suite()
    )


def grant(
    world: World, message: bytes, query: bytes = b"query", quota: Quota = QUOTA
) -> GivenGrant:
    question = Question(quota, "platform", sm3_digest(query))
    return world.service.grant(message, question=question, now=NOW)


def test_eight_grants_and_no_ninth(world, wallet):
    subjects = set()
    for _ in range(8):
        wallet, message = ask(wallet)
        given = grant(world, message)
        for audience, token in given.tokens.items():
            claims = claims_of(token, audience=audience)
            check_query(claims, query=b"query")
            subjects.add(claims.subject)
            assert claims.expires_at == given.expires_at == NOW + GRANT_LIFETIME
            assert claims.holder_thumbprint is None
        assert list(given.tokens) == ["platform", "authority"]
    assert len(subjects) == 1  # the query, not the analyst
    with pytest.raises(ValueError, match="below its limit"):
        ask(wallet)


def test_a_used_nonce_is_refused_for_every_query(world, wallet):
    _, message = ask(wallet)
    grant(world, message)
    with refused(StaleMessageError, "authenticity.spent"):
        grant(world, message)
    _, other = ask(wallet, b"other query")
    with refused(StaleMessageError, "authenticity.spent"):
        grant(world, other, b"other query")


def test_a_nonce_beyond_the_limit_cannot_be_hidden(world, wallet):
    """Nor does the statement of another limit pass; a lied digit is among the ablations."""
    wider = Quota(ANALYST, QUOTA.epoch, 16)
    question = Question(wider, "platform", sm3_digest(b"query"))
    message = request_grant(
        wallet.credential, nonce=9, question=question, issuer=keys().public.issuer, suite=suite()
    )
    assert len(message) == grant_bytes(16)
    with refused(InvalidMessageError, "identity.length"):
        grant(world, message)


@pytest.mark.parametrize("changed", ["query", "audience", "epoch", "period"])
def test_a_grant_is_for_its_question(wallet, changed):
    _, message = ask(wallet)
    question = Question(QUOTA, "platform", sm3_digest(b"query"))
    other = {
        "query": replace(question, digest=sm3_digest(b"other")),
        "audience": replace(question, audience="rival"),
        "epoch": replace(question, quota=replace(QUOTA, epoch="2026-04")),
        "period": replace(question, quota=replace(QUOTA, context=Context("analyst", "2027"))),
    }[changed]
    for asked in (question, other):
        if asked is question:
            assert len(check(message, asked)) == 33
        else:
            with refused(SignatureError, "authenticity.grant"):
                check(message, asked)


def check(message, question):
    return verify_grant(
        message,
        question=question,
        issuer=keys().public.issuer,
        key=keys().issuer,
        suite=suite(),
    )


def test_a_grant_token_is_for_its_query(world, wallet):
    _, message = ask(wallet)
    claims = claims_of(grant(world, message).tokens["platform"])
    with refused(SignatureError, "authenticity.query"):
        check_query(claims, query=b"another")
    with refused(SignatureError, "authenticity.query"):
        check_query(replace(claims, roles=("upload",)), query=b"query")


def test_grants_share_no_field(wallet):
    wallet, one = ask(wallet)
    _, two = ask(wallet)
    points = len(one) - 32 * 15
    fields = [
        {message[at : at + 33] for at in range(0, points, 33)}
        | {message[at : at + 32] for at in range(points, len(message), 32)}
        for message in (one, two)
    ]
    assert fields[0] & fields[1] == set()


@pytest.mark.parametrize("limit", [2, 3, 5, 8, 16, 100, 256])
def test_every_limit_admits_its_first_and_last_nonce(wallet, limit):
    quota = Quota(ANALYST, "2026-03", limit)
    question = Question(quota, "platform", sm3_digest(b"q"))
    tags = set()
    for nonce in (0, limit - 1):
        message = request_grant(
            wallet.credential,
            nonce=nonce,
            question=question,
            issuer=keys().public.issuer,
            suite=suite(),
        )
        assert len(message) == grant_bytes(limit)
        tags.add(check(message, question))
    assert len(tags) == 2


@pytest.mark.parametrize(
    ("context", "epoch", "limit"), [(METER, "e", 8), (ANALYST, "", 8), (ANALYST, "e", 1)]
)
def test_quotas_are_checked(context, epoch, limit):
    with refused(InvalidMessageError, "identity.quota"):
        Quota(context, epoch, limit)
    with refused(InvalidMessageError, "identity.quota"):
        Question(QUOTA, "platform", b"short")


def test_secrets_stay_out_of_reprs(member, wallet):
    holder, credential = member
    shown = f"{holder!r} {credential!r} {wallet!r} {keys().issuer!r} {keys().openers!r}"
    for secret in (holder.m1, credential.m1, keys().issuer.x1, keys().openers["utility"].k):
        assert str(secret) not in shown


def test_issuer_keys_travel_sealed_only_in_their_one_form():
    data = keys().issuer.to_bytes(suite())
    assert IssuerPrivateKey.from_bytes(data, suite=suite()).x1 == keys().issuer.x1
    public = keys().public.issuer
    assert type(public).from_bytes(public.to_bytes(suite()), suite=suite()) == public
    for wrong in (data[:-1], bytes(128), b"\xff" * 128):
        with pytest.raises(InvalidMessageError):
            IssuerPrivateKey.from_bytes(wrong, suite=suite())


def test_registrations_hold_the_holder_key(world, signed_in):
    found = find_registration(world.service.engine, subject=signed_in[0].name_in(UPLOAD))
    assert Sm2PublicKey(found.holder) == signed_in[0].key_in(UPLOAD).public_key
