"""From the log to alerts: a pure core on numpy columns."""
