"""What all tests share: how hard hypothesis searches, marks of costs, PostgreSQL, read messages.

`dev` is the default and keeps `make test` short. `ci` (HYPOTHESIS_PROFILE=ci, used by
`make test-all`) searches ten times as far and prints how to repeat a failure; `quick` (used by
`make quick`) looks at five examples. None has a
deadline: one homomorphic operation takes longer on a busy machine than any fixed limit.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.costs import COSTS, QUICK, mark_costs
from tests.postgres_server import database_url, postgres_server, postgres_url
from tests.python_leaks import watched_errors

__all__ = ["database_url", "postgres_server", "postgres_url"]

# Making a key set takes a fair part of a second, which hypothesis would call an unhealthy test.
SLOW_INPUTS = [HealthCheck.too_slow]

settings.register_profile("quick", max_examples=5, deadline=None, suppress_health_check=SLOW_INPUTS)
settings.register_profile("dev", max_examples=30, deadline=None, suppress_health_check=SLOW_INPUTS)
settings.register_profile(
    "ci", max_examples=300, deadline=None, suppress_health_check=SLOW_INPUTS, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def pytest_configure(config: pytest.Config) -> None:
    """Name the marks that tests get from their costs."""
    for kind in (*COSTS, QUICK):
        config.addinivalue_line("markers", f"{kind}: see tests/costs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test with its costs."""
    mark_costs(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """No error that a test makes has words of Python in what people read of it."""
    with watched_errors() as found:
        outcome = yield
    assert found == [], "these messages have words of Python in them"
    return outcome
