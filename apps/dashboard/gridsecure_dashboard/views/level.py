"""The security level in force: what each of its switches asks for, and what another level would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import pandas as pd
import streamlit as st

from gridsecure.analyst.policies import EVERY_SHARE, StandingPolicies
from gridsecure.analyst.service_levels import (
    ALL_SWITCHES,
    OF_POLICY,
    LevelShown,
    ServiceLevel,
    find_in_force,
    list_shown,
)
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, commands, figures
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import class_name, listed, plain, say, say_or, tell

_OTHERS: Final = "*"


def show() -> None:
    """What holds, what another level asks for, and what each service says of itself."""
    session = access.enter(access.LEVEL)
    with access.explain_errors():
        told = access.ask_levels()
        standing = access.open_client().policies(session)
        level = find_in_force(told)
        _head(told, level)
        other = _compared(level)
        _switches(session, (level, other), _Found(told, standing, other))
        _services(told)
        _commands(other, standing)


class _Found:
    """What holds now, against which a level is compared."""

    def __init__(
        self, told: Sequence[ServiceLevel], standing: StandingPolicies, other: LevelShown
    ) -> None:
        self._told, self._level = told, other.level
        self._short = other.count_shortfalls(standing)

    def says(self, switch: str) -> str:
        """Whether what is seen here keeps a switch of the level."""
        if switch in OF_POLICY and self._short is not None:
            count = self._short[switch]
            return say("level_short", count=count) if count else say("level_kept")
        if switch == "sandbox":
            seen = [one.is_confined for one in self._told if one.is_confined is not None]
            return _kept(all(seen) or not self._level.sandbox.required) if seen else figures.NOTHING
        if switch == "attestation":
            seen = [one.is_attested for one in self._told]
            return _kept(all(seen) or not self._level.attestation.pinned)
        return figures.NOTHING  # who has which share is the vault's custodians' to know


def _kept(is_kept: bool) -> str:
    return say("level_kept" if is_kept else "level_falls_short")


def _head(told: Sequence[ServiceLevel], level: LevelShown | None) -> None:
    names = sorted({one.name for one in told})
    shown = names[0] or say("level_none") if len(names) == 1 else say("level_differs")
    key_figures(
        [
            Tile(say("level_in_force"), shown),
            Tile(say("level_services"), figures.count(len(told))),
        ]
    )
    if level is not None:
        st.caption(plain(_title(level)))
        return
    if names == [""]:
        st.info(tell("level_none_means"), icon=":material/info:")
    elif len({one.digest for one in told}) > 1:
        st.error(tell("level_differs_means"), icon=":material/warning:")
    else:
        st.info(tell("level_own"), icon=":material/info:")


def _title(level: LevelShown) -> str:
    return f"{level.name} · {say(f'level_title_{level.name}')}"


def _compared(level: LevelShown | None) -> LevelShown:
    """The level that is looked at beside the one in force; the next stricter one, to begin with."""
    others = {one.name: one for one in list_shown() if level is None or one.name != level.name}
    names = list(others)
    labels = {name: _title(one) for name, one in others.items()}
    later = [name for name in names if level is None or name > level.name]
    chosen: str = st.selectbox(
        say("level_compare"),
        names,
        index=names.index(later[0]) if later else len(names) - 1,
        format_func=labels.__getitem__,
        key="level_compare",
    )
    return others[chosen]


def _switches(
    session: Session, levels: tuple[LevelShown | None, LevelShown], found: _Found
) -> None:
    level, other = levels
    stricter = other.stricter_switches(level)
    looser = [] if level is None else level.stricter_switches(other)
    rows: list[dict[str, object]] = [
        {
            "level_switch": say(f"level_switch_{switch}"),
            "level_wants": figures.NOTHING if level is None else _wanted(level, switch),
            "level_other": _wanted(other, switch),
            "level_change": _change(switch in stricter, switch in looser),
            "level_now": found.says(switch),
        }
        for switch in ALL_SWITCHES
    ]
    titles = {name: say(name) for name in rows[0]}
    st.header(say("level_switches"))
    show_table(
        pd.DataFrame(rows, dtype=object),
        titles=titles,
        wide=("level_other",) if level is None else ("level_wants", "level_other"),
        whole=True,
    )
    st.caption(tell("level_how"))
    show_plain_exports(
        session,
        name=f"security-level-{other.name}",
        title=f"{say('page_level')} · {other.name}",
        columns=dict.fromkeys(titles, 0),
        rows=rows,
        facts={"digest": other.level.digest, "level_in_force": level.name if level else "–"},
    )


def _change(is_stricter: bool, is_looser: bool) -> str:
    if is_stricter:
        return say("level_stricter")
    return say("level_looser") if is_looser else ""


def _wanted(level: LevelShown, switch: str) -> str:
    """What a level asks for, in the reader's words."""
    write: dict[str, Callable[[LevelShown], str]] = {
        "approvals": _approvals,
        "groups": _groups,
        "noise": _noise,
        "custody": _custody,
        "sandbox": lambda one: say(
            "level_required" if one.level.sandbox.required else "level_as_possible"
        ),
        "attestation": lambda one: say(
            "level_released_builds" if one.level.attestation.pinned else "level_any_build"
        ),
    }
    return write[switch](level)


def _approvals(level: LevelShown) -> str:
    roles = listed(say_or("role", role) for role in level.level.approvals.roles)
    return f"{roles} · {say('level_standing' if level.level.approvals.standing else 'level_each')}"


def _groups(level: LevelShown) -> str:
    return listed(
        f"{_class(name)} {figures.count(group.minimum)}{_share(group.dominance)}"
        for name, group in sorted(level.level.groups.items())
    )


def _class(name: str) -> str:
    return say("class_others") if name == _OTHERS else class_name(name)


def _share(dominance: int) -> str:
    return "" if dominance == EVERY_SHARE else f" (≤ {dominance}%)"


def _noise(level: LevelShown) -> str:
    if level.level.noise is None:
        return say("level_no_noise")
    return say("level_noise", epsilon=level.level.noise.epsilon, budget=level.level.noise.budget)


def _custody(level: LevelShown) -> str:
    own = level.level.custody
    return say(
        "level_custody",
        needed=own.needed,
        custodians=own.custodians,
        hours=f"{own.unlocked_hours:g}",
    )


def _services(told: Sequence[ServiceLevel]) -> None:
    st.header(say("level_said"))
    table = pd.DataFrame(
        {
            "service": [say(f"service_{one.service}") for one in told],
            "level": [one.name or say("level_none") for one in told],
            "digest": [figures.short(one.digest) if one.digest else "" for one in told],
            "confined": [_flag(one.is_confined) for one in told],
            "attested": [_flag(one.is_attested) for one in told],
        },
        dtype=object,
    )
    show_table(
        table,
        titles={
            "service": say("usage_zone"),
            "level": say("page_level"),
            "digest": say("digest"),
            "confined": say("level_confined"),
            "attested": say("level_attested"),
        },
        whole=True,
    )
    st.caption(tell("level_said_how"))


def _flag(value: bool | None) -> str:
    if value is None:
        return figures.NOTHING
    return say("unbilled_yes" if value else "level_no")


def _commands(other: LevelShown, standing: StandingPolicies) -> None:
    st.header(say("level_check"))
    st.markdown(tell("level_check_how"))
    name = standing.in_force.policy.name if standing.in_force else ""
    for command in commands.look_at_level(other.name, policy=name):
        st.code(command, language=None, wrap_lines=True)


if __name__ == "__main__":
    show()
