"""Spiking Multiscale Attention and Attention ZoneOut (AAAI 2025); importing it registers the models with timm."""

from sma import models

__all__ = ["models"]
