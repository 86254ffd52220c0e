"""Settings of the ImageNet experiments."""
