"""The average of the weights that is tested beside them."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def average_of(model: nn.Module, decay: float) -> AveragedModel:
    """The average a of weights and buffers w, from the present ones on, as timm's ModelEma has it.

    After every optimizer step a = decay a + (1 - decay) w.
    """
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    average.n_averaged.fill_(1)  # at 0 torch would replace the present weights by those after the first step
    return average
