"""The run of the scripts that train and test segmentors (SDT V3 on ADE20K)."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.training import (
    EndlessSampler,
    Process,
    Scale,
    announce,
    begin,
    describe,
    fit,
    fused,
    make_loader,
    mixed_precision,
    precision,
)
from sdt_v3.data.ade20k import SceneParsing
from sdt_v3.data.dense_transforms import SegmentationTest, SegmentationTraining, collate_test
from sdt_v3.dense_evaluation import evaluate_segmentation
from sdt_v3.dense_flags import TINY_SEGMENTATION, parse_segmentation
from sdt_v3.dense_pictures import draw_labels, save_picture
from sdt_v3.dense_recipe import (
    Snapshots,
    build_network,
    conclusion,
    data_root,
    linear_decay,
    parameter_groups,
    report_test,
    where_results_are,
)
from sdt_v3.losses import segmentation_loss

TINY_SET = {"train": 160, "test": 40}


def main(testing: bool = False) -> None:
    """Run one script: train and evaluate, or only evaluate given weights."""
    args = parse_segmentation(testing=testing)
    process = begin(args)
    root, scale = data_root(args, process, "ADEChallengeData2016", "ade20k", TINY_SET), tuple(args.img_scale)
    train_set = SceneParsing(root, True, SegmentationTraining(scale, args.crop_size, args.augment), args.num_classes)
    test_set = SceneParsing(root, False, SegmentationTest(scale), len(train_set.classes))
    settings = {"head_channels": args.head_channels, "layer_scale_init": args.layer_scale_init}
    model = build_network(args, process, len(train_set.classes), **settings)
    describe(model, test_set)
    loader = partial(make_loader, batch_size=args.batch_size, process=process, seed=args.seed, workers=args.num_workers)
    test_loader = loader(test_set, train=False, collate_fn=collate_test)
    if args.eval:
        return test(args, process, model, test_loader)
    if process.is_main:
        announce(args, TINY_SEGMENTATION, f"{args.model}: {len(train_set)} training and {len(test_set)} test images")
    sampler = EndlessSampler(train_set, process, args.seed, args.val_interval * args.batch_size)
    history = train(args, process, model, loader(train_set, train=True, sampler=sampler), test_loader)
    show = Shown(args.output_dir / "pictures", test_set, args.pictures)
    evaluate(model, test_loader, args, process, show)
    if process.is_main:
        print(conclusion(history, "mIoU"))
        where_results_are(args, history, "mIoU")


def train(
    args: argparse.Namespace, process: Process, model: nn.Module, train_loader: DataLoader, test_loader: DataLoader
) -> list[dict]:
    """Train with AdamW, warm-up and linear decay; return one row of numbers per evaluation."""
    groups = parameter_groups(
        model, args.lr, args.weight_decay, head_factor=args.head_lr_mult, norm_decay=args.norm_decay
    )
    optimizer = torch.optim.AdamW(groups, lr=args.lr, eps=args.eps, **fused(model))
    schedule = {"warmup": args.warmup_iters, "first": args.warmup_factor}
    return fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=segmentation_loss,
        epochs=args.max_iters // args.val_interval,
        evaluate=partial(evaluate, loader=test_loader, args=args, process=process),
        process=process,
        output_dir=args.output_dir,
        scheduler=linear_decay(optimizer, args.max_iters, **schedule),
        schedule="step",
        amp=mixed_precision(args, process),
        reduce_output=None,
        after_step=Snapshots(args.output_dir, model, optimizer).after_step(args.checkpoint_interval),
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"model": args.model, "num_classes": model.num_classes, "args": vars(args)},
        select="mIoU",
    )


def evaluate(
    model: nn.Module, loader: DataLoader, args: argparse.Namespace, process: Process, show: "Shown | None" = None
) -> dict[str, float]:
    """Intersection over union and accuracies, in the precision of training."""
    with precision(args, process):
        return evaluate_segmentation(model, loader, process, show)


def test(args: argparse.Namespace, process: Process, model: nn.Module, loader: DataLoader) -> None:
    """Evaluate, draw results and, if wanted, count operations."""
    found = evaluate(model, loader, args, process, Shown(args.output_dir / "pictures", loader.dataset, args.pictures))
    report_test(args, process, model, loader.dataset, found, width=6)


class Shown:
    """Draws the classes found in the first `count` pictures of a data set into `folder`, and writes them as a map.

    In a map as in the data set: 1, 2, ... are the classes.
    """

    def __init__(self, folder: Path, data: SceneParsing, count: int):
        self.folder, self.data, self.count = folder, data, count

    def __call__(self, place: int, labels: Tensor) -> None:
        if place < self.count:
            picture = np.asarray(self.data.read(place)[0])
            name, labels = self.data.files[place][0].stem, labels.numpy()
            save_picture(draw_labels(picture, labels), self.folder / f"{name}.png")
            save_picture((labels + 1).astype(np.uint8), self.folder / f"{name}_labels.png")
