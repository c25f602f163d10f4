"""What the evaluation protocols share: recordings, composed days, alerts, tables."""
