"""The release policy in force: its rules in the reader's language, and what it says when asked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from gridsecure.analyst.policies import (
    ALL_MEASURES,
    ALL_PURPOSES,
    ALL_RESOLUTIONS,
    EVERY_SHARE,
    Explanation,
    TakenInPolicy,
    explain_request,
    list_classes,
    list_resolutions,
    spell_noise,
)
from gridsecure.wire.sessions import Session
from gridsecure_dashboard import access, figures
from gridsecure_dashboard.export_files import show_plain_exports
from gridsecure_dashboard.phrases import PHRASES
from gridsecure_dashboard.tables import Tile, key_figures, show_table
from gridsecure_dashboard.wording import class_name, listed, plain, say, say_or, tell

_OTHERS: Final = "*"
_NUMBERS: Final = frozenset({"minimum_members", "policy_budget"})


def show() -> None:
    """What holds, its rules, what waits, and the explanation of a request."""
    session = access.enter(access.POLICY)
    with access.explain_errors():
        standing = access.open_client().policies(session)
        if standing.in_force is None:
            st.info(tell("policy_none"))
        else:
            _head(standing.in_force)
            _rules(session, standing.in_force)
            _sources(standing.in_force.policy.sources)
            _explain(standing.in_force)
        if standing.waiting:
            st.header(say("policy_waiting"))
            zone = access.local_timezone()
            for one in standing.waiting:
                begins = figures.moment(one.begins_at, zone=zone)
                st.markdown(f"{_name(one)} · {say('policy_begins')} {plain(begins)}")


def _name(taken: TakenInPolicy) -> str:
    version = say("policy_version", version=taken.policy.version)
    return plain(f"{say_or('pack', taken.policy.name)} · {version}")


def _head(taken: TakenInPolicy) -> None:
    policy, zone = taken.policy, access.local_timezone()
    st.header(_name(taken))
    st.caption(plain(_title(policy.name, policy.title)))
    key_figures(
        [
            Tile(say("policy_rules"), figures.count(len(policy.rules))),
            Tile(
                say("policy_signatures"),
                figures.count(taken.signatures),
                tell("policy_signatures_help"),
            ),
            Tile(say("policy_begins"), figures.moment(taken.begins_at, zone=zone)),
        ]
    )
    with st.popover(say("policy_text"), icon=":material/fingerprint:"):
        st.caption(say("digest"))
        st.code(policy.digest, language=None, wrap_lines=True)
        st.caption(tell("policy_trust"))


def _title(name: str, title: str) -> str:
    """A policy's own title; in the reader's language where it is the one that ships."""
    key = f"pack_title_{name}"
    english = PHRASES.get(key, ("", ""))[1]
    return say(key) if english and title.endswith(english) else title


def _rules(session: Session, taken: TakenInPolicy) -> None:
    policy = taken.policy
    st.header(say("policy_rules"))
    rows: list[dict[str, object]] = [
        {
            "policy_rule": say_or("policy_rule", rule.name),
            "customer_class": _classes(list_classes(policy, sorted(rule.classes))),
            "minimum_members": rule.minimum,
            "policy_approvals": _words("role", sorted(rule.approvals)),
            "measure": _words("measure", rule.measures, ALL_MEASURES),
            "asked_resolutions": _words("resolution", list_resolutions(policy, rule)),
            "purpose": _words("purpose", rule.purposes, ALL_PURPOSES),
            "policy_share": _share(rule.dominance),
            "policy_budget": "" if rule.budget is None else rule.budget,
            "policy_merged": say("unbilled_yes") if rule.merge else "",
        }
        for rule in policy.rules
    ]
    table = pd.DataFrame(rows, dtype=object)
    kept = [str(name) for name in table if any(table[name])]
    show_table(
        table,
        titles={name: say(name) for name in kept},
        formats=dict.fromkeys([name for name in kept if name in _NUMBERS], _number),
        whole=True,
    )
    st.caption(tell("policy_rules_how"))
    show_plain_exports(
        session,
        name=f"policy-{policy.name}-{policy.version}",
        title=f"{say('page_policy')} · {say_or('pack', policy.name)} {policy.version}",
        columns=dict.fromkeys(kept, 0),
        rows=rows,
        facts={
            "digest": policy.digest,
            "policy_begins": figures.moment(taken.begins_at, zone=access.local_timezone()),
            "policy_signatures": figures.count(taken.signatures),
        },
    )


def _sources(titles: Mapping[str, str]) -> None:
    with st.expander(say("policy_sources")):
        for title in titles.values():
            st.markdown(f"- {plain(title)}")


def _number(value: object) -> str:
    return figures.count(value) if isinstance(value, int) else ""


def _words(prefix: str, words: Collection[str], every: Sequence[str] = ()) -> str:
    """Words in the reader's language, in the order of all that there are; "all" if it is all."""
    if every and set(words) == set(every):
        return say("all")
    return listed(say_or(prefix, one) for one in (every or words) if one in words)


