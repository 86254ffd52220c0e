"""Spikingformer on CIFAR100."""
