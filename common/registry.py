"""Registration of a model factory with timm, without importing timm: that takes two seconds, and a flag needs none."""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from torch import nn

TIMM = "timm.models"
waiting: list[Callable[..., nn.Module]] = []
"""What timm is given as soon as somebody imports it."""


class _WithTimm(MetaPathFinder):
    """Gives timm what is waiting, at the end of its import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path) if fullname == TIMM else None
        if spec is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            for entrypoint in waiting:
                module.register_model(entrypoint)

        spec.loader.exec_module = execute_and_register
        return spec


if TIMM not in sys.modules:
    sys.meta_path.insert(0, _WithTimm())


def register(factory: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Make `timm.create_model(factory.__name__, **kwargs)` call `factory(**kwargs)`.

    With `pretrained=True` weights come from where timm says, see `common.pretrained`; by themselves networks have none.
    """

    @functools.wraps(factory)
    def entrypoint(
        *,
        pretrained=False,
        pretrained_cfg=None,
        pretrained_cfg_overlay=None,
        pretrained_model_args=None,
        cache_dir=None,
        **kwargs,
    ):
        model = factory(**kwargs)
        model.made_by = {"model": factory.__name__, "create": kwargs}  # for the card of its weights
        if pretrained:
            from common.pretrained import load_pretrained  # slow to import

            load_pretrained(model, factory.__name__, pretrained_cfg, pretrained_cfg_overlay, cache_dir)
        return model

    if TIMM in sys.modules:
        sys.modules[TIMM].register_model(entrypoint)
    else:
        waiting.append(entrypoint)
    return entrypoint
