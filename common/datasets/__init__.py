"""Data sets as torch Datasets, and the conversion of what their authors published into what the loaders read."""
