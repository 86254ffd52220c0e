"""The suites of tools/benchmark.py, how they measure, and how a run is shown."""
