"""Guessing passwords: it ends soon for who guesses, and locks nobody else out."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gridsecure.errors import AuthenticityError, GridSecureError
from gridsecure.identity.enrolments.failed_attempts import (
    ALLOWED_FAILURES,
    ALLOWED_OF_ADDRESS,
    ALLOWED_OF_NAME,
    FAILURE_WINDOW,
    FailedAttempts,
)
from gridsecure.loopback import source_of
from tests.attacks import Attacked, attack, cut, rule
from tests.grid_simulator import NOW

HOME, STRANGER = "192.0.2.1", "198.51.100.7"


def fail(failures: FailedAttempts, name: str, address: str, *, at=NOW) -> None:
    with (
        pytest.raises(AuthenticityError),
        failures.attempt(name, address=address, now=at),
    ):
        raise AuthenticityError("wrong")


def is_heard(failures: FailedAttempts, name: str, address: str, *, at=NOW) -> bool:
    """Whether an attempt is heard; one that is counts as a success."""
    try:
        with failures.attempt(name, address=address, now=at):
            return True
    except GridSecureError as error:
        return error.reason != "sign-in.attempts"


def test_a_stranger_locks_a_name_out_at_the_strangers_address_alone() -> None:
    failures = FailedAttempts()
    for _ in range(ALLOWED_FAILURES):
        fail(failures, "anna", STRANGER)
    assert not is_heard(failures, "anna", STRANGER)
    assert is_heard(failures, "anna", HOME)
    assert is_heard(failures, "anna", STRANGER, at=NOW + FAILURE_WINDOW)


def test_guesses_from_everywhere_end_and_leave_who_signed_in_before() -> None:
    failures = FailedAttempts()
    assert is_heard(failures, "anna", HOME)
    for number in range(ALLOWED_OF_NAME):
        fail(failures, "anna", f"203.0.113.{number}")
    assert not is_heard(failures, "anna", STRANGER)
    assert is_heard(failures, "anna", HOME)
    assert is_heard(failures, "bert", STRANGER)


def test_one_address_does_not_try_all_names() -> None:
    failures = FailedAttempts()
    for number in range(ALLOWED_OF_ADDRESS):
        fail(failures, f"name {number}", STRANGER)
    assert not is_heard(failures, "anna", STRANGER)
    assert is_heard(failures, "anna", HOME)


def test_a_success_and_an_attempt_that_nobody_heard_do_not_count() -> None:
    failures = FailedAttempts()
    for step in range(2 * ALLOWED_OF_ADDRESS):
        fail(failures, "slow", HOME, at=NOW + step * FAILURE_WINDOW / 4)
        assert is_heard(failures, "good", STRANGER)
    for _ in range(2 * ALLOWED_FAILURES):
        with (
            pytest.raises(GridSecureError),
            failures.attempt("unheard", address=STRANGER, now=NOW),
        ):
            raise GridSecureError("full", reason="service.busy")
    assert is_heard(failures, "unheard", STRANGER)


def test_attempts_that_are_made_at_once_count_before_they_are_heard() -> None:
    failures = FailedAttempts()
    claims = [failures.attempt("anna", address=HOME, now=NOW) for _ in range(ALLOWED_FAILURES)]
    for claim in claims:
        claim.__enter__()
    assert not is_heard(failures, "anna", HOME, at=NOW + timedelta(seconds=1))


def test_counters_beyond_the_limit_push_out_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridsecure.identity.enrolments.failed_attempts.MAX_NAMES", 30)
    failures = FailedAttempts()
    for number in range(40):
        fail(failures, f"name {number}", f"n{number}")
    assert len(failures._failures) == 30


@attack(
    "a locked name freed by sign-ins that nobody heard",
    rule(
        "What was not heard leaves no counter, which would push out others'.",
        "sign-in.attempts",
        cut(
            "gridsecure.identity.enrolments.failed_attempts:FailedAttempts._uncount",
            "if not self._failures[one]:",
            "if False:",
        ),
    ),
)
def test_attempts_that_nobody_heard_push_out_no_counter(
    monkeypatch: pytest.MonkeyPatch, attacked: Attacked
) -> None:
    monkeypatch.setattr("gridsecure.identity.enrolments.failed_attempts.MAX_NAMES", 30)
    failures = FailedAttempts()
    for _ in range(ALLOWED_FAILURES):
        fail(failures, "anna", STRANGER)
    for number in range(30):
        with (
            pytest.raises(GridSecureError),
            failures.attempt(f"name {number}", address=f"n{number}", now=NOW),
        ):
            raise GridSecureError("full", reason="service.busy")
    attacked.ends("" if is_heard(failures, "anna", STRANGER) else "sign-in.attempts")


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
        ("", "nowhere"),
    ],
)
def test_an_address_is_whose_it_may_be(address: str, source: str) -> None:
    assert source_of(address) == source
