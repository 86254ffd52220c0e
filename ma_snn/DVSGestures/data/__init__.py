"""Where DVS128 Gesture goes, and what converts it."""
