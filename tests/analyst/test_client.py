"""Nothing unsigned, foreign or below the minimum comes out of the client."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from gridsecure.analyst.client import Addresses, ReleaseClient
from gridsecure.analyst.releases import PinnedAuthority, pin_authority
from gridsecure.analyst.runs import RunOrder, month_bounds
from gridsecure.crypto.sm2 import generate_private_key
from gridsecure.errors import (
    AccessDeniedError,
    AuditBrokenError,
    AuthenticityError,
    CiphertextError,
    ConflictError,
    GridSecureError,
    InputError,
    InvalidMessageError,
    NotFoundError,
    ReleaseRefusedError,
    SignatureError,
    StorageError,
)
from gridsecure.messages import KeyNotice, sign_message
from gridsecure.wire.sessions import Session
from tests.analyst.zone_services import (
    BILL_ID,
    CURVE_ID,
    END,
    MONTH,
    PASSWORD,
    RUN,
    START,
    ZoneServices,
    bill_cells,
    certificate,
    client_of,
)


@pytest.fixture
def services() -> ZoneServices:
    services = ZoneServices()
    services.publish(certificate())
    return services


def session_of(services: ZoneServices, role: str) -> Session:
    return client_of(services).sign_in(role, password=PASSWORD)


# --- signing in --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "wanted"),
    [
        ("billing", {"authority", "platform", "gateway"}),
        ("operator", {"authority", "platform", "gateway"}),
        ("analyst", {"authority"}),
        ("regulator", {"authority", "identity", "market"}),
        ("custodian", {"authority", "identity"}),
        ("stranger", {"authority"}),
    ],
)
def test_a_role_gets_tokens_for_its_services_only(services, role, wanted) -> None:
    session = session_of(services, role)
    assert set(session.tokens) == wanted
    assert session.roles == {role}
    assert session.is_valid(at=datetime(2098, 1, 1, tzinfo=UTC))
    assert not session.is_valid(at=datetime(2099, 1, 1, tzinfo=UTC))


def test_a_wrong_password_says_what_to_do_and_repeats_nothing(services) -> None:
    with pytest.raises(AuthenticityError) as caught:
        client_of(services).sign_in("billing", password="not the password")
    assert caught.value.reason == "session.sign-in"
    assert caught.value.remedy
    assert "not the password" not in str(caught.value)


def test_tokens_are_in_no_repr(services) -> None:
    assert "billing:authority" not in repr(session_of(services, "billing"))


def test_a_service_that_refuses_the_user_is_left_out(services) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if b"gateway" in request.content:
            return httpx.Response(403, json={"reason": "authenticity.refused"})
        return services.handle(request)

    client = client_through(handle)
    session = client.sign_in("billing", password=PASSWORD)
    assert set(session.tokens) == {"authority", "platform"}
    with pytest.raises(AccessDeniedError, match="gateway"):
        client.month(session, month="2026-07")


def test_an_ended_session_is_told_apart(services) -> None:
    session = session_of(services, "billing")
    services.tokens_expired = True
    with pytest.raises(AuthenticityError) as caught:
        client_of(services).releases(session)
    assert caught.value.reason == "authenticity.refused"
    assert "Sign in again" in caught.value.remedy


# --- releases ----------------------------------------------------------------------------------


def test_a_release_is_read_after_its_signature_verified(services) -> None:
    release = client_of(services).release(session_of(services, "billing"), release_id=BILL_ID)
    assert release.signer == services.key.public_key.thumbprint
    assert (release.start.isoformat(), release.end.isoformat()) == (START, END)
    assert {cell.value for cell in release.cells if cell.zone == "luohu"} == {
        900, 250_000_001, 17_000_001, None
    }  # fmt: skip


def test_a_forged_certificate_is_refused(services) -> None:
    services.forge = True
    with pytest.raises(SignatureError) as caught:
        client_of(services).release(session_of(services, "billing"), release_id=BILL_ID)
    assert caught.value.reason == "release.signature"


def test_another_key_than_the_pinned_one_is_refused(services) -> None:
    client = client_of(services, pinned=generate_private_key())
    with pytest.raises(SignatureError) as caught:
        client.release(session_of(services, "billing"), release_id=BILL_ID)
    assert caught.value.reason == "release.signature"


def test_another_kind_of_signed_message_is_refused(services) -> None:
    notice = KeyNotice(
        key_id="k", gateway="a" * 64, generation=1, parameters="p",
        parameters_digest="d", public_key="k",
        relinearisation_keys=None, created_at=START,
    )  # fmt: skip
    content = sign_message(notice, key=services.key).model_dump_json().encode()
    client = client_through(lambda _: httpx.Response(200, content=content), services)
    with pytest.raises(SignatureError) as caught:
        client.release(session_of(services, "billing"), release_id=BILL_ID)
    assert caught.value.reason == "release.signature"


def test_another_release_than_asked_for_is_refused(services) -> None:
    services.certificates[CURVE_ID] = certificate()
    with pytest.raises(SignatureError) as caught:
        client_of(services).release(session_of(services, "billing"), release_id=CURVE_ID)
    assert caught.value.reason == "release.swapped"


def test_a_value_below_the_minimum_is_refused(services) -> None:
    services.publish(certificate(cells=bill_cells([("futian", "shop", 14, 1000, 60)])))
    with pytest.raises(ReleaseRefusedError) as caught:
        client_of(services).release(session_of(services, "billing"), release_id=BILL_ID)
    assert caught.value.reason == "release.unsuppressed"


@pytest.mark.parametrize(
    "change",
    [
        {"measure": "energy_mwh"},
        {"value": "1.5"},
        {"value": "1e3"},
        {"value": " 12"},
        {"value": "9" * 40},
        {"start": "2026-07-01T00:00:00"},
        {"end": "August"},
    ],
)
def test_a_signed_cell_of_another_form_is_refused(services, change) -> None:
    cells = bill_cells()
    cells[0] = cells[0].model_copy(update=change)
    services.publish(certificate(cells=cells))
    with pytest.raises(InvalidMessageError) as caught:
        client_of(services).release(session_of(services, "billing"), release_id=BILL_ID)
    assert caught.value.reason == "release.malformed"
    assert "9" * 40 not in str(caught.value)


@pytest.mark.parametrize("blanks", [True, False])
def test_a_regulator_gets_no_value_even_if_the_service_sends_some(services, blanks) -> None:
    services.blanks_for_regulator = blanks
    release = client_of(services).release(session_of(services, "regulator"), release_id=BILL_ID)
    assert release.cells
    assert all(cell.value is None for cell in release.cells)
    assert (release.signed_text is None) is not blanks
    assert "24567891" not in repr(release)


def test_releases_are_listed_newest_first(services) -> None:
    older = certificate(plan="load-curve")
    services.publish(older.model_copy(update={"released_at": "2026-08-01T00:00:00+00:00"}))
    listed = client_of(services).releases(session_of(services, "analyst"))
    assert [item.release_id for item in listed] == [BILL_ID, CURVE_ID]
    assert (listed[0].cells, listed[0].suppressed) == (12, 3)


@pytest.mark.parametrize("point", ["", "04", "zz" * 65, "04" + "11" * 64])
def test_a_pinned_key_that_is_none_is_refused(point) -> None:
    with pytest.raises(InputError) as caught:
        pin_authority(point)
    assert caught.value.reason == "settings.authority-key"


def test_a_pinned_key_is_the_authoritys() -> None:
    key = generate_private_key().public_key
    assert pin_authority(key.point.hex()).thumbprint == key.thumbprint


# --- runs, rounds, months ----------------------------------------------------------------------


def test_a_bill_run_from_order_to_release() -> None:
    services = ZoneServices()
    client, session = client_of(services), session_of(services, "operator")
    bounds = month_bounds("2026-07", timezone="Asia/Shanghai")
    assert bounds == (START, END)
    run_id = client.start_run(session, RunOrder("bill", *bounds, purpose="monthly bill run"))
    run = client.run(session, run_id=run_id)
    assert (run.state, run.done, run.of, run.start) == ("running", 1, 2, START)
    services.runs[0] |= {"state": "done", "request_id": "request-1"}
    assert client.runs(session)[0].state == "done"
    (outcome,) = client.start_release_round(session)
    assert (outcome.state, outcome.release_id, outcome.reason) == ("released", BILL_ID, None)


def test_a_months_status() -> None:
    services = ZoneServices()
    status = client_of(services).month(session_of(services, "billing"), month="2026-07")
    assert status.state == "done"
    assert status.report is not None
    assert status.report.estimated == 820
    assert status.report.excluded == {"too-many-gaps": 6}
    assert status.report.seconds["encrypt"] == 20.25


def test_an_operator_and_nobody_else_starts_a_month() -> None:
    services = ZoneServices()
    services.months["2026-07"] = {"state": "interrupted"}
    client = client_of(services)
    with pytest.raises(AccessDeniedError):
        client.start_month(session_of(services, "billing"), month="2026-07")
    operator = session_of(services, "operator")
    assert client.month(operator, month="2026-07").state == "interrupted"
    assert client.start_month(operator, month="2026-07").state == "running"


def test_a_month_nobody_loaded() -> None:
    services = ZoneServices()
    with pytest.raises(NotFoundError):
        client_of(services).month(session_of(services, "billing"), month="2026-06")


@pytest.mark.parametrize("month", ["2026-13", "2026-7", "../status", "", "２０２６-07"])
def test_what_is_not_a_month_is_never_asked_for(month) -> None:
    services = ZoneServices()
    session = session_of(services, "billing")
    services.asked.clear()
    with pytest.raises(InputError):
        client_of(services).month(session, month=month)
    assert services.asked == []


def test_a_name_cannot_leave_its_path(services) -> None:
    session = session_of(services, "billing")
    with pytest.raises(NotFoundError):
        client_of(services).release(session, release_id="../status?x=1")
    assert services.asked[-1] != "GET /status"


# --- services that fail ------------------------------------------------------------------------


def client_through(handle, services: ZoneServices | None = None) -> ReleaseClient:
    key = services.key if services else generate_private_key()
    return ReleaseClient(
        httpx.Client(transport=httpx.MockTransport(handle)),
        addresses=Addresses(*(f"http://{name}.test" for name in "iapg")),
        authority=PinnedAuthority(key.public_key),
    )


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "tariff.invalid", InputError),
        (401, "authenticity.refused", AuthenticityError),
        (403, "authenticity.refused", AccessDeniedError),
        (403, "release.group-too-small", ReleaseRefusedError),
        (404, "run.empty", NotFoundError),
        (409, "conflict.upload", ConflictError),
        (409, "ciphertext.malformed", CiphertextError),
        (409, "plan.noise", CiphertextError),
        (422, "message.invalid", InvalidMessageError),
        (500, "audit.broken", AuditBrokenError),
        (500, "internal", GridSecureError),
        (507, "storage.failed", StorageError),
    ],
)
def test_a_refusal_keeps_its_class_and_reason(services, status, reason, kind) -> None:
    session = session_of(services, "billing")
    body = {"reason": reason, "detail": "What happened.", "remedy": "What to do."}
    client = client_through(lambda _: httpx.Response(status, json=body))
    with pytest.raises(GridSecureError) as caught:
        client.runs(session)
    assert type(caught.value) is kind
    assert (caught.value.reason, caught.value.message) == (reason, "What happened.")
    assert caught.value.remedy == "What to do."


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(502, text="<html>bad gateway</html>"), "service.failed"),
        (httpx.Response(500, json=["x"]), "service.failed"),
        (httpx.Response(302, headers={"location": "http://elsewhere.test"}), "service.redirect"),
        (httpx.Response(429), "service.too-many"),
    ],
)
def test_an_unexpected_answer_still_says_what_to_do(services, response, reason) -> None:
    session = session_of(services, "billing")
    with pytest.raises(GridSecureError) as caught:
        client_through(lambda _: response).runs(session)
    assert caught.value.reason == reason
    assert caught.value.remedy


def test_a_service_that_is_down(services) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    session = session_of(services, "billing")
    with pytest.raises(GridSecureError) as caught:
        client_through(fail).month(session, month="2026-07")
    assert caught.value.reason == "service.unreachable"
    assert "gateway" in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"null", b"[1]", b"{}", b"\xff", b"[{}]"),
        *(
            json.dumps([RUN | change]).encode()
            for change in ({"run_id": 1}, {"done": -1}, {"done": True}, {"state": "asleep"})
        ),
    ],
)
def test_an_answer_of_another_shape_is_an_error(services, content) -> None:
    session = session_of(services, "billing")
    client = client_through(lambda _: httpx.Response(200, content=content))
    with pytest.raises(InvalidMessageError) as caught:
        client.runs(session)
    assert caught.value.reason == "message.answer"


@pytest.mark.parametrize(
    "report",
    [
        *({"meters": "many"}, {"meters": -1}, {"problems": [1]}, {"problems": {"gap": -1}}),
        *({"seconds": {"a": "b"}}, {"seconds": {"a": True}}),
    ],
)
def test_a_month_of_another_shape_is_an_error(services, report) -> None:
    session = session_of(services, "billing")
    services.months["2026-07"] = MONTH | {"report": MONTH["report"] | report}
    with pytest.raises(InvalidMessageError):
        client_of(services).month(session, month="2026-07")


@pytest.mark.parametrize(
    "change", [{"expires_at": "soon"}, {"expires_at": "2026-07-01"}, {"roles": "billing"}]
)
def test_a_sign_in_answer_of_another_shape_is_an_error(change) -> None:
    body = {"token": "t", "expires_at": "2099-01-01T00:00:00Z", "roles": ["billing"]} | change
    client = client_through(lambda _: httpx.Response(200, json=body))
    with pytest.raises(InvalidMessageError):
        client.sign_in("billing", password=PASSWORD)
