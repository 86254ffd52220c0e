"""Pretraining of the large family as a masked autoencoder."""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor

from common.datasets.imagenet import imagenet
from common.errors import UserError
from common.training import (
    Flags,
    Process,
    Scale,
    announce,
    begin,
    fit,
    fused,
    grad_scaler,
    make_loader,
    mixed_precision,
)
from sdt_v3.data.images import image_root, pretrain_transform
from sdt_v3.flags import training_options
from sdt_v3.models import mae
from sdt_v3.models.aliases import names_of
from sdt_v3.recipe import peak_rate, warmup_cosine
from sdt_v3.results import Results

TINY = {
    "embed_dim": (16, 32, 64),
    "depth": 2,
    "decoder_embed_dim": 64,
    "decoder_depth": 1,
    "input_size": 64,
    "batch_size": 32,
    "num_workers": 0,
    "lr": 2e-3,
    "warmup_epochs": 1,
    "epochs": 10,
}
"""A preset for a laptop: a narrow, shallow network and small images of digits. None of it is the paper's setting."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The release's flags with its defaults and the common ones beside them.

    Raises:
        UserError: numbers that cannot be meant.
    """
    flags = Flags("Pretrain an SDT V3 network of the large family as a masked autoencoder.")
    training_options(flags, names_of(mae), "spikmae_12_512", batch_size=1024, blr=2e-4)
    flags.option("--mask_ratio", type=float, default=0.5, help="share of hidden patches")
    flags.option("--norm_pix_loss", action=argparse.BooleanOptionalAction, default=True, help="normalise each patch")
    flags.option("--fix_token_order", action="store_true", help="see README: the release's decoder mixes up its tokens")
    flags.option("--decoder_embed_dim", type=int, default=256)
    flags.option("--decoder_depth", type=int, default=4)
    flags.set_defaults(min_lr=5e-6, warmup_epochs=20, num_workers=3)
    args = flags.parse(arguments, TINY)
    args.log_dir = args.log_dir or args.output_dir
    if not 0 < args.mask_ratio < 1:
        raise UserError(f"--mask_ratio {args.mask_ratio:g}: expected a share between 0 and 1")
    if args.eval:
        raise UserError("pretraining has no accuracy to evaluate; fine-tune its checkpoint with main_finetune.py")
    return args


def build_model(args: argparse.Namespace) -> mae.MaskedAutoencoder:
    """The autoencoder that the flags describe.

    Raises:
        UserError: settings that make no network.
    """
    import timm

    names = ("max_value", "mask_ratio", "norm_pix_loss", "fix_token_order", "decoder_embed_dim", "decoder_depth")
    settings = {name: getattr(args, name) for name in names}
    settings |= {name: getattr(args, name) for name in ("embed_dim", "depth") if getattr(args, name) is not None}
    try:
        return timm.create_model(args.model, img_size=args.input_size, **settings)
    except ValueError as error:
        raise UserError(f"{args.model} cannot be built with these settings: {error}") from error


def main() -> None:
    """Run the script."""
    args = parse()
    process = begin(args)
    train_set = imagenet(image_root(args, process), True, pretrain_transform(args.input_size))
    model = build_model(args).to(process.device)
    loader = make_loader(
        train_set,
        args.batch_size,
        train=True,
        process=process,
        seed=args.seed,
        workers=args.num_workers,
        drop_last=True,
        pin_memory=args.pin_mem and process.device.type == "cuda",
    )
    if process.is_main:
        announce(args, TINY, f"{args.model}: {len(train_set)} images, of which {args.mask_ratio:.0%} is hidden")
    history = train(args, process, model, loader)
    if process.is_main:
        print(
            f"loss of the hidden patches {history[0]['train_loss']:.3f} in the first epoch, "
            f"{history[-1]['train_loss']:.3f} in the last\n"
            f"for fine-tuning: --finetune {args.output_dir / f'checkpoint-{args.epochs - 1}.pth'}"
        )


def train(
    args: argparse.Namespace, process: Process, model: mae.MaskedAutoencoder, loader: torch.utils.data.DataLoader
) -> list[dict]:
    """Train with AdamW and the per-step schedule; return one row of metrics per epoch."""
    lr, amp = peak_rate(args, process), mixed_precision(args, process)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr,
        betas=(0.9, 0.95),
        eps=1e-4,
        weight_decay=args.weight_decay,
        **fused(model),
    )
    scaler = grad_scaler(amp, process, Scale.of(args))
    schedule = {"lr": lr, "min_lr": args.min_lr, "warmup_epochs": args.warmup_epochs, "epochs": args.epochs}
    return fit(
        model,
        loader,
        optimizer=optimizer,
        loss_fn=own_loss,
        epochs=args.epochs,
        evaluate=lambda net: {},
        process=process,
        output_dir=args.output_dir,
        scheduler=warmup_cosine(optimizer, len(loader), accumulate=args.accum_iter, **schedule),
        schedule="step",
        amp=amp,
        scaler=scaler,
        accumulate=args.accum_iter,
        reduce_output=None,
        on_epoch_end=Results(args, optimizer, scaler).numbered(every=20),
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"model": args.model, "args": vars(args)},
        select=None,
        tensorboard_dir=args.log_dir,
    )


def own_loss(output: tuple[Tensor, Tensor, Tensor], labels: Tensor) -> Tensor:
    """The loss that the autoencoder computes itself; it needs no labels."""
    return output[0]
