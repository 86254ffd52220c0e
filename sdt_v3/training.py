"""What is particular to training SDT V3: the distillation losses, layer-wise learning rates and their schedule."""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def distillation_loss(
    distilled: Tensor, teacher: Tensor, kind: Literal["hard", "soft"] = "hard", tau: float = 1.0
) -> Tensor:
    """How far the distillation head's logits are from the teacher's, both `[B, K]`.

    hard: cross entropy with the teacher's choice. soft: the sum over the batch of KL(softmax(teacher / tau) ||
    softmax(distilled / tau)), times tau^2 / (B K); dividing by the K classes too is the release's choice.
    """
    if kind == "hard":
        return F.cross_entropy(distilled, teacher.argmax(1))
    if kind == "soft":
        log_p, log_q = (F.log_softmax(logits / tau, 1) for logits in (distilled, teacher))
        return F.kl_div(log_p, log_q, reduction="sum", log_target=True) * tau**2 / distilled.numel()
    raise ValueError(f"kind of distillation must be 'hard' or 'soft', got {kind!r}")


def mix_losses(base: Tensor, distillation: Tensor, alpha: float = 0.5) -> Tensor:
    """(1 - alpha) base + alpha distillation."""
    return (1 - alpha) * base + alpha * distillation


def learning_rate(epoch: float, lr: float, min_lr: float, warmup_epochs: float, epochs: float) -> float:
    """Linear from 0 to `lr` over the warm-up, then half a cosine down to `min_lr`; `epoch` counts in fractions."""
    if epoch < warmup_epochs or epochs <= warmup_epochs:
        return lr * epoch / warmup_epochs
    progress = (epoch - warmup_epochs) / (epochs - warmup_epochs)
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_cosine(
    optimizer: Optimizer,
    batches: int,
    *,
    lr: float,
    min_lr: float,
    warmup_epochs: float,
    epochs: int,
    accumulate: int = 1,
) -> LambdaLR:
    """`learning_rate` for every optimizer step, times the `lr_scale` of each group; step it after each of them.

    Step k of an epoch of `batches` batches, `accumulate` of them per step, has the rate of the epoch's fraction
    accumulate k / batches.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    steps = math.ceil(batches / accumulate)

    def factor(step: int) -> float:
        epoch = step // steps + step % steps * accumulate / batches
        return learning_rate(epoch, lr, min_lr, warmup_epochs, epochs) / lr

    return LambdaLR(optimizer, factor)


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict]:
    """Optimizer groups with `params`, `weight_decay` and `lr_scale`, in the order of their first parameters.

    A tensor of one axis (bias, BN, layer scale) is not decayed. With L transformer blocks, lr_scale is
    layer_decay^(L + 1 - i), where i is 0 for the stem, k + 1 for block3.k and L + 1 for the heads. Layer-wise rates
    belong to the large family; the release gives every layer of the base family the same.
    """
    blocks = len(model.block3)
    groups: dict[tuple[int, bool], dict] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer, decayed = layer_id(name, blocks), parameter.ndim > 1
        settings = {
            "params": [],
            "weight_decay": weight_decay if decayed else 0.0,
            "lr_scale": layer_decay ** (blocks + 1 - layer),
        }
        groups.setdefault((layer, decayed), settings)["params"].append(parameter)
    return list(groups.values())


def layer_id(name: str, blocks: int) -> int:
    """Depth of a parameter: 0 in the stem, k + 1 in block3.k, `blocks` + 1 in what follows."""
    if name.startswith(("downsample1", "downsample2", "downsample3", "ConvBlock")):
        return 0
    if name.startswith("block3."):
        return int(name.split(".")[1]) + 1
    return blocks + 1
