"""E-SpikeFormer, large family: fine-tuning and distillation on ImageNet (SDT V3, TPAMI 2025)."""

from functools import partial

from common.training import run
from sdt_v3.flags import TINY_IMAGES, ImageRecipe
from sdt_v3.models import large
from sdt_v3.train_images import main

RECIPE = ImageRecipe(
    family=large,
    model="spikformer_12_512",
    tiny=TINY_IMAGES | {"embed_dim": (16, 32, 64), "depth": 2, "epochs": 6, "MODEL_EMA_DECAY": 0.99},
)

if __name__ == "__main__":
    run(partial(main, RECIPE))
