"""How a meter alone tells a charger from other loads, and how its word joins a camera's."""
