"""Training that every paper shares: launching, loading, the one loop, evaluation, checkpoints and logs."""

from common.training.checkpoint import load_checkpoint, load_state, load_weights, read_weights, save_checkpoint
from common.training.evaluation import as_is, evaluate_classification, mean_over_time
from common.training.launch import (
    Process,
    add_arguments,
    main_first,
    max_over_ranks,
    run,
    seed_everything,
    start,
    sum_over_ranks,
)
from common.training.loaders import make_loader, make_shared_loader, stack_time_first
from common.training.loop import fit
from common.training.losses import mse_one_hot, smooth_cross_entropy, tet_cross_entropy
from common.training.schedules import cosine

__all__ = [
    "Process",
    "add_arguments",
    "as_is",
    "cosine",
    "evaluate_classification",
    "fit",
    "load_checkpoint",
    "load_state",
    "load_weights",
    "main_first",
    "make_loader",
    "make_shared_loader",
    "max_over_ranks",
    "mean_over_time",
    "mse_one_hot",
    "read_weights",
    "run",
    "save_checkpoint",
    "seed_everything",
    "smooth_cross_entropy",
    "stack_time_first",
    "start",
    "sum_over_ranks",
    "tet_cross_entropy",
]
