"""E-SpikeFormer, base family, trained from scratch on ImageNet (SDT V3, TPAMI 2025)."""

from functools import partial

from common.training import run
from sdt_v3.flags import TINY_IMAGES, ImageRecipe
from sdt_v3.models import base
from sdt_v3.train_images import main

RECIPE = ImageRecipe(
    family=base,
    model="Efficient_Spiking_Transformer_s",
    tiny=TINY_IMAGES | {"embed_dim": (16, 32, 64, 64), "depth": 4, "batch_size": 32, "epochs": 12},
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
