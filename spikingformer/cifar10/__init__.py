"""Spikingformer on CIFAR10."""
