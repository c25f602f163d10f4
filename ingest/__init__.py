"""From the wire to a durable log."""