def _classes(names: list[str]) -> str:
    return say("class_every") if names == [_OTHERS] else listed(map(_class, names))


def _class(name: str) -> str:
    return say("class_others") if name == _OTHERS else class_name(name)


def _share(percent: int) -> str:
    return "" if percent == EVERY_SHARE else f"{percent}%"


def _explain(taken: TakenInPolicy) -> None:
    st.header(say("policy_explain"))
    first, second = st.columns(2)
    purpose = _choose(first, "purpose", {one: say(f"purpose_{one}") for one in ALL_PURPOSES})
    measure = _choose(second, "measure", {one: say(f"measure_{one}") for one in ALL_MEASURES})
    resolutions = {one: say(f"resolution_{one}") for one in ALL_RESOLUTIONS}
    resolution = _choose(first, "asked_resolutions", resolutions)
    known = list_classes(taken.policy, taken.policy.class_groups)
    customer_class = _choose(second, "customer_class", {one: _class(one) for one in known})
    told = explain_request(
        taken.policy,
        purpose=purpose,
        measure=measure,
        resolution=resolution,
        customer_class=customer_class,
    )
    _told(told)
    _permitted(told)


def _choose(place: DeltaGenerator, name: str, labels: Mapping[str, str]) -> str:
    chosen: str = place.selectbox(
        say(name), list(labels), format_func=labels.__getitem__, key=f"policy_{name}"
    )
    return chosen


def _told(told: Explanation) -> None:
    if told.rule is None or told.terms is None:
        st.warning(tell("policy_refuses"), icon=":material/block:")
        return
    terms = told.terms
    lines = [
        tell("policy_permits", rule=say_or("policy_rule", told.rule.name), minimum=terms.minimum)
    ]
    if terms.approvals.roles:
        roles = _words("role", sorted(terms.approvals.roles))
        lines.append(tell("policy_wants", roles=roles))
    if terms.dominance != EVERY_SHARE:
        lines.append(tell("policy_limits_share", share=terms.dominance))
    if terms.budget is not None:
        lines.append(tell("policy_limits_budget", budget=terms.budget))
    noise = spell_noise(terms)
    if noise is not None:
        lines.append(tell("policy_noise", each=noise[0], month=noise[1]))
    st.success("  \n".join(lines), icon=":material/check_circle:")


def _permitted(told: Explanation) -> None:
    st.subheader(say("policy_permitted"))
    if not told.permitted:
        st.caption(tell("policy_permitted_none"))
        return
    table = pd.DataFrame(
        {
            "purpose": [say_or("purpose", case.purpose) for case, _ in told.permitted],
            "measure": [say_or("measure", case.measure) for case, _ in told.permitted],
            "asked_resolutions": [
                say_or("resolution", case.resolution) for case, _ in told.permitted
            ],
            "minimum_members": [fewest for _, fewest in told.permitted],
        },
        dtype=object,
    )
    titles = {str(name): say(str(name)) for name in table}
    show_table(table, titles=titles, formats={"minimum_members": figures.count}, whole=True)


if __name__ == "__main__":
    show()
