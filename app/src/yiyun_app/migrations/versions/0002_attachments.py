"""Attachments of residents. Written out, created only if absent, as 0001 is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table and its index."""
    op.create_table(
        "attachment",
        sa.Column("id", mysql.BINARY(16), nullable=False, primary_key=True),
        sa.Column("record_number", sa.String(17), nullable=False),
        sa.Column("storage_key", sa.String(64), nullable=False),
        sa.Column("file_name", sa.String(200), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", mysql.BINARY(32), nullable=False),
        sa.Column("uploaded_by", sa.String(64), nullable=False),
        sa.Column("uploaded_at", mysql.DATETIME(fsp=6), nullable=False),
        sa.ForeignKeyConstraint(
            ["record_number"], ["resident.record_number"], name="fk_attachment_record_number"
        ),
        sa.UniqueConstraint("storage_key", name="uq_attachment_storage_key"),
        if_not_exists=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_0900_as_cs",
    )
    present: set[str | None] = set()
    if not op.get_context().as_sql:
        present = {found["name"] for found in sa.inspect(op.get_bind()).get_indexes("attachment")}
    if "ix_attachment_timeline" not in present:
        op.create_index("ix_attachment_timeline", "attachment", ["record_number", "uploaded_at", "id"])
