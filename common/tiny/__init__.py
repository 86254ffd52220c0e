"""Tiny data sets, made in seconds from scikit-learn's handwritten digits, in the form of published ones."""
