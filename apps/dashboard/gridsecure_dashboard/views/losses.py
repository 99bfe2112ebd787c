"""Losses: what feeders supplied to zones, as the reader states it, against released energy."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.losses import (
    AreaLoss,
    compute_losses,
    decode_supply,
    group_energies,
    read_supply,
)
from gridsecure.analyst.releases import LOAD_CURVE, Release
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.chooser import choose_release, show_source
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.money_tiles import energy_tile
from gridsecure_dashboard.phrases import PHRASES
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import joined_names, say, tell, zone_name

_LONGEST: Final = 1 << 20
_LARGEST_MB: Final = 4
_NONE: Final = Decimal(0)
# Streamlit's own words for it are English; how large a file may be is in our label.
_UPLOAD: Final = """<style>
[data-testid="stFileUploaderDropzone"] button p { font-size: 0 }
[data-testid="stFileUploaderDropzone"] button p::after { content: "TEXT"; font-size: 0.875rem }
[data-testid="stFileUploaderDropzoneInstructions"] { display: none }
</style>"""
_EXPORTED: Final = {
    "zone": 0, "supplied_kwh": 3, "released_kwh": 3, "lost_kwh": 3, "loss_ratio": 5,
}  # fmt: skip


def show() -> None:
    """Choose a release, state what was supplied, and see what was lost."""
    session = access.enter(access.LOSSES)
    with access.explain_errors():
        release = choose_release(session, plan=LOAD_CURVE, empty="no_curve_release")
        if release is None:
            return
        show_source(release)
        energies = group_energies(release)
        zones = sorted({zone for parts in energies for zone, _ in parts})
        if all(energy is None for energy in energies.values()):
            st.info(tell("nothing_visible"))
            return
        st.markdown(tell("losses_how"))
        st.code("\n".join(["zone,energy_kwh", *(f"{zone},0" for zone in zones)]), language=None)
        with st.form("supply"):
            text = st.text_area(
                say("losses_supply"), max_chars=_LONGEST, height=200, key="losses_supply"
            )
            st.html(_UPLOAD.replace("TEXT", say("losses_choose_file")))
            file = st.file_uploader(
                say("losses_file"), type=["csv", "tsv", "txt"], max_upload_size=_LARGEST_MB,
                key="losses_file",
            )  # fmt: skip
            st.form_submit_button(say("losses_compute"), type="primary", key="losses_compute")
        if file is not None:
            text = decode_supply(file.getvalue())
        if not text.strip():
            return
        supply = read_supply(text, start=release.start, end=release.end, names=_names(zones))
        _show(session, compute_losses(energies, supply), release)


def _names(zones: Sequence[str]) -> dict[str, str]:
    """What a reader may call a zone, in either language or as releases do."""
    found = {zone: zone for zone in zones}
    for zone in zones:
        found |= dict.fromkeys(PHRASES.get(f"zone_{zone}", ()), zone)
    return found


def _show(session: Session, losses: Sequence[AreaLoss], release: Release) -> None:
    _key_figures([one for one in losses if one.lost_kwh is not None])
    rows: list[dict[str, object]] = [
        {
            "zone": joined_names(one.zones, zone_name),
            "supplied_kwh": one.supplied_kwh,
            "released_kwh": one.released_kwh,
            "lost_kwh": one.lost_kwh,
            "loss_ratio": one.ratio,
            "cells_left_out": one.withheld,
        }
        for one in losses
    ]
    kwh = partial(figures.decimal, places=3)
    formats = dict.fromkeys(("supplied_kwh", "released_kwh", "lost_kwh"), kwh)
    show_table(
        pd.DataFrame(rows, dtype=object),
        titles={key: say(key) for key in (*_EXPORTED, "cells_left_out")},
        formats={**formats, "loss_ratio": figures.percent, "cells_left_out": figures.count},
        whole=True,
    )
    st.caption(tell("losses_areas"))
    period = figures.period(release.start.isoformat(), release.end.isoformat())
    show_plain_exports(
        session,
        name=f"losses-{release.release_id}",
        title=f"{period} {say('page_losses')}",
        columns=_EXPORTED,
        rows=rows,
        facts={
            "period": period,
            "release_shown": release.release_id,
            "certificate_digest": release.certificate_digest,
        },
    )


def _key_figures(known: Sequence[AreaLoss]) -> None:
    """What the areas whose loss is known come to."""
    if not known:
        st.info(tell("losses_none_known"))
        return
    supplied = sum((one.supplied_kwh or _NONE for one in known), _NONE)
    lost = sum((one.lost_kwh or _NONE for one in known), _NONE)
    key_figures(
        [
            energy_tile(supplied)._replace(label=say("supplied")),
            energy_tile(lost)._replace(label=say("lost")),
            Tile(say("loss_ratio"), figures.percent(lost / supplied if supplied else None)),
        ]
    )


if __name__ == "__main__":
    show()
