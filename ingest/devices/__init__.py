"""Shelf: one device type a file."""
