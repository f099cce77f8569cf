"""A whole machine of its own, on which the README is followed to the letter."""
