"""Spike-Driven Transformer V3, spike firing approximation (TPAMI 2025); importing registers the models with timm."""

from sdt_v3 import models

__all__ = ["models"]
