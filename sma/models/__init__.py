"""Networks of the SMA paper; importing this registers them with timm."""

from sma.models import vgg8

__all__ = ["vgg8"]
