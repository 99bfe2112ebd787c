"""`gridsecure policy`: what ships, what a file says, and how two differ."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.policy.packs import REGIONS, list_packs, load_pack


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["policy", *arguments])


def test_the_policies_that_ship_are_listed_and_shown():
    listed = json.loads(run("list", "--format", "json").stdout)["policies"]
    assert [row["name"] for row in listed] == list_packs()
    assert run("show", "strict", "--text").stdout == load_pack("strict").text
    shown = run("show", "strict").stdout
    assert "residential: at least 100 customers" in shown
    assert "research-non-residential: at least 15 customers, none above 15 %" in shown
    assert load_pack("strict").digest in shown
    assert "DEMONSTRATION ONLY" in run("show", "small-demonstration").stdout


def test_a_regions_policy_is_shown_and_no_two_at_once():
    assert run("show", "--region", "cn", "--text").stdout == load_pack("cn").text
    rows = json.loads(run("list", "--format", "json").stdout)["policies"]
    assert {row["region"]: row["name"] for row in rows if row["region"]} == REGIONS
    why = run("explain", "cn", "--purpose", "operations", "--measure", "energy_wh",
              "--resolution", "interval", "--class", "household").stdout  # fmt: skip
    assert "《数据安全法》第二十一条" in why
    both = run("show", "strict", "--region", "cn")
    assert (both.exit_code, "policy.which" in both.output) == (1, True)


def test_a_file_is_checked_before_it_is_used(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(load_pack("strict").text)
    assert load_pack("strict").digest in run("check", str(own)).stdout
    own.write_text(own.read_text().replace("minimum = 100", "minimum = 100\nshare = 2", 1))
    refused = run("check", str(own))
    assert (refused.exit_code, "policy.term" in refused.output) == (1, True)
    missing = run("check", str(tmp_path / "none.toml"))
    assert (missing.exit_code, "policy.file" in missing.output) == (1, True)


@pytest.mark.parametrize(("pair", "looser"), [(("uniform-15", "strict"), 0), (("strict",) * 2, 0)])
def test_two_policies_are_compared_case_by_case(pair, looser):
    changes = json.loads(run("diff", *pair, "--format", "json").stdout)["changes"]
    back = json.loads(run("diff", *pair[::-1], "--format", "json").stdout)["changes"]
    assert sum(one["is_looser"] for one in changes) == looser
    assert sum(one["is_looser"] for one in back) == len(changes)
    if not changes:
        assert "decide every case alike" in run("diff", *pair).stdout
        return
    home = [one for one in changes if one["customer_class"] == "household"]
    # Analysts who are told money by sealed questions are told none of it any more.
    assert {(one["before"], one["after"]) for one in home} == {(15, 100), (15, None)}
    shop = [one for one in changes if one["customer_class"] == "shop" and one["after"]]
    assert {(one["before_dominance"], one["after_dominance"]) for one in shop} == {(None, 15)}
    assert "15 + 15 % + data-owner" in run("diff", *pair).stdout
    assert f"0 cases are looser, {len(changes)} stricter." in run("diff", *pair).stdout


def test_the_strictest_of_two_is_printed_and_is_a_policy(tmp_path):
    joint = tmp_path / "joint.toml"
    made = run("strictest", "uniform-15", "strict", "--name", "two-cities", "--version", "4")
    joint.write_text(made.stdout)
    assert "Policy two-cities, version 4, can be enforced" in run("check", str(joint)).stdout
    for one in ("uniform-15", "strict"):
        changes = json.loads(run("diff", one, str(joint), "--format", "json").stdout)["changes"]
        assert not any(change["is_looser"] for change in changes)
    refused = run("strictest", "uniform-15", "strict", "--name", "Two Cities")
    assert (refused.exit_code, "policy.value" in refused.output) == (1, True)


def test_a_request_is_explained_by_the_rule_that_decides_it():
    asked = ("--resolution", "interval", "--class", "household", "--measure")
    told = run("explain", "billing-office", *asked, "energy_wh", "--purpose", "research").stdout
    assert "by analyst: grade 3, group residential" in told
    assert "Rule load-curves-residential: at least 100 customers." in told
    assert "CPUC Decision 14-05-016" in told
    shop = ("--resolution", "monthly", "--class", "shop", "--measure", "energy_wh")
    limited = run("explain", "strict", *shop, "--purpose", "billing").stdout
    assert "None of them has more than 15 % of the cell." in limited
    assert "A customer is taken to have any number of meter points." in limited
    assert "None of them" not in told
    refused = run("explain", "billing-office", *asked, "amount_fen", "--purpose", "operations")
    assert refused.exit_code == 0
    assert "Refused: no rule permits it." in refused.stdout
    given = (*asked, "energy_wh", "--purpose", "billing", "--format", "json")
    document = json.loads(run("explain", "billing-office", *given).stdout)
    assert (document["rule"], document["minimum"]) == (None, None)
    bills = [one for one in document["permitted"] if one["measure"] == "bills"]
    assert {(one["purpose"], one["minimum"]) for one in bills} == {("billing", 15), ("preview", 15)}
    unknown = run("explain", "strict", *asked, "energy_wh", "--purpose", "curiosity")
    assert (unknown.exit_code, "policy.case" in unknown.output) == (1, True)
