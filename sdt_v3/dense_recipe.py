"""How detectors and segmentors are trained: parameter groups, schedules, and where their weights come from."""

from collections.abc import Sequence

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(
    model: nn.Module, lr: float, weight_decay: float, *, head_factor: float = 1.0, norm_decay: bool = True
) -> list[dict]:
    """Optimizer groups: parameters with `head` in their name learn `head_factor` times as fast.

    The release means to spare batch norms from decay, but its rule matches no parameter: false spares them.
    """
    norms = {id(p) for m in model.modules() if isinstance(m, _BatchNorm) for p in m.parameters()}
    groups: dict[tuple[bool, bool], dict] = {}
    for name, parameter in model.named_parameters():
        key = head_factor != 1 and "head" in name, not norm_decay and id(parameter) in norms
        settings = {"lr": lr * head_factor if key[0] else lr, "weight_decay": 0.0 if key[1] else weight_decay}
        groups.setdefault(key, settings | {"params": []})["params"].append(parameter)
    return list(groups.values())


def warm_up(step: int, steps: int, first: float) -> float:
    """Factor of the learning rate: linear from `first` to 1 over `steps` steps, from step 0 on."""
    return 1.0 if step >= steps - 1 else first + (1 - first) * step / (steps - 1)


def step_decay(
    optimizer: Optimizer, batches: int, milestones: Sequence[int], *, warmup: int = 1000, first: float = 1e-3
) -> LambdaLR:
    """Detection: a tenth after each of the epochs `milestones`, of `batches` steps each, times the warm-up."""

    def factor(step: int) -> float:
        return warm_up(step, warmup, first) * 0.1 ** sum(step >= epoch * batches for epoch in milestones)

    return LambdaLR(optimizer, factor)


def linear_decay(optimizer: Optimizer, steps: int, *, warmup: int = 1500, first: float = 1e-6) -> LambdaLR:
    """Segmentation: the warm-up, then linearly to 0 in the last of `steps` steps."""

    def factor(step: int) -> float:
        if step < warmup:
            return warm_up(step, warmup, first)
        return max(1 - (step - warmup) / max(steps - warmup - 1, 1), 0.0)

    return LambdaLR(optimizer, factor)
