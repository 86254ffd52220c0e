"""Windows of event recordings as the settings describe them."""

from functools import partial

from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from common.errors import UserError
from common.events.windows import scaled
from common.training import Process, main_first
from ma_snn.config import Config
from ma_snn.flags import Recipe


def scale_counts(config: Config, frames: Tensor) -> Tensor:
    """`is_spike` and `interval_scaling` for frames `[..., T, 2, X, Y]`."""
    return scaled(frames, binary=config.is_spike, to_one=config.interval_scaling)


def datasets(recipe: Recipe, config: Config, process: Process) -> tuple[Dataset, Dataset]:
    """Training and test part; the tiny set is made below `modelPath` when there is no data path."""

    def load(train: bool) -> Dataset:
        parts = [
            recipe.dataset(
                config.savePath,
                train,
                config.T,
                1000 * dt,
                shrink=config.ds,
                clips=config.clip,
                random_start=config.is_train_Enhanced,
                transform=partial(scale_counts, config),
            )
            for dt in (config.dt if isinstance(config.dt, list) else [config.dt])
        ]
        classes = len(getattr(parts[0], "classes", ())) or recipe.dataset.num_classes
        if config.target_size < classes:
            raise UserError(f"target_size = {config.target_size}: {config.savePath} has {classes} classes")
        return ConcatDataset(parts) if len(parts) > 1 else parts[0]

    tiny_root = config.modelPath / "data"
    with main_first(process):
        if config.savePath is None:
            recipe.write_tiny(tiny_root)
        config.savePath = config.savePath or tiny_root
        return load(True), load(False)
