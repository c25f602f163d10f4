"""Shelf: one kind of rule a file."""
