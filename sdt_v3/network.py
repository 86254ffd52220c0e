"""The classifier that a script's flags and the weights it starts from describe."""

import argparse

import timm
from torch import nn

from common.errors import UserError
from common.training import Process, load_state, read_weights
from sdt_v3.models.checkpoint import completed, settings_of


def build_network(args: argparse.Namespace, process: Process, *, large: bool, **settings: object) -> nn.Module:
    """`--model` with `settings`; widths and branches are those of the weights in `--finetune`, if given.

    Evaluation takes every weight or none; training lets heads and layer scales start anew, and says so.

    Args:
        args: model, nb_classes, max_value, embed_dim, depth, finetune, eval.
        process: decides the device.
        large: whether the model is of the large family.
        settings: further arguments of the model; None stands for the model's own default.

    Raises:
        UserError: settings that make no network, or weights that do not fit it.
    """
    settings |= {"max_value": args.max_value, "embed_dim": args.embed_dim, "depth": args.depth}
    settings = {name: value for name, value in settings.items() if value is not None}
    weights = read_weights(args.finetune) if args.finetune else None
    if weights is not None:
        found = settings_of(weights)
        if ("rep_ratio" in found) != large:
            raise UserError(f"{args.finetune} holds weights of another family than {args.model}; choose its --model")
        if not args.eval:
            found.pop("kd", None)
        settings |= found
    try:
        model = timm.create_model(args.model, num_classes=args.nb_classes, **settings)
    except ValueError as error:
        raise UserError(f"{args.model} cannot be built with these settings: {error}") from error
    if weights is not None:
        anew = []
        if not args.eval:
            weights, anew = completed(weights, model)
        load_state(model, weights, args.finetune)
        if process.is_main:
            print(f"weights from {args.finetune}; new are {', '.join(anew) or 'none'}")
    return model.to(process.device)
