"""Spikingformer (2023) and CML downsampling (2023); importing it registers the models with timm."""

from spikingformer import models

__all__ = ["models"]
