"""Who is in a cohort or a told set is kept once, and named by both."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "checker_0023", "checker_0022"


def upgrade() -> None:
    """Make a list of each cohort and each told set that is there, under its own name."""
    _create_lists()
    for owner, column in (("cohort", "seats"), ("told_set", "members")):
        made = sa.Column(column, sa.String(), nullable=False, server_default="")
        op.add_column(owner, made)
    op.create_index("ix_cohort_time", "cohort", ["domain", "end_at"])
    op.create_index("ix_cohort_seats", "cohort", ["seats"])
    for statement in (
        "UPDATE cohort SET seats = upload",
        "UPDATE told_set SET members = name",
        "INSERT INTO seat_list (name) SELECT upload FROM cohort",
        "INSERT INTO member_list (name) SELECT name FROM told_set",
        "INSERT INTO listed_seat (pseudonym, seats) SELECT pseudonym, upload FROM cohort_member",
        "INSERT INTO listed_member (members, name, owner, counts)"
        " SELECT told_set, name, owner, counts FROM told_member",
    ):
        op.execute(statement)
    op.drop_table("cohort_member")
    op.drop_table("told_member")


def _create_lists() -> None:
    for name in ("seat_list", "member_list"):
        op.create_table(
            name, sa.Column("name", sa.String(), nullable=False), sa.PrimaryKeyConstraint("name")
        )
    op.create_table(
        "listed_seat",
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("seats", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["seats"], ["seat_list.name"]),
        sa.PrimaryKeyConstraint("pseudonym", "seats"),
    )
    op.create_table(
        "listed_member",
        sa.Column("members", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["members"], ["member_list.name"]),
        sa.PrimaryKeyConstraint("members", "name"),
    )
