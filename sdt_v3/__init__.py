"""Spike-Driven Transformer V3, spike firing approximation (TPAMI 2025); importing registers the models with timm."""

from sdt_v3 import models

DATA_SETS = ("sdt_v3.data.hardvs:CARD",)

__all__ = ["models"]
