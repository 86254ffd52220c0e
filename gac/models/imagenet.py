"""GAC-MS-ResNet18 and 34: the ImageNet classifiers of the GAC paper (AAAI 2024), MS-ResNets behind a gated encoder.

Input `[B, in_chans, H, W]` images, output `[B, T, num_classes]` logits per step; the prediction is their mean over T.
State dict keys are those of the authors' files.
"""

from dataclasses import replace

from torch import Tensor, nn

from common.ms_resnet import PUBLISHED, Design, MSResNet
from common.neurons import MSLIFNode
from common.registry import register
from gac.models.gau import GAC
from gac.models.layers import alias


class GACMSResNet(MSResNet):
    """An MS-ResNet whose stages see the stem's spikes, gated, and which classifies every step.

    Args:
        design, T, num_classes, in_chans, once: as in `MSResNet`; the gate is built for exactly T >= 2 steps.
        kernel_size: of the gate's spatial convolutions; 4 in all published networks.
    """

    def __init__(self, design: Design, T: int, *args, kernel_size: int = 4, **kwargs):
        self.kernel_size = kernel_size
        super().__init__(design, T, *args, **kwargs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def add_encoder(self, channels: int) -> None:
        """Register the encoder's neuron and gate."""
        self.mem_update2 = MSLIFNode()
        self.encoding = GAC(self.T, channels, self.kernel_size)

    def encode(self, drive: Tensor) -> Tensor:
        """Gated spikes `[T, B, C, H, W]` of the stem's output `[1 or T, B, C, H, W]`."""
        return self.encoding(drive, self.mem_update2(super().encode(drive)))

    def add_head(self, channels: int, num_classes: int) -> None:
        """Register the classifier under the authors' two names."""
        self.fc1 = nn.Linear(channels, num_classes)
        self.fc1_s = nn.ModuleDict({"layer": alias(self.fc1)})

    def classify(self, features: Tensor) -> Tensor:
        """Logits `[B, T, num_classes]` of pooled spikes `[T, B, C]`."""
        return self.fc1(self.dropout(features)).transpose(0, 1)


def gac_ms_resnet(
    depth: int,
    T: int = 4,
    num_classes: int = 1000,
    in_chans: int = 3,
    *,
    kernel_size: int = 4,
    once: bool = True,
    **switches,
) -> GACMSResNet:
    """GAC-MS-ResNet of a published depth; `switches` are fields of `Design` that differ from MS-ResNet's."""
    design = replace(PUBLISHED[depth], keys="flat", **switches)
    return GACMSResNet(design, T, num_classes, in_chans, kernel_size=kernel_size, once=once)


@register
def gac_ms_resnet18(**kwargs) -> GACMSResNet:
    """GAC-MS-ResNet18, 11.82 M parameters; keyword arguments as in `gac_ms_resnet`."""
    return gac_ms_resnet(18, **kwargs)


@register
def gac_ms_resnet34(**kwargs) -> GACMSResNet:
    """GAC-MS-ResNet34, 21.93 M parameters; keyword arguments as in `gac_ms_resnet`."""
    return gac_ms_resnet(34, **kwargs)
