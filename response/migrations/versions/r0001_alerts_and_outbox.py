"""Alerts, what people did about them, the outbox and its tries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "cursor",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "alert",
        sa.Column("episode", sa.String(64), primary_key=True),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ("rule", "site", "device", "channel")
        ),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("audience", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("resolved_us", sa.BigInteger()),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column("text_en", sa.Text(), nullable=False),
        sa.Column("evidence", sa.JSON(), nullable=False),
        sa.Column("acknowledged_us", sa.BigInteger()),
        sa.Column("acknowledged_by", sa.Text()),
    )
    op.create_index("alert_by_state", "alert", ["state", "started_us"])
    op.create_table(
        "action",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("episode", sa.String(64), sa.ForeignKey("alert.episode"), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
    op.create_index("action_by_episode", "action", ["episode", "id"])
    op.create_table(
        "outbox",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("key", sa.Text(), nullable=False, unique=True),
        sa.Column("episode", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subscriber", sa.Text(), nullable=False),
        sa.Column("notifier", sa.String(64), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cancelled_because", sa.String(16), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger()),
        sa.Column("lease_by", sa.Text()),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("sent_us", sa.BigInteger()),
        sa.Column("after_id", _KEY, sa.ForeignKey("outbox.id")),
        sa.Column("digest_id", _KEY, sa.ForeignKey("outbox.id")),
    )
    op.create_index("outbox_by_state", "outbox", ["state", "notifier", "due_us"])
    op.create_index("outbox_by_episode", "outbox", ["episode", "kind"])
    of_recipient = ["notifier", "recipient", "digest_id", "created_us"]
    op.create_index("outbox_by_recipient", "outbox", of_recipient)
    op.create_index("outbox_by_digest", "outbox", ["digest_id"])
    op.create_index("outbox_by_after", "outbox", ["after_id"])
    op.create_table(
        "attempt",
        sa.Column("id", _KEY, primary_key=True),
        sa.Column("outbox_id", _KEY, sa.ForeignKey("outbox.id"), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=False),
    )
    op.create_index("attempt_by_notice", "attempt", ["outbox_id", "id"])


def downgrade() -> None:
    for table in ("attempt", "outbox", "action", "alert", "cursor"):
        op.drop_table(table)
