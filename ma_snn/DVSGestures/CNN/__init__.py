"""Settings of MA-SNN on DVS128 Gesture; results go to `Result`."""
