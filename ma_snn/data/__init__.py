"""Data sets in the containers that only MA-SNN reads."""
