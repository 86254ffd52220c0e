"""Energy of one inference of Spikingformer on ImageNet, from the firing rates of trained weights.

    python energy_consumption_on_imagenet.py --resume checkpoint-284.pth.tar --data-path IMAGENET

Flags and settings file are those of test.py. Counted are convolutions, head and attention over the validation images,
as the authors count them: the first convolution at each of the T steps. Without weights it only prints the totals that
follow from the authors' published logs.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from common.analysis.energy import energy, with_heads
from common.analysis.energy_report import energy_report
from common.analysis.operations import count_operations
from common.training import Process, run, start
from spikingformer import PAPER
from spikingformer.data.images import data_root, open_part
from spikingformer.flags import IMAGENET, checked, image_flags
from spikingformer.published import energy_logs, logged_layers
from spikingformer.recipe import build_model
from spikingformer.train_images import loader_of

FORMULA = PAPER.energy


def main() -> None:
    """Print the published totals and, with weights, count and report those of the weights."""
    flags = image_flags(IMAGENET)
    flags.option("--attention-heads", type=int, help="count attention as if divided into this many heads")
    args = flags.parse(tiny=IMAGENET.tiny, config=IMAGENET.config)
    print_published()
    if not (args.weights or args.resume):
        print("to count trained weights: add --resume FILE and --data-path IMAGENET; --help lists the flags")
        return
    args, process = checked(args, testing=True), start(args.device)
    loader = loader_of(args, process, open_part(args, data_root(args, process), train=False), train=False)
    model = build_model(args, IMAGENET.variant, process)
    layers = count_operations(model, frames(loader, args.T, process))
    if args.attention_heads:
        layers = with_heads(layers, args.attention_heads)
    print(f"{args.weights}: {FORMULA}")
    energy_report(layers, FORMULA, args.output, f"energy-{args.network}-{args.img_size}")


def frames(loader: DataLoader, T: int, process: Process) -> Iterator[Tensor]:
    """The images as T equal frames `[B, T, C, H, W]`: so every layer counts T times."""
    for images, _ in tqdm(loader, unit=" batches", leave=False, disable=None):
        yield images.to(process.device)[:, None].expand(-1, T, -1, -1, -1)


def print_published() -> None:
    """The totals that follow from the authors' logs, beside the totals that they report."""
    print(f"from the published logs, {FORMULA}:")
    for name, log in energy_logs().items():
        layers = logged_layers(log)
        total = energy(layers, FORMULA)
        print(
            f"  {name}: MAC {total.mac / 1e9:.6f} G, AC {total.ac / 1e9:.6f} G, {total.millijoules:.4f} mJ "
            f"(reported {log['reported_energy_mJ']:.4f} mJ, with {log['ssa_info']['Nheads']} attention heads)"
        )


if __name__ == "__main__":
    run(main)
