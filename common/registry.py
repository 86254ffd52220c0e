"""Registration of a model factory with timm."""

import functools
from collections.abc import Callable

from timm.models import register_model
from torch import nn


def register(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Make `timm.create_model(factory.__name__, **kwargs)` call `factory(**kwargs)`.

    timm also passes where pretrained weights would come from; this repository loads weights by `--weights` instead.
    """

    @register_model
    @functools.wraps(factory)
    def entrypoint(*, pretrained=False, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **kwargs):
        if pretrained:
            raise ValueError(f"{factory.__name__} ships no weights; create it without `pretrained` and load a file")
        return factory(**kwargs)

    return entrypoint
