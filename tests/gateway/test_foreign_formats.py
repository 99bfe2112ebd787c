"""Formats that are not read: refused by their names, with what to send, as files and as batches."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gridsecure.errors import InvalidReadingsError
from gridsecure.gateway.formats import read_readings
from gridsecure.gateway.ingestion import bodies
from gridsecure.gateway.ingestion.sources import Source
from gridsecure.gateway.ingestion.spooled_bodies import SpooledBody

CSV = b"meter_point_id,start,kwh\nA,2025-03-01 00:00,7.731\nA,2025-03-01 00:30,0.5\n"
SECRET = "7.731"


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for name in names:
            packed.writestr(name, CSV)
    return out.getvalue()


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        about = tarfile.TarInfo("readings.csv")
        about.size = len(CSV)
        packed.addfile(about, io.BytesIO(CSV))
    return out.getvalue()


def arrow() -> bytes:
    out = io.BytesIO()
    table = pa.table({"kwh": [SECRET]})
    with pa.ipc.new_file(out, table.schema) as file:
        file.write(table)
    return out.getvalue()


def xml(root: str) -> bytes:
    return f'<?xml version="1.0"?>\n{root}'.encode()


OCTOPUS = {"consumption": 7.731, "interval_start": "2025-03-01T00:00:00Z"}
STATE = {"entity_id": "sensor.e", "state": SECRET, "last_changed": "2025-03-01T00:00:00+00:00"}
DATADIS = {"cups": "ES1", "date": "2025/03/01", "time": "01:00", "consumptionKWh": 7.731}
FOREIGN = {
    "EDIFACT": b"UNA:+.? 'UNB+UNOC:3+9900:500'QTY+220:7.731'",
    "EDIFACT message": b"\xef\xbb\xbfUNB+UNOC:3+9900:500'",
    "aseXML": xml('<ase:aseXML xmlns:ase="urn:aseXML:r38"><Header/></ase:aseXML>'),
    "IEC 62325": xml('<GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:3:0"/>'),
    "British DCC": xml('<r:Response xmlns:r="http://www.dccinterface.co.uk/ServiceUserGateway"/>'),
    "XML Spreadsheet": xml('<?mso-application progid="Excel.Sheet"?><Workbook/>'),
    "web page": b"<!DOCTYPE html><html><td>7.731</td></html>",
    "XML document": xml("<DLMS><READ/></DLMS>"),
    "PDF": b"%PDF-1.7\n",
    "(XLS)": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500),
    "ODS": archive("mimetype", "content.xml"),
    "Word": archive("[Content_Types].xml", "word/document.xml"),
    "ZIP archive": archive("readings.csv"),
    "TAR archive": tar(),
    "a TAR archive": gzip.compress(tar()),
    "7-Zip": b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(50),
    "RAR": b"Rar!\x1a\x07\x01\x00" + bytes(50),
    "bzip2": bz2.compress(CSV),
    "with xz": lzma.compress(CSV),
    "SQLite": b"SQLite format 3\0" + bytes(100),
    "Access": b"\x00\x01\x00\x00Standard Jet DB\0" + bytes(100),
    "Arrow": arrow(),
    "ORC": b"ORC\x0a\x10\x08" + bytes(50),
    "Avro": b"Obj\x01\x04\x16avro.schema" + bytes(40),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(50),
    "image": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "an image": b"\xff\xd8\xff\xe0" + bytes(50),
    "RTF": b"{\\rtf1\\ansi 7.731}",
    "DL/T 645": bytes.fromhex("6811111111111168910833333433a4560000e116"),
    "a recording of DL/T 645": bytes.fromhex("fefefefe6811111111111168910833333433a4560000e116"),
    "DLMS": bytes.fromhex("7ea07a0002002300") + bytes(50),
    "Octopus": json.dumps({"count": 1, "next": None, "results": [OCTOPUS]}).encode(),
    "Home Assistant": json.dumps([[STATE]]).encode(),
    "Datadis": json.dumps([DATADIS]).encode(),
    "Green Button as JSON": json.dumps({"espi:IntervalBlock": [7.731]}).encode(),
    "New Zealand": b"HDR,ICPHH,10.0,A,B\nDET,1,7.731\n",
    "D0010": b"ZHV|0000000001|D0010001|C|X|\n030|01|20250301000000|7.731|||T|N|\n",
    "Enedis": "Identifiant PRM;Type de données;Unité\n1;Courbe de charge;W\n".encode(),
    "Spanish": b"CUPS;Fecha;Hora;AE_kWh;REAL/ESTIMADO\nES1;01/03/2025;1;7,731;R\n",
    "ESB Networks": (
        b"MPRN,Meter Serial Number,Read Value,Read Type,Read Date and End Time\n1,2,7,x,y\n"
    ),
}


def refusal_of_file(data: bytes) -> InvalidReadingsError:
    with pytest.raises(InvalidReadingsError) as refused:
        read_readings(data)
    return refused.value


def refusal_of_body(folder, data: bytes) -> InvalidReadingsError:
    source = Source("headend", "t", ("A",), "start", "Asia/Shanghai", "")
    with SpooledBody(folder) as spooled:
        if spooled.add(data):
            spooled.spill()
        spooled.finish()
        with pytest.raises(InvalidReadingsError) as refused:
            list(bodies.read_body(spooled, source=source, timezone="Asia/Shanghai"))
    return refused.value


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_read_is_refused_by_its_name_and_told_what_to_send(tmp_path, name):
    found = refusal_of_file(FOREIGN[name])
    assert (found.reason, name in found.message) == ("readings.format", True)
    assert found.remedy
    assert SECRET not in f"{found}{found.problems}"
    if name == "RTF":
        return  # a brace begins JSON in a batch
    sent = refusal_of_body(tmp_path, FOREIGN[name])
    assert (sent.reason, sent.message, sent.remedy) == (found.reason, found.message, found.remedy)


def test_a_large_body_of_json_that_is_not_read_is_refused_before_it_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(bodies, "WHOLE_BYTES", 1000)
    body = json.dumps({"count": 99, "results": [OCTOPUS] * 99}).encode()
    assert "Octopus" in refusal_of_body(tmp_path, body).message


def test_formats_of_batches_alone_say_so_as_files():
    out = io.BytesIO()
    pq.write_table(pa.table({"kwh": [SECRET]}), out)
    for data, word in ((out.getvalue(), "Parquet"), (b'[{"kwh": 7.731}]', "JSON")):
        found = refusal_of_file(data)
        assert (found.reason, word in found.message) == ("readings.format", True)
        assert "as a batch" in found.remedy


@pytest.mark.parametrize(
    "head",
    ["hour,of,day", "ORCID,start,kwh", "Rare,start,kwh", "h123456h,start,kwh", "Objekt,start,kwh"],
)
def test_a_table_whose_name_begins_like_a_signature_is_a_table(head):
    assert refusal_of_file(f"{head}\nA,2025-03-01 00:00,1\n".encode()).reason == "readings.columns"
