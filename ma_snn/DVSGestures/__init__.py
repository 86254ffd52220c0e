"""MA-SNN on DVS128 Gesture: entry scripts and settings."""
