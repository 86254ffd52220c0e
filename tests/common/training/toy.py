"""A training script small enough to run many times: two layers, forty made-up samples, every switch of `fit`."""

import os
import random
import signal
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from common.recompute import Blocks
from common.training import (
    Flags,
    Scale,
    average_of,
    begin,
    cosine,
    evaluate_classification,
    fit,
    make_loader,
    mean_over_time,
    run,
    tet_cross_entropy,
)

SAMPLES, FEATURES, CLASSES, T = 41, 6, 5, 3


class Points(Dataset):
    """Fixed random points; `noise` shakes each of them with the three random generators that transforms use."""

    def __init__(self, noise: bool):
        generator = torch.Generator().manual_seed(0)
        self.points = torch.randn(SAMPLES, FEATURES, dtype=torch.float64, generator=generator)
        self.labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
        self.noise = noise

    def __len__(self):
        return SAMPLES

    def __getitem__(self, index):
        shake = random.random() + np.random.rand() + torch.rand(()).item() if self.noise else 0.0
        return self.points[index] + shake, self.labels[index]


class Toy(nn.Module):
    """`[B, FEATURES]` -> `[T, B, CLASSES]`, the same logits at every step but for dropout."""

    def __init__(self, dropout: float):
        super().__init__()
        self.hidden = Blocks(nn.Linear(FEATURES, 16))
        self.norm = nn.BatchNorm1d(16) if dropout else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(16, CLASSES)
        self.double()

    def forward(self, x):
        hidden = torch.tanh(self.norm(self.hidden(x)))
        return torch.stack([self.head(self.dropout(hidden)) for _ in range(T)])


def main(argv=None):
    parser = Flags("A toy.")
    parser.common()
    parser.add_argument("-b", "--batch-size", type=int, default=4)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--random", action="store_true", help="dropout, batch norm and noise on the samples")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--ema", action="store_true")
    parser.add_argument("--sync-bn", action="store_true")
    parser.add_argument("--kill-after", type=int, help="SIGKILL before the checkpoint of this epoch is written")
    parser.add_argument("--stop-at", type=int, help="SIGTERM to the last rank while it works on this batch")
    parser.add_argument("--ask-at", type=int, help="SIGUSR1 to the last rank while it works on this batch")
    parser.add_argument("--kill-at", type=int, help="SIGKILL while it works on this batch")
    parser.add_argument("--nan-at", type=int, help="spoil this batch of the last rank")
    parser.add_argument("--port", help="where the processes of this run meet")
    parser.set_defaults(epochs=3)
    args = parser.parse(argv)
    if args.port:
        os.environ["MASTER_PORT"] = args.port

    args.device = "cpu"
    process = begin(args)
    model = Toy(0.5 if args.random else 0.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train = make_loader(
        Points(args.random), args.batch_size, train=True, process=process, workers=args.workers, drop_last=True
    )
    test = make_loader(Points(False), args.batch_size, train=False, process=process)
    counter = iter(range(1, 10**6))

    def disturb(inputs, labels, epoch):
        batch = next(counter)
        last_rank = process.rank == process.world_size - 1
        for at, number in ((args.stop_at, "SIGTERM"), (args.ask_at, "SIGUSR1"), (args.kill_at, "SIGKILL")):
            if last_rank and batch == at:
                os.kill(os.getpid(), getattr(signal, number))
        return (inputs * float("nan") if last_rank and batch == args.nan_at else inputs), labels

    def die(model, history):
        if history[-1]["epoch"] == args.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    return fit(
        model,
        train,
        optimizer=optimizer,
        loss_fn=tet_cross_entropy,
        epochs=args.epochs,
        evaluate=lambda net: evaluate_classification(net, test, tet_cross_entropy, process, mean_over_time),
        process=process,
        output_dir=args.output_dir,
        scheduler=cosine(optimizer, args.epochs),
        amp=args.amp,
        accumulate=args.accumulate,
        clip_grad=1.0,
        ema=average_of(model, 0.9) if args.ema else None,
        transform_batch=disturb,
        reduce_output=mean_over_time,
        sync_bn=args.sync_bn,
        on_epoch_end=die,
        resume=args.resume,
        checkpoint_every=args.checkpoint_every,
        scale=Scale.of(args),
        metadata={"model": "toy", "T": T, "num_classes": CLASSES, "args": vars(args)},
    )


def main_repeatedly(arguments):
    """Several runs in one process, separated by the word "then"; says how each of them ended."""
    while arguments:
        end = arguments.index("then") if "then" in arguments else len(arguments)
        mine, arguments = arguments[:end], arguments[end + 1 :]
        try:
            run(lambda mine=mine: main(mine))
        except SystemExit as left:
            print("exit status", left.code, flush=True)
            if not arguments:
                raise


if __name__ == "__main__":
    main_repeatedly(sys.argv[1:])
