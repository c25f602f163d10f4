"""Shelf: one history store a file."""
