"""What the scripts on HAR-DVS, DVS128 Gesture and DVS128-Gait share: flags, data, network and the training recipe."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from common.analysis import figures
from common.conversion.prepare import prepare
from common.datasets.dvs128_gesture import DVS128Gesture
from common.errors import UserError
from common.tiny.events import write_tiny
from common.training import (
    Process,
    evaluate_classification,
    fit,
    main_first,
    make_loader,
    seed_everything,
    start,
)
from common.training.record import verdict
from sdt_v3.data.gait import GaitWindows
from sdt_v3.data.hardvs import HarDvs
from sdt_v3.data.tiny_hardvs import write_tiny_hardvs
from sdt_v3.distill import label_loss
from sdt_v3.models import dvs
from sdt_v3.models.aliases import names_of
from sdt_v3.network import build_network
from sdt_v3.options import (
    Flags,
    announce,
    classifier_options,
    mixed_precision,
    peak_rate,
    training_options,
    weights_to_evaluate,
)
from sdt_v3.results import Results
from sdt_v3.training import parameter_groups, warmup_cosine

CLASSES = {"har-dvs": 300, "gesture": 11, "gait-day": 21, "gait-night": 21}
FOLDERS = {"har-dvs": "HARDVS", "gesture": "DVS128Gesture", "gait-day": "gait-day", "gait-night": "gait-night"}
AUGMENTATION = (
    *("--aa", "--color_jitter", "--reprob", "--remode", "--recount", "--mixup", "--cutmix", "--cutmix_minmax"),
    *("--mixup_prob", "--mixup_switch_prob", "--mixup_mode", "--drop_path"),
)
"""The release's frames pass through none of these."""
TINY = {
    "nb_classes": 10,
    "time_steps": 4,
    "input_size": 64,
    "embed_dim": (16, 32, 64, 64),
    "depth": 4,
    "batch_size": 16,
    "num_workers": 0,
    "lr": 2e-3,
    "warmup_epochs": 1,
    "epochs": 12,
    "mirror": False,
    "MODEL_EMA_DECAY": 0.95,
}
"""A preset for a laptop: small frames, a narrow and shallow network. None of it is the paper's setting."""
TINY_GESTURES = {"classes": 10, "per_class": 40}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The release's flags with its defaults and the common ones beside them.

    Raises:
        UserError: a combination that cannot run.
    """
    flags = Flags("Train or evaluate an SDT V3 network on event frames.")
    model = "Efficient_Spiking_Transformer_scaling_8_19M"
    training_options(flags, names_of(dvs), model, batch_size=96, blr=6e-4)
    classifier_options(flags, time_steps=8, nb_classes=None, clip_grad=1.0)
    flags.without_effect(AUGMENTATION)
    option = flags.option
    option("--dataset", choices=tuple(CLASSES), default="har-dvs")
    option("--train_list", type=Path, help="HAR-DVS labels; by default train_label.txt in the data folder")
    option("--test_list", type=Path, help="HAR-DVS labels; by default test_label.txt in the data folder")
    option("--mirror", action=argparse.BooleanOptionalAction, default=True, help="mirror half of the HAR-DVS clips")
    option("--flip_frames", action="store_true", help="mirror each frame of a clip independently, as the release does")
    option("--downsample", type=int, default=1, help="shrinks the sensor of gesture and gait this many times")
    option("--MODEL_EMA_DECAY", type=float, default=0.999, help="of the average of the weights")
    option("--D_Norm", type=float, help="what the neurons divide by, instead of the model's number")
    flags.set_defaults(seed=42)
    args = flags.parse(TINY, arguments)
    args.nb_classes = args.nb_classes or CLASSES[args.dataset]
    weights_to_evaluate(args)
    if args.time_steps < 1:
        raise UserError(f"--time_steps {args.time_steps}: the network needs at least one frame")
    return args


def datasets(args: argparse.Namespace, process: Process) -> tuple[Dataset, Dataset]:
    """Training and test part; a tiny set, or frames of raw gestures, are made below the output folder first.

    Raises:
        UserError: missing or damaged data.
    """
    source, cache = args.data_path or Path("data") / FOLDERS[args.dataset], args.output_dir / "data"
    made_here = args.tiny and not args.data_path
    if args.dataset == "har-dvs":
        with main_first(process):
            root = write_tiny_hardvs(cache / "hardvs_tiny") if made_here else source
        lists = args.train_list or root / "train_label.txt", args.test_list or root / "test_label.txt"
        flips = {"mirror": args.mirror, "flip_frames": args.flip_frames}
        return (
            HarDvs(root, lists[0], True, args.time_steps, args.input_size, **flips),
            HarDvs(root, lists[1], False, args.time_steps, args.input_size),
        )
    if args.dataset == "gesture":
        settings = {"T": args.time_steps, "downsample": args.downsample}
        with main_first(process):
            source = write_tiny("dvs128", cache / "gesture_tiny_raw", **TINY_GESTURES) if made_here else source
            root = prepare(DVS128Gesture, source, cache / f"gesture_{source.resolve().name}", **settings).root
        return DVS128Gesture(root, True, **settings), DVS128Gesture(root, False, **settings)
    with main_first(process):  # converts the text files
        parts = [GaitWindows(source, train, args.time_steps, factor=args.downsample) for train in (True, False)]
    return parts[0], parts[1]


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


def evaluate_frames(
    model: nn.Module, loader: DataLoader, args: argparse.Namespace, process: Process
) -> dict[str, float]:
    """Cross entropy and accuracies in the precision of training."""
    with torch.autocast(process.device.type, enabled=mixed_precision(args, process)):
        return evaluate_classification(model, loader, F.cross_entropy, process)


def main() -> None:
    """Run the script: train and evaluate, or only evaluate given weights."""
    args = parse()
    process = start(args.device, args.local_rank)
    seed_everything(args.seed, process.rank)
    train_set, test_set = datasets(args, process)
    model = build_model(args, process)
    loader = loader_of(args, process)
    evaluate = partial(evaluate_frames, loader=loader(test_set, train=False), args=args, process=process)
    if args.eval:
        result = evaluate(model)
        if process.is_main:
            print(f"{args.finetune}: test accuracy {result['acc1']:.2f} % of {result['samples']} recordings")
        return
    if process.is_main:
        announce(args, TINY, f"{args.dataset}, {len(train_set)} training and {len(test_set)} test recordings")
    history = train(args, process, model, loader(train_set, train=True, drop_last=True), evaluate)
    if process.is_main:
        report(args, history)


def train(
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
) -> list[dict]:
    """Train with AdamW, the per-step schedule and an average; return one row of metrics per epoch."""
    lr, amp = peak_rate(args, process), mixed_precision(args, process)
    optimizer = torch.optim.AdamW(parameter_groups(model, args.weight_decay, args.layer_decay), lr)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(args.MODEL_EMA_DECAY), use_buffers=True)
    scaler = torch.amp.GradScaler(enabled=amp and process.device.type == "cuda")
    schedule = {"lr": lr, "min_lr": args.min_lr, "warmup_epochs": args.warmup_epochs, "epochs": args.epochs}
    return fit(
        model,
        loader,
        optimizer=optimizer,
        loss_fn=label_loss(args, mixed=False),
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
        on_epoch_end=Results(args, optimizer, scaler, ema).best_and_last,
        resume=args.resume,
        metadata={"model": args.model, "T": args.time_steps, "num_classes": args.nb_classes, "args": vars(args)},
        select=None,
        tensorboard_dir=args.log_dir,
    )


def report(args: argparse.Namespace, history: list[dict]) -> None:
    """Draw the curves of a finished run and say where everything lies."""
    figures.training_curves(history, args.output_dir / "curves.png", args.model)
    print(
        f"{verdict(history, args.nb_classes)}\n"
        f"weights        {args.output_dir}/best.pth, last.pth (model and model_ema)\n"
        f"checkpoint     {args.output_dir / 'checkpoint.pt'}  (continue with --resume)\n"
        f"metrics        {args.output_dir}/log.txt, log.csv, curves.png"
    )
