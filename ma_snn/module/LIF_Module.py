"""The layers of the event networks, see `ma_snn.models.layers`."""

from ma_snn.models.layers import AttLIF, ConvAttLIF

__all__ = ["AttLIF", "ConvAttLIF"]
