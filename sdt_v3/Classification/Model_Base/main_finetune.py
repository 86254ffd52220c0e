"""E-SpikeFormer, base family, trained from scratch on ImageNet (SDT V3, TPAMI 2025)."""

from functools import partial

from common.training import run
from sdt_v3.finetune import TINY, Recipe, main
from sdt_v3.models import base

RECIPE = Recipe(
    family=base,
    model="Efficient_Spiking_Transformer_s",
    tiny=TINY | {"embed_dim": (16, 32, 64, 64), "depth": 4, "batch_size": 32, "epochs": 12},
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
