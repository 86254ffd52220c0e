"""The run of the scripts that train and test detectors (SDT V3 on COCO)."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.training import (
    GroupedSampler,
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
from sdt_v3.data.coco import CocoInstances
from sdt_v3.data.dense_transforms import DetectionTest, DetectionTraining, collate_test, collate_training
from sdt_v3.dense_evaluation import evaluate_detection
from sdt_v3.dense_flags import TINY_DETECTION, parse_detection
from sdt_v3.dense_pictures import draw_objects, save_picture
from sdt_v3.dense_recipe import (
    Snapshots,
    build_network,
    conclusion,
    data_root,
    parameter_groups,
    report_test,
    step_decay,
    where_results_are,
)
from sdt_v3.losses import detection_loss

TINY_SET = {"train": 400, "test": 40}
DETECTOR = ("fc_channels", "neck_eval_max", "true_strides", "rpn_samples", "roi_samples")
"""Flags that are arguments of the network."""


def main(testing: bool = False) -> None:
    """Run one script: train and evaluate, or only evaluate given weights."""
    args = parse_detection(testing=testing)
    process = begin(args)
    root = data_root(args, process, "coco", "coco", TINY_SET)
    train_set = CocoInstances(root, True, DetectionTraining(tuple(args.img_scale), args.augment))
    test_set = CocoInstances(root, False, DetectionTest(tuple(args.img_scale)))
    settings = {name: getattr(args, name) for name in DETECTOR}
    model = build_network(args, process, len(train_set.classes), **settings)
    describe(model, test_set)
    loader = partial(make_loader, batch_size=args.batch_size, process=process, seed=args.seed, workers=args.num_workers)
    test_loader = loader(test_set, train=False, collate_fn=collate_test)
    if args.eval:
        return test(args, process, model, test_loader)
    if process.is_main:
        announce(args, TINY_DETECTION, f"{args.model}: {len(train_set)} training and {len(test_set)} test images")
    sampler = GroupedSampler(train_set, process, args.seed, args.batch_size, train_set.is_wide)
    train_loader = loader(train_set, train=True, collate_fn=collate_training, sampler=sampler)
    history = train(args, process, model, train_loader, test_loader)
    show = Shown(args.output_dir / "pictures", test_set, args.pictures)
    evaluate(model, test_loader, args, process, show)
    if process.is_main:
        print(conclusion(history, "bbox_mAP_50"))
        print(conclusion(history, "segm_mAP_50"))
        where_results_are(args, history, "bbox_mAP")


def train(
    args: argparse.Namespace, process: Process, model: nn.Module, train_loader: DataLoader, test_loader: DataLoader
) -> list[dict]:
    """Train with AdamW, warm-up and step decay; return one row of numbers per epoch."""
    groups = parameter_groups(model, args.lr, args.weight_decay, norm_decay=args.norm_decay)
    optimizer = torch.optim.AdamW(groups, lr=args.lr, eps=args.eps, **fused(model))
    schedule = {"warmup": args.warmup_iters, "first": args.warmup_factor}
    return fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=total_loss,
        epochs=args.epochs,
        evaluate=partial(evaluate, loader=test_loader, args=args, process=process),
        process=process,
        output_dir=args.output_dir,
        scheduler=step_decay(optimizer, len(train_loader), args.milestones, **schedule),
        schedule="step",
        amp=mixed_precision(args, process),
        reduce_output=None,
        on_epoch_end=Snapshots(args.output_dir, model, optimizer).after_epoch,
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"model": args.model, "num_classes": model.num_classes, "args": vars(args)},
        select="bbox_mAP",
    )


def total_loss(losses: dict[str, Tensor], images: Tensor) -> Tensor:
    """The loss of a batch, whose targets the network has had already."""
    return detection_loss(losses)


def evaluate(
    model: nn.Module, loader: DataLoader, args: argparse.Namespace, process: Process, show: "Shown | None" = None
) -> dict[str, float]:
    """Precision of boxes and masks, in the precision of training."""
    with precision(args, process):
        return evaluate_detection(model, loader, process, show)


def test(args: argparse.Namespace, process: Process, model: nn.Module, loader: DataLoader) -> None:
    """Evaluate, draw results and, if wanted, count operations."""
    found = evaluate(model, loader, args, process, Shown(args.output_dir / "pictures", loader.dataset, args.pictures))
    report_test(args, process, model, loader.dataset, found, width=12)


class Shown:
    """Draws what was found in the first `count` pictures of a data set, from scores of 0.3 on, into `folder`."""

    def __init__(self, folder: Path, data: CocoInstances, count: int):
        self.folder, self.data, self.count = folder, data, count

    def __call__(self, place: int, detections: dict[str, Tensor]) -> None:
        if place < self.count:
            picture = np.asarray(self.data.read(place)[0])
            name = Path(self.data.images[place]["file_name"]).stem
            save_picture(draw_objects(picture, detections, self.data.classes, 0.3), self.folder / f"{name}.png")
