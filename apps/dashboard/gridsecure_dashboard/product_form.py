"""A product composed in a form: its terms, parts made of registered components, steps over them.

What comes of it is a product's file, as one writes by hand. The form offers what the components'
cards allow: of a measure the statistics that are of it, of a statistic its steps and parameters.
What the language has and no field does (other conditions of a cohort, days and hours, noise) stands
in one field of a part, as JSON, so nothing of a file is lost that the form began with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, get_args

import streamlit as st

from gridsecure.errors import InputError
from gridsecure.products.components import ComponentCard, Sort, form_name, list_forms
from gridsecure.products.designs import ProductDesign, Step, spell_design
from gridsecure_dashboard.phrases import PHRASES
from gridsecure_dashboard.wording import class_name, colon, in_language, say, say_or, zone_name

# Written with a name of its own, as `register:peak`.
_NAMED: Final = ("register", "tier", "line")
_ENERGY: Final = "energy"
_SUM: Final = "sum"
_MONTH: Final = "month"
_GROUPS: Final = ("zone", "customer_class", "tariff")
_DOINGS: Final = get_args(Step.model_fields["do"].annotation)


class Cards(NamedTuple):
    """The components that questions are made of, by name."""

    measures: Mapping[str, ComponentCard]
    steps: Mapping[str, ComponentCard]
    statistics: Mapping[str, ComponentCard]


def by_sort(cards: Sequence[ComponentCard]) -> Cards:
    """The cards of a library, as the form asks for them."""

    def of(sort: Sort) -> dict[str, ComponentCard]:
        return {card.name: card for card in cards if card.sort == sort}

    return Cards(measures=of("measure"), steps=of("step"), statistics=of("statistic"))


def compose_file(begun: ProductDesign, cards: Cards) -> str:
    """Show the form, filled in as a product is, and say the file that it comes to.

    Raises:
        InputError: A part's further conditions are no JSON object (`product.field`).
    """
    key = f"product_{begun.name}"
    said = _terms(begun, key, sorted(cards.measures[_ENERGY].minimum))
    st.subheader(say("form_parts"))
    said["parts"] = [
        _part(began, f"{key}_part_{number}", cards)
        for number, began in _rows("part", key, [part.model_dump() for part in begun.parts])
    ]
    st.subheader(say("form_steps"))
    steps = [step.model_dump() for step in begun.steps]
    names = [part["name"] for part in said["parts"]]
    said["steps"] = []
    for number, began in _rows("step", key, steps):
        said["steps"].append(_step(began, f"{key}_step_{number}", names))
        names.append(said["steps"][-1]["name"])
    return spell_design({name: value for name, value in said.items() if value != []})


def _terms(begun: ProductDesign, key: str, policies: Sequence[str]) -> dict[str, Any]:
    """What a product says of itself as a whole."""
    said = _names(begun.model_dump(), key)
    with st.container(horizontal=True):
        version = st.number_input(say("form_version"), 1, 9999, begun.version, key=f"{key}_version")
        period = _choice("form_period", ("month", "day"), begun.period, f"{key}_period", _span)
        policy = _choice("form_policy", policies, begun.policy, f"{key}_policy", _pack)
        price = st.text_input(say("form_price"), begun.price_yuan, max_chars=20, key=f"{key}_price")
    suppliers = _several("form_suppliers", begun.suppliers, begun.suppliers, f"{key}_suppliers")
    return said | {
        "version": int(version),
        "purpose": begun.purpose,
        "period": period,
        "policy": policy,
        "price_yuan": price,
        "suppliers": suppliers,
    }


def _names(began: Mapping[str, Any], key: str) -> dict[str, Any]:
    with st.container(horizontal=True):
        return {
            name: st.text_input(
                say(f"form_{name}"), began.get(name, ""), max_chars=200, key=f"{key}_{name}"
            )
            for name in ("name", "title_zh", "title")
        }


def _rows(
    sort: str, product: str, began: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows of the form by number, each framed, with a button that removes it; one more adds."""
    key = f"{product}_{sort}"
    rows: list[int] = st.session_state.setdefault(f"{key}_rows", list(range(len(began))))
    for place, number in enumerate(tuple(rows), 1):
        with st.container(border=True):
            yield number, began[number] if number < len(began) else {}
            removed = say("form_remove", number=place)
            st.button(removed, key=f"{key}_{number}_remove", on_click=rows.remove, args=(number,))
    following = max([len(began) - 1, *rows]) + 1
    st.button(say(f"form_add_{sort}"), key=f"{key}_add", on_click=rows.append, args=(following,))


def _part(began: Mapping[str, Any], key: str, cards: Cards) -> dict[str, Any]:
    """A question of the product, made of the components that its fields name."""
    said = _names(began, key)
    rest: dict[str, Any] = json.loads(json.dumps(began.get("question", {"measure": _ENERGY})))
    statistic: dict[str, Any] = rest.pop("statistic", {"name": _SUM})
    cohort: dict[str, Any] = rest.pop("where", None) or {}
    with st.container(horizontal=True):
        question: dict[str, Any] = {"measure": _measure(rest.pop("measure"), key, cards)}
        card = _statistic(statistic.pop("name"), question["measure"], key, cards)
        question["every"] = _every(rest.pop("every", _MONTH), card, key, cards)
        groups = rest.pop("group_by", [])
        question["group_by"] = _several(
            "form_group_by", _GROUPS, groups, f"{key}_group_by", _column, is_open=False
        )
    question["statistic"] = {"name": card.name} | _parameters(statistic, card, key)
    where = {}
    with st.container(horizontal=True):
        for name, prefix, shown in (
            ("zone", "zone_", zone_name),
            ("customer_class", "class_", class_name),
        ):
            chosen = cohort.pop(name, [])
            offered = [word.removeprefix(prefix) for word in PHRASES if word.startswith(prefix)]
            where[name] = _several(f"form_{name}", offered, chosen, f"{key}_{name}", shown)
    further = _further(rest | ({"where": cohort} if cohort else {}), key)
    where |= further.pop("where", {})
    question |= {"where": {name: value for name, value in where.items() if value != []}}
    return said | {"question": _without_defaults(question | further)}


