"""Settings of MA-SNN on CIFAR10-DVS; results go to `Result`."""
