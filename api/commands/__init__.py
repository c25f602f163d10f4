"""The `courtyard` command: one file a command, each imports what it needs when it runs."""
