"""MA-SNN on DVS128-Gait: entry scripts and settings."""
