"""Networks of the SMA paper; importing this registers them with timm."""

from sma.models import ms_resnet, vgg8
