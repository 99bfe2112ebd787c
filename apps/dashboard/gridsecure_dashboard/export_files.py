"""The buttons that export a table: CSV, XLSX and PDF, each with where its figures come from."""

from __future__ import annotations

import csv as csv_files
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import pandas as pd
import streamlit as st

from gridsecure.analyst.releases import Release
from gridsecure.analyst.reports import csv_bytes, harmless_label
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.exports import Sheet, pdf_bytes, xlsx_bytes
from gridsecure_dashboard.wording import ENGLISH, chosen_language, say, say_or, tell

# A PDF of more rows takes longer than a reader waits.
_MOST_PDF_ROWS = 2000


def _provenance(session: Session, release: Release, *, at: datetime) -> dict[str, str]:
    """Where the figures of a release come from, by the name of its column in a CSV file."""
    return {
        "certificate_digest": release.certificate_digest,
        "rule": f"{release.policy or figures.NOTHING}, minimum {release.largest_minimum}",
        "exported_by": session.user,
        "exported_at": at.isoformat(timespec="seconds"),
    }


def _make_sheet(
    session: Session,
    release: Release,
    *,
    columns: Mapping[str, int],
    rows: Sequence[Mapping[str, object]],
    at: datetime,
) -> Sheet:
    """A table of a release with its provenance, in the reader's language, as `show_exports`."""
    zone = access.local_timezone()
    period = figures.period(release.start.isoformat(), release.end.isoformat())
    policy = tell("export_rule", policy=release.policy or "–", minimum=release.largest_minimum)
    facts = {
        "period": period,
        "release_shown": release.release_id,
        "certificate_digest": release.certificate_digest,
        "signer": release.signer,
        "released_at": figures.moment(release.released_at, zone=zone),
        "export_rule_name": policy.replace("  \n", " "),
        "exported_by": f"{session.user} ({', '.join(sorted(session.roles))})",
        "exported_at": figures.moment(at, zone=zone),
    }
    return Sheet(
        title=f"{period} {say_or('plan', release.plan)}",
        titles=[say(key) for key in columns],
        places=list(columns.values()),
        rows=[[row[key] for key in columns] for row in rows],  # type: ignore[misc]  # as documented
        notes=[(say(key), text) for key, text in facts.items()],
        at=at,
    )


def show_exports(
    session: Session,
    release: Release,
    *,
    shown: tuple[Mapping[str, int], Sequence[Mapping[str, object]]],
    csv: tuple[pd.DataFrame, Sequence[str]],
) -> None:
    """Offer a table of a release as files, which are made when somebody clicks.

    Args:
        shown: What people read: keys of the titles, in order, with the decimals of their numbers,
            and rows by the same keys: text, int, Decimal, or None for what was not released.
        csv: What programs read: a table as `reports.csv_bytes` takes it, and its columns.
    """
    at, name = datetime.now(access.local_timezone()), release.release_id
    sheet = _make_sheet(session, release, columns=shown[0], rows=shown[1], at=at)
    source = _provenance(session, release, at=at)
    text = partial(csv_bytes, csv[0], release_id=name, columns=csv[1], source=source)
    _offer(sheet, text, name=name)
    st.caption(tell("export_note"))


def show_plain_exports(
    session: Session,
    *,
    name: str,
    title: str,
    columns: Mapping[str, int],
    rows: Sequence[Mapping[str, object]],
    facts: Mapping[str, str],
) -> None:
    """Offer a table that is of no release as the same files.

    Args:
        name: Of the files, without a suffix.
        columns: Keys of the titles, in order, with the decimals of their numbers.
        rows: By the same keys: text, int, Decimal, or None.
        facts: Where it comes from: key of each fact's name, and its text.
    """
    at = datetime.now(access.local_timezone())
    exported = {"exported_by": session.user, "exported_at": at.isoformat(timespec="seconds")}
    sheet = Sheet(
        title=title,
        titles=[say(key) for key in columns],
        places=list(columns.values()),
        rows=[[row[key] for key in columns] for row in rows],  # type: ignore[misc]  # as documented
        notes=[(say(key), text) for key, text in {**facts, **exported}.items()],
        at=at,
    )
    _offer(sheet, partial(_plain_csv, columns, rows, exported), name=name)
    st.caption(tell("export_note_plain"))


def _plain_csv(
    columns: Mapping[str, int], rows: Sequence[Mapping[str, object]], exported: Mapping[str, str]
) -> bytes:
    """Rows as programs read them; the byte order mark is for spreadsheets."""
    text = io.StringIO()
    writer = csv_files.writer(text, lineterminator="\n")
    writer.writerow([*columns, *exported])
    for row in rows:
        cells = ["" if row[key] is None else str(row[key]) for key in columns]
        writer.writerow([harmless_label(cell) for cell in (*cells, *exported.values())])
    return text.getvalue().encode("utf-8-sig")


def _offer(sheet: Sheet, text: Callable[[], bytes], *, name: str) -> None:
    is_chinese = chosen_language() != ENGLISH
    kinds: dict[str, tuple[Callable[[], bytes], str]] = {
        "csv": (text, "text/csv"),
        "xlsx": (
            partial(xlsx_bytes, sheet, notes_title=say("export_source")),
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ),
        "pdf": (partial(pdf_bytes, sheet, is_chinese=is_chinese), "application/pdf"),
    }
    if len(sheet.rows) > _MOST_PDF_ROWS:
        del kinds["pdf"]
    with st.container(horizontal=True):
        for kind, (content, mime) in kinds.items():
            st.download_button(
                say(f"download_{kind}"),
                content,
                file_name=f"{name}.{kind}",
                mime=mime,
                icon=":material/download:",
                key=f"{kind}_{name}",
                on_click="ignore",
            )
