"""The pages of security level and managed keys: what they say, and what they never show."""

from __future__ import annotations

from gridsecure.policy.levels import load_level
from tests.analyst.zone_services import MANAGED
from tests.apps.test_dashboard import browser, on_page, sent, services

__all__ = ["browser", "services"]


def changes(app) -> list[str]:
    return [text.split()[-1] for text in app.dataframe[0].value["level_change"].tolist() if text]


def test_without_a_level_the_page_says_what_one_would_ask_for(services) -> None:
    app = on_page("regulator", "level")
    assert [metric.value for metric in app.metric] == ["未设定 None", "5"]
    assert "No service is held to a level" in app.info[0].value
    assert changes(app) == ["Stricter"] * 6
    app.selectbox(key="level_compare").select("L3").run()
    now = dict(
        zip(*(app.dataframe[0].value[name] for name in ("level_switch", "level_now")), strict=True)
    )
    found = {switch.split()[-1]: said for switch, said in now.items()}
    assert "Falls short" in found["groups"]  # the policy in force is the billing office's
    assert "gridsecure level explain L3 --policy billing-office" in app.code[0].value


def test_a_level_in_force_is_compared_with_the_next_one(services) -> None:
    level = load_level("L2")
    services.offices.level = {"name": level.name, "digest": level.digest}
    app = on_page("data-owner", "level")
    assert app.metric[0].value == "L2"
    assert app.selectbox(key="level_compare").value == "L3"
    wants = app.dataframe[0].value["level_wants"].tolist()
    assert "15" in wants[1]
    assert changes(app) == ["Stricter"] * 4  # sandbox and attestation are the same
    assert not app.error


def test_a_level_of_ones_own_is_told_as_one(services) -> None:
    services.offices.level = {"name": "own", "digest": "ab" * 32}
    app = on_page("operator", "level")
    assert app.metric[0].value == "own"
    assert "a file of your own" in app.info[0].value


def test_keys_their_uses_and_what_was_used_are_the_organisations_own(services) -> None:
    services.used = [{"party": "grid", "measure": "signatures", "amount": 3}]
    app = on_page("member", "encryption")
    assert not app.error
    assert app.metric[0].value == "1"
    assert app.dataframe[0].value["managed_name"].tolist() == ["contracts"]
    assert app.dataframe[1].value["person"].tolist() == ["reviewer"]
    assert "3" in [metric.value for metric in app.metric]
    codes = [code.value for code in app.code]
    key = MANAGED["key_id"]
    assert key in codes
    assert any(f"eaas sign {key} FILE --identity" in code for code in codes)
    assert any(f"eaas rotate {key} " in code for code in codes)
    assert not any("eaas move" in code and "destroyed" in code for code in codes)


def test_an_organisation_without_keys_is_told_how_to_make_one(services) -> None:
    services.managed.clear()
    app = on_page("member", "encryption")
    assert "gridsecure eaas create NAME sm2" in app.code[0].value
    assert not app.error


def test_without_the_service_the_page_says_so(services, monkeypatch) -> None:
    monkeypatch.delenv("GRIDSECURE_DASHBOARD_ENCRYPTION_URL")
    app = on_page("member", "encryption")
    assert "`settings.encryption`" in app.error[0].value
    assert "eaas" not in sent(app)
