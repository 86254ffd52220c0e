"""The run of the scripts that train classifiers on images, for the base and the large family."""

import argparse
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.analysis.evaluation import evaluate_fully
from common.training import (
    Process,
    Scale,
    announce,
    as_is,
    average_of,
    begin,
    conclude,
    describe,
    evaluate_in_precision,
    evaluation_folder,
    fit,
    grad_scaler,
    make_loader,
    mixed_precision,
    mixes,
    mixup_of,
)
from sdt_v3.data.images import train_and_val
from sdt_v3.distill import ask, build_teacher, distilling, label_loss
from sdt_v3.flags import ImageRecipe, parse_images
from sdt_v3.recipe import build_network, parameter_groups, peak_rate, warmup_cosine
from sdt_v3.results import Results


def build_model(recipe: ImageRecipe, args: argparse.Namespace, process: Process) -> nn.Module:
    """The network that the flags describe; see `build_network`."""
    settings = {"T": args.time_steps, "drop_path": args.drop_path, "kd": args.kd} if recipe.is_large else {}
    return build_network(args, process, large=recipe.is_large, **settings)


def main(recipe: ImageRecipe) -> None:
    """Run one script: train and evaluate, or only evaluate given weights."""
    args = parse_images(recipe)
    process = begin(args)
    train_set, test_set = train_and_val(args, process)
    model = build_model(recipe, args, process)
    describe(model, test_set)
    loader = partial(
        make_loader,
        batch_size=args.batch_size,
        process=process,
        seed=args.seed,
        workers=args.num_workers,
        pin_memory=args.pin_mem and process.device.type == "cuda",
    )
    test_loader = loader(test_set, train=False)
    evaluate = partial(evaluate_in_precision, loader=test_loader, args=args, process=process)
    if args.eval:
        result = evaluate_fully(model, evaluate, test_set, process, evaluation_folder(args.output_dir, args.weights))
        if process.is_main:
            print(f"{args.weights}: test accuracy {result['acc1']:.2f} % of {result['samples']} images")
        return
    if process.is_main:
        announce(args, recipe.tiny, f"{args.model}: {len(train_set)} training and {len(test_set)} test images")
    sampler = None
    if args.repeated_aug:
        from common.training.repeated_augmentation import RepeatedAugmentation

        sampler = RepeatedAugmentation(train_set, process, args.seed)
    train_loader = loader(train_set, train=True, drop_last=True, sampler=sampler)
    teacher = build_teacher(args, process, train_loader, test_loader) if args.kd else None
    history = train(recipe, args, process, model, train_loader, evaluate, teacher)
    if process.is_main:
        places = {
            "best weights": args.output_dir / "best.pt",
            "last weights": args.output_dir / f"checkpoint-{args.epochs - 1}.pth",
            "log": args.output_dir / "log.txt",
        }
        conclude(history, args.nb_classes, args.output_dir, args.model, places)


def train(
    recipe: ImageRecipe,
    args: argparse.Namespace,
    process: Process,
    model: nn.Module,
    train_loader: DataLoader,
    evaluate: Callable[[nn.Module], dict[str, float]],
    teacher: nn.Module | None,
) -> list[dict]:
    """Train with LAMB and the per-step schedule; return one row of metrics per epoch."""
    from timm.optim import Lamb

    lr, amp = peak_rate(args, process), mixed_precision(args, process)
    layer_decay = args.layer_decay if recipe.is_large else 1.0
    optimizer = Lamb(parameter_groups(model, args.weight_decay, layer_decay), lr=lr, trust_clip=True)
    schedule = {"lr": lr, "min_lr": args.min_lr, "warmup_epochs": args.warmup_epochs, "epochs": args.epochs}
    ema = average_of(model, args.MODEL_EMA_DECAY) if recipe.is_large and args.MODEL_EMA else None
    scaler = grad_scaler(amp, process, Scale.of(args))
    loss_fn = label_loss(args, mixes(args))
    if teacher is not None:
        loss_fn = distilling(loss_fn, args.distillation_type, args.distillation_alpha, args.distillation_tau)
    return fit(
        model,
        train_loader,
        optimizer=optimizer,
        loss_fn=loss_fn,
        epochs=args.epochs,
        evaluate=evaluate,
        process=process,
        output_dir=args.output_dir,
        scheduler=warmup_cosine(optimizer, len(train_loader), accumulate=args.accum_iter, **schedule),
        schedule="step",
        amp=amp,
        scaler=scaler,
        accumulate=args.accum_iter,
        clip_grad=args.clip_grad,
        ema=ema,
        transform_batch=batch_transform(args, process, teacher),
        reduce_output=first if args.kd and recipe.is_large else as_is,
        on_epoch_end=Results(args, optimizer, scaler, ema).numbered(every=50),
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"model": args.model, "T": args.time_steps, "num_classes": args.nb_classes, "args": vars(args)},
        tensorboard_dir=args.log_dir,
    )


def first(output: tuple[Tensor, Tensor]) -> Tensor:
    """The logits that learn from the labels, of the two that a distilled network returns in training."""
    return output[0]


def batch_transform(
    args: argparse.Namespace, process: Process, teacher: nn.Module | None
) -> Callable[[Tensor, Tensor, int], tuple[Tensor, object]] | None:
    """Mixup, then the teacher's opinion of what came out: (images, target) or (images, (target, logits))."""
    mix = mixup_of(args, args.nb_classes) if mixes(args) else None
    if mix is None and teacher is None:
        return None
    opinion = ask(teacher, args, process) if teacher is not None else None

    def transform(images: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, object]:
        target = labels
        if mix is not None:
            images, target = mix(images, labels)
        return images, target if opinion is None else (target, opinion(images))

    return transform