def _without_defaults(question: dict[str, Any]) -> dict[str, Any]:
    """A question as one writes it: what it leaves out is everybody, all of the month, one group."""
    defaults = {"where": {}, "every": _MONTH, "group_by": [], "statistic": {"name": _SUM}}
    return {name: said for name, said in question.items() if defaults.get(name) != said}


def _measure(began: str, key: str, cards: Cards) -> str:
    head, _, name = began.partition(":")
    titles = {one.name: in_language(one.title_zh, one.title) for one in cards.measures.values()}
    head = _choice("sort_measure", list(titles), head, f"{key}_measure", titles.__getitem__)
    if head not in _NAMED:
        return head
    return f"{head}:{st.text_input(say('form_of'), name, max_chars=60, key=f'{key}_{head}_of')}"


def _statistic(began: str, measure: str, key: str, cards: Cards) -> ComponentCard:
    """Of the statistics that are of a measure, one."""
    head = measure.partition(":")[0]
    titles = {
        name: in_language(one.title_zh, one.title)
        for name, one in cards.statistics.items()
        if head in one.measures
    }
    return cards.statistics[
        _choice(
            "sort_statistic", list(titles), began, f"{key}_{head}_statistic", titles.__getitem__
        )
    ]


def _every(began: str, statistic: ComponentCard, key: str, cards: Cards) -> str:
    titles = {
        name: in_language(cards.steps[name].title_zh, cards.steps[name].title)
        for name in statistic.steps
    }
    named = f"{key}_{statistic.name}_every"
    return _choice("sort_step", list(titles), began, named, titles.__getitem__)


def _parameters(began: Mapping[str, Any], card: ComponentCard, key: str) -> dict[str, Any]:
    """What a statistic asks for: numbers and words as they are, lists and objects as JSON."""
    said = {}
    with st.container(horizontal=True):
        for name in card.parameters:
            value = began.get(name, "")
            written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            label = f"{say('form_parameter')}{colon()}`{name}`"
            named = f"{key}_{card.name}_{name}"
            words = words_of(card.name, name)
            text = st.text_input(label, written, placeholder=words, key=named).strip()
            if text:
                said[name] = _read_value(text)
    return said


def words_of(statistic: str, parameter: str) -> str:
    """The words of the language that a parameter may be, where it is one of some."""
    (form,) = (form for form in list_forms() if form_name(form) == statistic)
    return " | ".join(form.model_json_schema()["properties"][parameter].get("enum", ()))


def _read_value(text: str) -> Any:
    """Lists, objects, numbers and truths as JSON has them; any other text is text."""
    with suppress(ValueError):
        return json.loads(text, parse_float=str)
    return text


def _further(rest: Mapping[str, Any], key: str) -> dict[str, Any]:
    written = json.dumps(rest, ensure_ascii=False) if rest else ""
    text = st.text_input(say("form_further"), written, key=f"{key}_further").strip()
    further = _read_value(text or "{}")
    if isinstance(further, dict) and isinstance(further.get("where", {}), dict):
        return further
    raise InputError(
        "Further conditions of a part are no JSON object.",
        reason="product.field",
        remedy='Write them as {"when": {"weekdays": ["saturday", "sunday"]}}, or leave them out.',
    )


def _step(began: Mapping[str, Any], key: str, names: Sequence[str]) -> dict[str, Any]:
    """Something computed of parts and of steps before it."""
    said = _names(began, key)
    with st.container(horizontal=True):
        doing = _choice("form_do", _DOINGS, began.get("do", _SUM), f"{key}_do", _doing)
        chosen = [name for name in began.get("of", []) if name in names]
        of = _several("form_operands", names, chosen, f"{key}_of", is_open=False)
        unit = st.text_input(say("column_unit"), began.get("unit", ""), key=f"{key}_unit")
    return said | {"do": doing, "of": of, "unit": unit}


def _choice(
    label: str, options: Sequence[str], began: str, key: str, shown: Callable[[str], str]
) -> str:
    titles = {name: shown(name) for name in options}
    index = options.index(began) if began in options else 0
    return str(st.selectbox(say(label), options, index, format_func=titles.__getitem__, key=key))


def _several(
    label: str,
    options: Sequence[str],
    began: Sequence[str],
    key: str,
    shown: Callable[[str], str] = str,
    *,
    is_open: bool = True,
) -> list[str]:
    """Some of what is offered; where `is_open`, also what the reader writes."""
    titles = {name: shown(name) for name in (*options, *began)}
    return st.multiselect(
        say(label), list(titles), began, format_func=lambda name: titles.get(name, name), key=key,
        accept_new_options=is_open, placeholder=say("form_none"),
    )  # fmt: skip


def _span(name: str) -> str:
    return say(f"form_period_{name}")


def _pack(name: str) -> str:
    return say_or("pack", name)


def _column(name: str) -> str:
    return say(f"column_{name}")


def _doing(name: str) -> str:
    return say(f"form_do_{name}")
