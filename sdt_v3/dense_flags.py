"""The flags of the detection and segmentation scripts; settings files beside them hold the release's values."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.errors import UserError
from common.training import Flags, weights_to_test

ROOT = Path(__file__).parent
DETECTION = ROOT / "Detection" / "mask-rcnn_sdeformer_fpn_1x_coco.yml"
SEGMENTATION = ROOT / "Segmentation" / "fpn_sdtv3_512x512_10M_ade20k.yml"
SMALL = {
    "embed_dim": (24, 32, 48, 64),
    "depth": 2,
    "fpn_channels": 32,
    "img_scale": (64, 64),
    "augment": False,
    "num_workers": 0,
    "warmup_iters": 50,
}
TINY_DETECTION = SMALL | {
    "fc_channels": 512,
    "rpn_samples": 64,
    "roi_samples": 64,
    "batch_size": 4,
    "epochs": 4,
    "milestones": (3,),
    "lr": 2e-3,
    "eps": 1e-2,
}
"""A preset for a laptop: small scenes of four classes, a narrow and shallow network; not the paper's setting."""
TINY_SEGMENTATION = SMALL | {
    "head_channels": 32,
    "crop_size": 64,
    "layer_scale_init": 1.0,
    "batch_size": 4,
    "max_iters": 600,
    "val_interval": 150,
    "checkpoint_interval": 300,
    "lr": 2e-2,
}
"""A preset for a laptop: small scenes of five classes, a narrow and shallow network; not the paper's setting."""


def parse_detection(arguments: Sequence[str] | None = None, *, testing: bool = False) -> argparse.Namespace:
    """The flags of `Detection/train.py`, and of `test.py` if `testing`.

    Raises:
        UserError: numbers that cannot be meant, or a test without weights.
    """
    flags = Flags(f"{'Test' if testing else 'Train or test'} a detector of SDT V3 on COCO, or on data in its form.")
    models = ("sdt_v3_det_mask_rcnn_10m", "sdt_v3_det_mask_rcnn_19m")
    network_options(flags, models, models[1])
    option = flags.option
    option("--fc_channels", type=int, help="width of the box head instead of the model's")
    option("--neck_eval_max", type=int, default=4, help="largest integer of the neck in evaluation; the release's is 1")
    option("--true_strides", action="store_true", help="anchors by the strides that the maps have, unlike the release")
    option("--rpn_samples", type=int, default=256, minimum=2, help="anchors that learn per image")
    option("--roi_samples", type=int, default=512, minimum=2, help="regions that learn per image")
    option("--epochs", type=int, default=12, minimum=1)
    option("--milestones", type=int, nargs="*", default=(8, 11), help="epochs after which the rate falls to a tenth")
    training_options(flags, batch_size=4, lr=2e-4, weight_decay=0.05, warmup=(1000, 1e-3), scale=(1333, 800))
    flags.common()
    return parsed(flags, TINY_DETECTION, DETECTION, arguments, testing)


def parse_segmentation(arguments: Sequence[str] | None = None, *, testing: bool = False) -> argparse.Namespace:
    """The flags of `Segmentation/train.py`, and of `test.py` if `testing`.

    Raises:
        UserError: numbers that cannot be meant, or a test without weights.
    """
    flags = Flags(f"{'Test' if testing else 'Train or test'} a segmentor of SDT V3 on ADE20K, or on data in its form.")
    models = ("sdt_v3_seg_fpn_10m", "sdt_v3_seg_fpn_19m")
    network_options(flags, models, models[0])
    option = flags.option
    option("--head_channels", type=int, help="width of the head instead of the model's")
    option("--layer_scale_init", type=scale_or_none, default=1e-6, help="first layer scale of the blocks, or none")
    option("--num_classes", type=int, minimum=1, help="of data that do not say it")
    option("--max_iters", type=int, default=160_000, minimum=1, help="optimizer steps")
    option("--val_interval", type=int, default=2500, minimum=1, help="steps between evaluations")
    option("--checkpoint_interval", type=int, default=10_000, minimum=1, help="steps between files iter_N.pth")
    option("--head_lr_mult", type=float, default=2.0, help="how much faster the head learns")
    option("--crop_size", type=int, default=512, minimum=32, help="pixels per side of a training sample")
    training_options(flags, batch_size=16, lr=1e-3, weight_decay=0.005, warmup=(1500, 1e-6), scale=(2048, 512))
    flags.common("--epochs")
    args = parsed(flags, TINY_SEGMENTATION, SEGMENTATION, arguments, testing)
    if args.max_iters % args.val_interval:
        raise UserError(
            f"--val_interval {args.val_interval} does not divide --max_iters {args.max_iters}; choose one that does, "
            "so that the last step is evaluated too"
        )
    return args


def network_options(flags: Flags, models: Sequence[str], model: str) -> None:
    """What describes a network."""
    option = flags.option
    option("--model", choices=models, default=model, metavar="NAME", help=f"one of {', '.join(models)}")
    option("--embed_dim", type=int, nargs=4, help="widths of the stages instead of the model's")
    option("--depth", type=int, help="transformer blocks instead of the model's number")
    option("--max_value", type=int, default=4, minimum=1, help="D, the largest integer a neuron emits")
    option("--fpn_channels", type=int, help="width of the neck instead of the model's")


def training_options(
    flags: Flags, batch_size: int, lr: float, weight_decay: float, warmup: tuple[int, float], scale: tuple[int, int]
) -> None:
    """What the two recipes have in common."""
    option = flags.option
    option("--batch_size", type=int, default=batch_size, minimum=1, help="per process")
    option("--lr", type=float, default=lr, help="highest learning rate")
    option("--eps", type=float, default=1e-8, help="of AdamW; a large one slows the weights that hardly matter")
    option("--weight_decay", type=float, default=weight_decay)
    option(
        "--norm_decay",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="decay batch norms too, as the release does although it means not to",
    )
    option("--warmup_iters", type=int, default=warmup[0], minimum=1, help="steps of the linear warm-up")
    option("--warmup_factor", type=float, default=warmup[1], help="share of the learning rate that it begins with")
    option("--img_scale", type=int, nargs=2, default=scale, help="most pixels of the longer and of the shorter side")
    option("--augment", action=argparse.BooleanOptionalAction, default=True, help="the release's random training data")
    option("--num_workers", type=int, default=4, help="loader processes, at most one per core")
    option("--pictures", type=int, default=8, minimum=0, help="test pictures whose results are drawn")
    option("--energy", action="store_true", help="with a test: operations, energy and firing rates over these pictures")


def scale_or_none(text: str) -> float:
    """A number, or 0 of "none"."""
    return 0.0 if text.lower() == "none" else float(text)


def parsed(
    flags: Flags, tiny: dict[str, object], settings: Path, arguments: Sequence[str] | None, testing: bool
) -> argparse.Namespace:
    """The arguments; see `parse_detection`."""
    args = flags.parse(arguments, tiny, settings)
    args.eval = args.eval or testing
    args.weights = weights_to_test(args)
    if args.lr <= 0 or min(args.img_scale) < 32:
        raise UserError(f"--lr {args.lr:g}, --img_scale {args.img_scale}: give a positive rate and at least 32 pixels")
    return args
