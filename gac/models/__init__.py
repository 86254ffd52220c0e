"""Networks of the GAC paper; importing this registers them with timm."""

from common import ms_resnet
from gac.models import cifar, imagenet
