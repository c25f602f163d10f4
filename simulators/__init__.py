"""A community that does not exist."""
