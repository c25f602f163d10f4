"""Shelf: one published scoring protocol a file."""
