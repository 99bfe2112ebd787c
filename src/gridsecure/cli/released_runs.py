"""A run that a member of the billing staff orders, waits for and has released, in one command."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from gridsecure.cli.on_use import on_use
from gridsecure.errors import GridSecureError

with on_use():
    from gridsecure.cli import online

_EVERY_S: Final = 0.5
_AT_WORK: Final = {"running", "waiting", "queued"}


def release_run(
    identity: str, services: Mapping[Any, str], order: Mapping[str, str], *, key: Path
) -> dict[str, Any]:
    """Order a run, wait for it, and start a release round.

    Args:
        identity: The identity service's address.
        services: Addresses of the platform and of the key authority.
        order: What is run, as the platform takes it.
        key: The person's.

    Returns:
        The run's id, and what came of the round.

    Raises:
        GridSecureError: It could not be computed; nothing was released.
    """
    with online.person(identity, key=key, services=dict(services)) as call:
        run_id = call("platform", "POST", "/runs", json=dict(order))["run_id"]
        run = wait_for(lambda: call("platform", "GET", f"/runs/{run_id}"))
        if run["state"] != "done":
            raise GridSecureError(
                run.get("message") or "The run could not be computed.",
                reason=run.get("reason") or "run.failed",
                remedy="Look at the run at the platform; nothing was released.",
            )
        outcomes = call("authority", "POST", "/release-rounds")
    return {"run": run_id, "outcomes": outcomes}


def wait_for(ask: Callable[[], Any], *, while_in: set[str] = _AT_WORK) -> Any:
    """Ask again until what is asked about no longer runs; a terminal shows how far it is."""
    told = ask()
    if told["state"] in while_in:
        with Console(stderr=True).status(_step(told)) as shown:
            while (told := ask())["state"] in while_in:
                shown.update(_step(told))
                time.sleep(_EVERY_S)
    return told


def _step(told: Mapping[str, Any]) -> str:
    """What is at work, as in "encrypt 3 of 12"."""
    stage, of = told.get("stage") or told["state"], told.get("of") or 0
    return f"{stage} {told.get('done') or 0:,} of {of:,}" if of else str(stage)


def show_outcomes(document: Mapping[str, Any], console: Console) -> None:
    """Write what came of a release round."""
    if not document["outcomes"]:
        console.print("Nothing waited for a release.")
    for one in document["outcomes"]:
        console.print(" ".join(filter(None, (one["state"], one["release_id"], one["reason"]))))
