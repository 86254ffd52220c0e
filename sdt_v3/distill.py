"""The teacher of SDT V3's distillation, and the loss that listens to it."""

import argparse
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.errors import UserError
from common.training import (
    Process,
    cosine,
    evaluate_classification,
    fit,
    load_state,
    load_weights,
    precision,
    read_weights,
    smooth_cross_entropy,
)
from sdt_v3.recipe import distillation_loss, mix_losses

AUTHORS_NAMES = {"caformer_b36_in21ft1k": "caformer_b36.sail_in22k_ft_in1k"}
STAND_IN = "test_resnet"
STAND_IN_EPOCHS = 8
Loss = Callable[[Tensor, Tensor], Tensor]


def build_teacher(args: argparse.Namespace, process: Process, train: DataLoader, test: DataLoader) -> nn.Module:
    """The frozen teacher in evaluation mode: images `[B, 3, H, W]` to logits `[B, K]`.

    Its weights are `--teacher_weights`, in timm's form or, for a MetaFormer, that of its authors. Only `--tiny` can do
    without: it first trains a small residual network on the training images.

    Raises:
        UserError: no weights, weights that do not fit, or a name that timm does not know.
    """
    import timm
    from timm.models.metaformer import MetaFormer, checkpoint_filter_fn

    name = AUTHORS_NAMES.get(args.teacher_model, args.teacher_model)
    if not args.teacher_weights and not args.tiny:
        raise UserError(f"--kd needs the weights of the teacher {name}: add --teacher_weights FILE; see Train_Large.md")
    if not args.teacher_weights:
        return trained_stand_in(args, process, train, test)
    if not timm.is_model(name):
        raise UserError(f"--teacher_model {args.teacher_model}: timm has no such model; see timm.list_models()")
    teacher = timm.create_model(name, num_classes=args.nb_classes)
    weights = read_weights(args.teacher_weights)
    if isinstance(teacher, MetaFormer):
        try:
            weights = checkpoint_filter_fn(weights, teacher)
        except KeyError as error:
            raise UserError(f"{args.teacher_weights}: {error} is no weight of {name}; check --teacher_model") from error
    load_state(teacher, weights, args.teacher_weights)
    return teacher.to(process.device).eval().requires_grad_(False)


def trained_stand_in(args: argparse.Namespace, process: Process, train: DataLoader, test: DataLoader) -> nn.Module:
    """A small residual network, trained for a few epochs in `<output_dir>/teacher`, or read from there if it was."""
    import timm

    folder = args.output_dir / "teacher"
    teacher = timm.create_model(STAND_IN, num_classes=args.nb_classes)
    if process.is_main:
        print(f"the teacher is a stand-in for a CAFormer: timm's {STAND_IN}, first trained here, into {folder}")
    optimizer = torch.optim.AdamW(teacher.parameters(), 2e-3)
    fit(
        teacher,
        train,
        optimizer=optimizer,
        loss_fn=F.cross_entropy,
        epochs=STAND_IN_EPOCHS,
        evaluate=partial(evaluate_classification, loader=test, loss_fn=F.cross_entropy, process=process),
        process=process,
        output_dir=folder,
        scheduler=cosine(optimizer, STAND_IN_EPOCHS),
        resume=(folder / "checkpoint.pt").exists(),
    )
    load_weights(teacher, folder / "best.pt")
    return teacher.eval().requires_grad_(False)


def ask(teacher: nn.Module, args: argparse.Namespace, process: Process) -> Callable[[Tensor], Tensor]:
    """A function from images `[B, 3, H, W]` to the teacher's logits `[B, K]`, in float32."""

    @torch.no_grad()
    def logits(images: Tensor) -> Tensor:
        with precision(args, process):
            return teacher(images).float()

    return logits


def distilling(base: Loss, kind: str, alpha: float, tau: float) -> Callable[[object, tuple[Tensor, Tensor]], Tensor]:
    """(1 - alpha) base(logits, target) + alpha distillation(distilled, teacher), of outputs (logits, distilled).

    A network with a single head, as the base family's, learns both in it.
    """

    def loss(output: Tensor | tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
        logits, distilled = output if isinstance(output, tuple) else (output, output)
        labels, teacher = target
        return mix_losses(base(logits, labels), distillation_loss(distilled, teacher, kind, tau), alpha)

    return loss


def label_loss(args: argparse.Namespace, mixed: bool) -> Loss:
    """Cross entropy with `--smoothing`, which mixed targets `[B, K]` already contain."""
    return partial(smooth_cross_entropy, smoothing=0.0 if mixed else args.smoothing)
