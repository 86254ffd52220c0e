"""What stands beside the papers: weights, data, energy, figures, reports and benchmarks."""
