"""The same question in three networks of tenants, through real processes: equal totals."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from gridsecure.cli.main import app as command
from gridsecure.cli.networks import MONTH, _divided, _plain_kwh, _simulated
from gridsecure.cli.run_order import TIMEZONE
from gridsecure.gateway.formats import read_readings

METERS = 64
HUBS = {"point-to-point": ["south"], "star": ["hub"], "mesh": ["south", "north"]}


@pytest.mark.slow
@pytest.mark.parametrize("topology", HUBS)
def test_each_network_tells_what_its_homes_used(topology, tmp_path):
    asked = ["network", topology, "--meters", str(METERS), "--home", str(tmp_path / "network")]
    result = CliRunner().invoke(command, [*asked, "--format", "json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["total_kwh"] == answer["plain_kwh"] == str(_plain_kwh(_simulated(METERS)))
    assert list(answer["told_kwh"]) == HUBS[topology]
    # In a mesh each city has both, the neighbour's under an agreement and not before.
    cities = HUBS[topology] if topology == "mesh" else []
    assert answer["joined_kwh"] == dict.fromkeys(cities, answer["plain_kwh"])
    assert answer["without_agreement"] == dict.fromkeys(cities, "agreement.missing")
    # Nobody of one tenant was let in at another's gateway, and of a joint total both owners agreed.
    assert answer["refused"]
    assert set(answer["refused"].values()) == {"authenticity.refused"}
    owners = {name for name in answer["approvals"].get("hub", []) if name.endswith("-owner")}
    assert (owners >= {"south-owner", "north-owner"}) == (topology == "star")


def test_suppliers_divide_the_meter_points_and_leave_none_out(tmp_path):
    month = _simulated(METERS)
    parts = list(_divided(month, ["south", "north"], tmp_path))
    read = [read_readings(part.readings[0], timezone=TIMEZONE).readings for part in parts]
    names = [set(rows["meter_point_id"]) for rows in read]
    assert names[0] | names[1] == set(month.meter_point_ids)
    assert not names[0] & names[1]
    assert [part.meters for part in parts] == [len(own) for own in names]
    assert {part.month for part in parts} == {MONTH}
