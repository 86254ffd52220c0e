"""Spikingformer's data: images and event frames as the authors read them."""
