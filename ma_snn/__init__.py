"""Attention Spiking Neural Networks (TPAMI 2023); importing it registers the models with timm."""

from ma_snn import models

__all__ = ["models"]
