"""Shelf: one dialect a file."""
