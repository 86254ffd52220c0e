"""What the five papers share: neurons, kernels, event recordings, data sets, training and analysis."""
