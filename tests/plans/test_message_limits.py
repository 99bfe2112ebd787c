"""Messages that no honest party sends for their size."""

from __future__ import annotations

import json

import pytest

from gridsecure.errors import InvalidMessageError
from gridsecure.messages import MAX_COLUMNS, UploadManifest

COLUMN = {
    "quantity": "total", "parameters": "p", "key_id": "k", "unit": "Wh", "start": "s", "end": "e",
    "high": 1, "digest": "0" * 64, "size": 1,
}  # fmt: skip
UPLOAD = {
    "roster_id": "r", "gateway_id": "g", "start": "s", "end": "e", "sequence": 1,
    "estimated_readings": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("count", "good"), [(0, False), (1, True), (MAX_COLUMNS, True), (MAX_COLUMNS + 1, False)]
)
def test_an_upload_names_at_least_one_column_and_no_endless_list(count: int, good: bool) -> None:
    text = json.dumps({**UPLOAD, "columns": [COLUMN] * count})
    if good:
        assert len(UploadManifest.parse(text).columns) == count
        return
    with pytest.raises(InvalidMessageError) as refused:
        UploadManifest.parse(text)
    assert "columns" in refused.value.message
