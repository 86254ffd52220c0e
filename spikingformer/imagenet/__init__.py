"""Spikingformer on ImageNet."""
