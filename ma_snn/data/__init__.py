"""MA-SNN's data: data sets in containers that only it reads, and windows of their recordings."""
