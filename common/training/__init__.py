"""Training that every paper shares: flags, launching, loading, the one loop, evaluation, checkpoints and logs."""

from common.training.average import average_of
from common.training.checkpoint import load_checkpoint, load_state, load_weights, read_weights, save_checkpoint
from common.training.describe import describe
from common.training.evaluation import as_is, evaluate_classification, mean_over_time
from common.training.flags import Flags, mixing_options
from common.training.launch import Process, main_first, max_over_ranks, run, seed_everything, start, sum_over_ranks
from common.training.loaders import EndlessSampler, GroupedSampler, make_loader, make_shared_loader, stack_time_first
from common.training.loop import fit
from common.training.losses import mse_one_hot, smooth_cross_entropy, tet_cross_entropy
from common.training.mixing import labels_of, mix_frames, mixes, mixup_of
from common.training.program import (
    announce,
    begin,
    class_count,
    classes_to_test,
    conclude,
    data_folder,
    evaluate_in_precision,
    evaluation_folder,
    grad_scaler,
    mixed_precision,
    own_name,
    precision,
    run_folder,
    start_from,
    weights_to_test,
)
from common.training.scale import Scale, fused
from common.training.schedules import cosine
