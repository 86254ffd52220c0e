"""The run of the script for HAR-DVS, DVS128 Gesture and DVS128-Gait: from frames to result files."""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.analysis.evaluation import evaluate_fully
from common.training import (
    Process,
    Scale,
    announce,
    average_of,
    begin,
    conclude,
    describe,
    evaluate_in_precision,
    evaluation_folder,
    fit,
    fused,
    grad_scaler,
    make_loader,
    mix_frames,
    mixed_precision,
    mixes,
    mixup_of,
)
from sdt_v3.data.events import datasets
from sdt_v3.distill import label_loss
from sdt_v3.flags import TINY_EVENTS, parse_events
from sdt_v3.recipe import build_network, parameter_groups, peak_rate, warmup_cosine
from sdt_v3.results import Results


def build_model(args: argparse.Namespace, process: Process) -> nn.Module:
    """The network that the flags describe; see `build_network`."""
    return build_network(args, process, large=False, in_chans=2, D_Norm=args.D_Norm)


def loader_of(args: argparse.Namespace, process: Process) -> Callable[..., DataLoader]:
    """`make_loader` with what both parts share."""
    return partial(
        make_loader,
        batch_size=args.batch_size,
        process=process,
        seed=args.seed,
        workers=args.num_workers,
        pin_memory=args.pin_mem and process.device.type == "cuda",
    )


def main() -> None:
    """Run the script: train and evaluate, or only evaluate given weights."""
    args = parse_events()
    process = begin(args)
    train_set, test_set = datasets(args, process)
    model = build_model(args, process)
    describe(model, test_set)
    loader = loader_of(args, process)
    evaluate = partial(evaluate_in_precision, loader=loader(test_set, train=False), args=args, process=process)
    if args.eval:
        result = evaluate_fully(model, evaluate, test_set, process, evaluation_folder(args.output_dir, args.weights))
        if process.is_main:
            print(f"{args.weights}: test accuracy {result['acc1']:.2f} % of {result['samples']} recordings")
        return
    if process.is_main:
        what = f"{args.dataset}, {len(train_set)} training and {len(test_set)} test recordings"
        announce(args, TINY_EVENTS, f"{args.model}: {what}")
    history = train(args, process, model, loader(train_set, train=True, drop_last=True), evaluate)
    if process.is_main:
        places = {
            "weights": f"{args.output_dir}/best.pth, last.pth (model and model_ema)",
            "log": args.output_dir / "log.txt",
        }
        conclude(history, args.nb_classes, args.output_dir, args.model, places)


def train(
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
) -> list[dict]:
    """Train with AdamW, the per-step schedule and an average; return one row of metrics per epoch."""
    lr, amp = peak_rate(args, process), mixed_precision(args, process)
    optimizer = torch.optim.AdamW(parameter_groups(model, args.weight_decay), lr, **fused(model))
    ema = average_of(model, args.MODEL_EMA_DECAY)
    scaler = grad_scaler(amp, process, Scale.of(args))
    schedule = {"lr": lr, "min_lr": args.min_lr, "warmup_epochs": args.warmup_epochs, "epochs": args.epochs}
    return fit(
        model,
        loader,
        optimizer=optimizer,
        loss_fn=label_loss(args, mixes(args)),
        epochs=args.epochs,
        evaluate=evaluate,
        process=process,
        output_dir=args.output_dir,
        scheduler=warmup_cosine(optimizer, len(loader), accumulate=args.accum_iter, **schedule),
        schedule="step",
        amp=amp,
        scaler=scaler,
        accumulate=args.accum_iter,
        clip_grad=args.clip_grad,
        ema=ema,
        transform_batch=batch_transform(args),
        on_epoch_end=Results(args, optimizer, scaler, ema).best_and_last,
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"model": args.model, "T": args.time_steps, "num_classes": args.nb_classes, "args": vars(args)},
        select=None,
        tensorboard_dir=args.log_dir,
    )


def batch_transform(args: argparse.Namespace) -> Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]] | None:
    """Mixup and cutmix of clips `[B, T, 2, H, W]`, if the flags ask for them."""
    if not mixes(args):
        return None
    mix = mixup_of(args, args.nb_classes)
    return lambda frames, labels, epoch: mix_frames(mix, frames, labels)
