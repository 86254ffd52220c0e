"""MA-SNN on CIFAR10-DVS: entry scripts and settings."""
