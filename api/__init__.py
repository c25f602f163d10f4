"""What people and programs see, and the wiring."""
