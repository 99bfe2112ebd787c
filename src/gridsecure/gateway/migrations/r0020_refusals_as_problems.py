"""Why batches were refused, with the names of RFC 9457 as answers have them."""

import json
from http import HTTPStatus

import sqlalchemy as sa
from alembic import op

revision, down_revision = "gateway_0020", "gateway_0019"


def upgrade() -> None:
    """Write every refusal anew; they are kept for a month."""
    connection = op.get_bind()
    queued = sa.table("queued_batch", sa.column("id"), sa.column("refusal"))
    refused = sa.select(queued).where(queued.c.refusal != "")
    for number, text in connection.execute(refused).all():
        fields = json.loads(text)
        fields["detail"] = fields.pop("message")
        fields["title"] = HTTPStatus(fields["status"]).phrase
        own = sa.update(queued).where(queued.c.id == number)
        connection.execute(own.values(refusal=json.dumps(fields)))
