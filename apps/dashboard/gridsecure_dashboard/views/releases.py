"""Releases and their evidence: the certificate as verified. A regulator sees no values."""

from __future__ import annotations

from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.certificates import VerifiedCertificate
from gridsecure.analyst.client import READERS_OF_VALUES
from gridsecure.analyst.releases import Release, ReleasedCell
from gridsecure.analyst.reports import amount_yuan, energy_kwh
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.chooser import choose_release, show_source
from gridsecure_dashboard.settings import load_settings
from gridsecure_dashboard.tables import show_table
from gridsecure_dashboard.wording import class_names, say, say_or, tell, zone_names

# A month of half-hours by cell is tens of thousands of rows, more than a page is for.
_MOST_ROWS: Final = 2000
_FETCHES: Final = "regulator"  # the role that the platform gives ciphertexts to


def show() -> None:
    """The certificate of a release, what it rests on, and its cells."""
    session = access.enter(access.RELEASES)
    with access.explain_errors():
        release = choose_release(session, plan=None, empty="no_release")
        if release is None:
            return
        show_source(release)
        st.success(f"**{say('signature_ok')}**  \n{tell('signature_by')}")
        _certificate(release)
        _rests_on(release)
        st.header(say("cells"))
        if not session.roles & READERS_OF_VALUES:
            st.info(tell("no_role_values"), icon=":material/visibility_off:")
        _cells(release)
        if release.signed_text is None:
            st.caption(tell("verify_not_here"))
        else:
            _proof(session, release, release.signed_text)
            st.download_button(
                say("download_certificate"),
                release.signed_text,
                file_name=f"{release.release_id}.json",
                mime="application/json",
                icon=":material/download:",
            )


def _certificate(release: Release) -> None:
    st.header(say("certificate"))
    zone = access.local_timezone()
    fields = {
        "release_id": release.release_id,
        "plan": say_or("plan", release.plan),
        "plan_version": str(release.plan_version),
        "period": " – ".join(figures.moment(at, zone=zone) for at in (release.start, release.end)),
        "purpose": say_or("purpose", release.purpose),
        "requested_by": release.requested_by,
        "released_at": figures.moment(release.released_at, zone=zone),
        "minimum_members": str(release.minimum_members),
        "outputs_digest": release.outputs_digest,
        "evidence_head": release.evidence_head,
        "signer": release.signer,
    }
    table = pd.DataFrame({"field": [say(key) for key in fields], "value": list(fields.values())})
    show_table(table, titles={"field": say("field"), "value": say("value")}, wide=("value",))


def _proof(session: Session, release: Release, signed_text: str) -> None:
    """The offline verification, done here and by the reader, and the commands of a replay.

    A replay is no button: it reads ciphertexts, which no page has, and runs for as long as the
    computation did, in a confined process.
    """
    st.header(say("verify_title"))
    st.markdown(tell("verify_how"))
    if st.button(say("verify_button"), icon=":material/fact_check:", key="verify"):
        with access.explain_errors():
            _verified(access.open_client().verify_offline(signed_text))
    settings = load_settings()
    key = settings.authority_key
    st.caption(tell("verify_yourself"))
    st.code(commands.verify_certificate(key), language=None, wrap_lines=True)
    with st.expander(say("replay_title")):
        st.markdown(tell("replay_needs"))
        if _FETCHES in session.roles:
            st.caption(tell("replay_fetch"))
            fetch = commands.export_evidence(
                release.release_id,
                identity=settings.identity_url,
                platform=settings.platform_url,
                authority=settings.authority_url,
            )
            st.code(fetch, language=None, wrap_lines=True)
        else:
            st.caption(tell("replay_asked"))
        st.code(commands.replay_certificate(key), language=None, wrap_lines=True)
        st.caption(tell("replay_limits"))


def _verified(found: VerifiedCertificate) -> None:
    entry, zone = found.entry, access.local_timezone()
    st.success(
        "  \n".join(
            [
                f"**{say('verify_good')}**",
                tell("verify_step_signature"),
                tell("verify_step_cells", count=figures.count(len(found.release.cells))),
                tell("verify_step_log", index=entry.index, size=entry.checkpoint.size),
            ]
        ),
        icon=":material/verified:",
    )
    fields = {
        "log_origin": entry.checkpoint.origin,
        "entry_index": str(entry.index),
        "entry_hash": found.release.evidence_head,
        "logged_at": figures.moment(entry.at, zone=zone),
        "checkpoint_size": figures.count(entry.checkpoint.size),
        "checkpoint_root": entry.checkpoint.root.hex(),
    }
    table = pd.DataFrame({"field": [say(key) for key in fields], "value": list(fields.values())})
    show_table(table, titles={"field": say("field"), "value": say("value")}, wide=("value",),
               whole=True)  # fmt: skip
    st.caption(tell("verify_limits"))


def _rests_on(release: Release) -> None:
    with st.expander(f"{say('transcripts')} ({len(release.transcripts)})"):
        table = pd.DataFrame({"digest": list(release.transcripts)}, dtype=object)
        show_table(table, titles={"digest": say("digest")})
    if release.statements:
        with st.expander(f"{say('statements')} ({len(release.statements)})"):
            table = pd.DataFrame(sorted(release.statements.items()), columns=["roster", "digest"])
            titles = {"roster": say("roster"), "digest": say("digest")}
            show_table(table, titles=titles, wide=("digest",))


def _cells(release: Release) -> None:
    shown, zone = release.cells[:_MOST_ROWS], access.local_timezone()
    table = pd.DataFrame(
        {
            "zone": [zone_names(cell.parts) for cell in shown],
            "customer_class": [class_names(cell.parts) for cell in shown],
            "start": [figures.moment(cell.start, zone=zone) for cell in shown],
            "measure": [say_or("measure", cell.measure) for cell in shown],
            "members": [
                figures.count(cell.members)
                if not cell.is_small
                else say("fewer_than", minimum=cell.minimum or release.largest_minimum)
                for cell in shown
            ],
            "value": [_value(cell, release=release) for cell in shown],
        },
        dtype=object,
    )
    titles = {
        "zone": say("zone"),
        "customer_class": say("customer_class"),
        "start": say("start"),
        "measure": say("measure"),
        "members": say("meter_points"),
        "value": say("released_value"),
    }
    show_table(table, titles=titles, formats={"members": str, "value": str})
    if len(shown) < len(release.cells):
        st.caption(
            tell(
                "cells_shown",
                shown=figures.count(len(shown)),
                all=figures.count(len(release.cells)),
            )
        )


def _value(cell: ReleasedCell, *, release: Release) -> str:
    if cell.value is None:
        if cell.is_small:
            return say("state_suppressed")
        if cell.is_dominated:
            return say("above_share", limit=cell.limit)
        return say("state_protected" if release.values_shown else "state_withheld")
    if cell.measure == "energy_wh":
        return figures.decimal(energy_kwh(cell.value), places=3)
    if cell.measure == "amount_fen":
        return figures.decimal(amount_yuan(cell.value), places=2)
    return figures.count(cell.value)


if __name__ == "__main__":
    show()
