"""Shelf: one physical model a file."""
