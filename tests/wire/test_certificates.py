"""Certificates of a zone's authority: what they say, for how long, and when one is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridsecure.cli import online
from gridsecure.cli.main import app
from gridsecure.errors import ConflictError, GridSecureError, InputError, StorageError
from gridsecure.wire.certificates import (
    CA,
    CA_KEY,
    CERTIFICATE,
    KEY,
    CertificateOrder,
    issue,
    make_authority,
    read_certificates,
    read_validity,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOSTS = ("platform.example", "10.0.0.7", "::1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder / "ca", zone="platform", hosts=HOSTS, now=NOW)
    return folder / "ca"


def test_a_certificate_names_its_service_and_hosts_and_is_due_in_its_last_third(
    authority: Path, tmp_path: Path
) -> None:
    order = CertificateOrder("platform", HOSTS, timedelta(days=30))
    made = issue(authority, order, output=tmp_path, now=NOW)
    assert made == read_validity(tmp_path / CERTIFICATE)
    assert (made.service, made.hosts) == ("platform", HOSTS)
    assert made.ends == NOW + timedelta(days=30)
    assert not made.is_due(NOW + timedelta(days=19))
    assert made.is_due(NOW + timedelta(days=21))


def test_keys_are_their_owners_alone_and_an_authority_is_never_replaced(authority: Path) -> None:
    assert (authority / CA_KEY).stat().st_mode & 0o077 == 0
    before = (authority / CA).read_bytes()
    with pytest.raises(ConflictError):
        make_authority(authority, zone="platform", hosts=HOSTS, now=NOW)
    assert (authority / CA).read_bytes() == before


def test_no_certificate_outlives_its_authority(authority: Path, tmp_path: Path) -> None:
    late = read_validity(authority / CA).ends - timedelta(days=2)
    order = CertificateOrder("platform", HOSTS, timedelta(days=30))
    assert issue(authority, order, output=tmp_path, now=late).ends == late + timedelta(days=2)


def test_an_authority_says_for_which_hosts_it_signs(authority: Path, tmp_path: Path) -> None:
    (own,) = read_certificates(authority / CA)
    assert (own.is_authority, own.hosts) == (
        True,
        ("platform.example", "10.0.0.7/32", "::1/128"),
    )
    below = CertificateOrder("platform", ("a.platform.example",), timedelta(days=30))
    issue(authority, below, output=tmp_path, now=NOW)
    assert [one.is_authority for one in read_certificates(tmp_path / CERTIFICATE)] == [False, True]
    with pytest.raises(InputError):
        make_authority(tmp_path / "none", zone="platform", hosts=(), now=NOW)


@pytest.mark.parametrize(
    ("hosts", "days", "reason"),
    [
        ((), 30, "certificate.host"),
        (("http://platform.example",), 30, "certificate.host"),
        (("",), 30, "certificate.host"),
        (("authority.example",), 30, "certificate.host"),
        (("platform.example", "10.0.0.8"), 30, "certificate.host"),
        (HOSTS, 0, "certificate.lifetime"),
        (HOSTS, 399, "certificate.lifetime"),
    ],
)
def test_what_no_certificate_may_say_is_refused(
    authority: Path, tmp_path: Path, hosts: tuple[str, ...], days: int, reason: str
) -> None:
    order = CertificateOrder("platform", hosts, timedelta(days=days))
    with pytest.raises(InputError) as refused:
        issue(authority, order, output=tmp_path / "out", now=NOW)
    assert refused.value.reason == reason
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damaged", [CA, CA_KEY])
def test_a_damaged_authority_signs_nothing(authority: Path, tmp_path: Path, damaged: str) -> None:
    for name in (CA, CA_KEY):
        text = b"no PEM" if name == damaged else (authority / name).read_bytes()
        (tmp_path / name).write_bytes(text)
    order = CertificateOrder("platform", HOSTS, timedelta(days=30))
    with pytest.raises(StorageError):
        issue(tmp_path, order, output=tmp_path / "out", now=NOW)


def test_the_commands_make_show_and_renew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["tls", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    monkeypatch.setattr(online, "utc_now", lambda: NOW)
    ca, own = str(tmp_path / "ca"), tmp_path / "platform"
    assert "Give the neighbours" in run(
        *("authority", ca, "--zone", "platform", "--host", "platform.example"),
        *("--host", "10.0.0.7"),
    )
    made = run(
        *("issue", str(own), "--authority", ca, "--service", "platform"),
        *("--host", "platform.example", "--host", "10.0.0.7", "--days", "30"),
    )
    assert made == "platform at platform.example, 10.0.0.7, good until 2026-12-30 12:00 UTC\n"
    key = (own / KEY).read_bytes()
    assert run("renew", str(own), "--authority", ca) == f"Not yet due. {made}"
    assert (own / KEY).read_bytes() == key
    monkeypatch.setattr(online, "utc_now", lambda: NOW + timedelta(days=25))
    assert "2027-01-24" in run("renew", str(own), "--authority", ca)
    assert (own / KEY).read_bytes() != key
    shown, authority = run("show", str(own / CERTIFICATE)).splitlines()
    assert "2027-01-24" in shown
    assert "of platform, for platform.example, 10.0.0.7/32, good until" in authority


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(GridSecureError) as refused:
        read_validity(tmp_path / "missing.pem")
    assert refused.value.reason == "certificate.files"
