"""Gated Attention Coding (AAAI 2024); importing it registers the models with timm."""

from gac import models

__all__ = ["models"]
