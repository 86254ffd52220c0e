"""Grad-CAM (Selvaraju et al., ICCV 2017) of spiking networks: where a class draws its evidence from."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.errors import UserError


@dataclass(frozen=True)
class CAM:
    """What Grad-CAM found for one image."""

    map: Tensor
    """`[h, w]`, before the ReLU."""
    channel_weights: Tensor
    """alpha, `[C]`."""
    target: int
    logit: Tensor


def grad_cam(model: nn.Module, image: Tensor, layer: str, target: int | None = None) -> CAM:
    """Class activation map of one image (or one recording), averaged over time.

    alpha_k = mean over t and space of d logit / d F[t,k],  map = sum_k alpha_k mean_t F[t,k],
    with feature maps F of `layer` and the logit of `target` averaged over T

    Args:
        model: any network here: its logits are `[1, K]`, `[1, T, K]` or `[T, 1, K]`. It is put in eval mode.
        image: a batch of one, as the model takes it.
        layer: name of a module whose output is maps, `[..., C, h, w]`, such as "conv5_x".
        target: class; the predicted one if None.

    Raises:
        UserError: the layer does not exist, is not reached or has no maps, or the class does not exist.
    """
    modules = dict(model.named_modules())
    if layer not in modules:
        children = ", ".join(name for name, _ in model.named_children())
        raise UserError(f"the network has no layer {layer!r}; name one of its modules, at the top level {children}")
    outputs: list[Tensor] = []
    handle = modules[layer].register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        with torch.enable_grad():
            logits = model.eval()(image).flatten(0, -2).mean(0)
    finally:
        handle.remove()
    if not outputs or not isinstance(outputs[-1], Tensor) or outputs[-1].ndim < 4:
        raise UserError(f"layer {layer!r} gave no maps [..., C, h, w]; choose a convolutional layer")
    if target is None:
        target = int(logits.argmax())
    if not 0 <= target < len(logits):
        raise UserError(f"class {target} does not exist: the network has the classes 0 to {len(logits) - 1}")
    (gradients,) = torch.autograd.grad(logits[target], outputs[-1])
    features, gradients = (x.detach().flatten(0, -4) for x in (outputs[-1], gradients))
    weights = gradients.mean((0, 2, 3))
    return CAM(torch.einsum("c,tchw->hw", weights, features) / len(features), weights, target, logits[target].detach())


def overlay(cam: Tensor, picture: np.ndarray) -> np.ndarray:
    """`picture` (uint8 `[H, W, 3]`, RGB) with the map `[h, w]` on it, from blue (nothing) to red; same shape and type.

    heat = jet(ReLU(map) resized / its maximum);  result = 255 (heat + picture) / max(heat + picture)
    """
    from matplotlib import colormaps  # takes a second

    resized = F.interpolate(cam[None, None].float().relu(), picture.shape[:2], mode="bilinear", align_corners=False)
    strength = (resized / resized.max().clamp(min=1e-12))[0, 0].cpu().numpy()
    mixed = colormaps["jet"](strength)[..., :3] + picture / 255
    return np.rint(255 * mixed / mixed.max()).astype(np.uint8)
