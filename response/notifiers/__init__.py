"""Shelf: one way of telling people a file."""
