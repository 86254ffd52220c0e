"""Settings of MA-SNN on DVS128-Gait; results go to `Result`."""
