"""What the scripts share: the classifier that flags and weights describe, the losses, learning rates and schedule."""

import argparse
import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from common.errors import UserError
from common.training import Process, load_state, read_weights
from sdt_v3.models.checkpoint import completed, settings_of


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
    batches = max(batches, 1)  # `fit` says that there is none
    steps = max(batches // accumulate, 1)

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


def build_network(args: argparse.Namespace, process: Process, *, large: bool, **settings: object) -> nn.Module:
    """`--model` with `settings`; widths and branches are those of the weights in `--weights`, if given.

    Evaluation takes every weight or none; training lets heads and layer scales start anew, and says so.

    Args:
        args: model, nb_classes, max_value, embed_dim, depth, weights, eval.
        process: decides the device.
        large: whether the model is of the large family.
        settings: further arguments of the model; None stands for the model's own default.

    Raises:
        UserError: settings that make no network, or weights that do not fit it.
    """
    import timm

    settings |= {"max_value": args.max_value, "embed_dim": args.embed_dim, "depth": args.depth}
    settings = {name: value for name, value in settings.items() if value is not None}
    weights = read_weights(args.weights) if args.weights else None
    if weights is not None:
        found = settings_of(weights)
        if ("rep_ratio" in found) != large:
            raise UserError(f"{args.weights} holds weights of another family than {args.model}; choose its --model")
        if not args.eval:
            found.pop("kd", None)
        settings |= found
    try:
        model = timm.create_model(args.model, num_classes=args.nb_classes, **settings)
    except ValueError as error:
        raise UserError(f"{args.model} cannot be built with these settings: {error}") from error
    if weights is not None:
        anew = []
        if not args.eval:
            weights, anew = completed(weights, model)
        load_state(model, weights, args.weights)
        if process.is_main:
            print(f"weights from {args.weights}; new are {', '.join(anew) or 'none'}")
    return model.to(process.device)


def peak_rate(args: argparse.Namespace, process: Process) -> float:
    """The highest learning rate: `--lr`, or `--blr` for every 256 images per optimizer step.

    Raises:
        UserError: it is not positive.
    """
    images = args.batch_size * args.accum_iter * process.world_size
    rate = args.blr * images / 256 if args.lr is None else args.lr
    if rate <= 0:
        raise UserError(f"the learning rate is {rate:g}; give a positive --lr or --blr")
    return rate
