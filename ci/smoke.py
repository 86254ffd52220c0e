"""Runs every entry script on its tiny data, as a user would call it, and prints a table of times and test accuracies.

python ci/smoke.py            all of them, as many side by side as there are cores
python ci/smoke.py sma gac    the chains that hold one of these words
python ci/smoke.py --jobs 1   one after the other

The commands of a chain run in one fresh folder, each with what the ones before it left there; a word with * is
replaced by the newest file that it matches. The exit status is the number of commands that failed or did not learn.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = "-m torch.distributed.launch --standalone --nproc_per_node 2"
LARGE = "sdt_v3/Classification/Model_Large"
GESTURES = "ma_snn/DVSGestures"

CHAINS: list[list[tuple[str, float | None]]] = [
    [
        (f"{LAUNCH} ma_snn/Att_Res_SNN/train_amp.py -net resnet18 -b 8 -lr 0.1 --tiny", 35),
        ("ma_snn/Att_Res_SNN/test.py -net resnet18 --tiny -weights checkpoint/**/*-best.pth", 35),
        (
            "ma_snn/Att_Res_SNN/train_finetune.py -net resnet18 -b 16 -lr 0.01 --tiny --epochs 1 "
            "--weights checkpoint/**/*-best.pth",
            35,
        ),
    ],
    [
        (f"{LAUNCH} gac/ImageNet/train_amp.py -net resnet18 -b 8 -lr 0.1 --tiny", 35),
        ("gac/ImageNet/test.py -net resnet18 --tiny -weights checkpoint/**/*-best.pth", 35),
        (
            "gac/ImageNet/visual/test_GradCAM.py **/val/**/*.JPEG -net resnet18 --tiny "
            "--weights checkpoint/**/*-best.pth --output cam.jpg",
            None,
        ),
    ],
    [(f"{LAUNCH} sma/train_amp.py -net resnet18 -b 8 -lr 0.1 --tiny", 35)],
    [("sma/vgg8_NCaltech101_SMA.py --tiny --epochs 10", 50)],
    [("sma/vgg8_cifar10dvs_SMA.py --tiny", 70)],
    [("sma/vgg8_dvs128_SMA.py --tiny --lr 2e-3", 50)],
    [(f"{LAUNCH} sma/vgg8_cifar10dvs_SMA.py --tiny --epochs 2", None)],
    [("gac/CIFAR/main.py --tiny", 70), ("gac/CIFAR/test.py --tiny --weights **/*.pth", 70)],
    [("gac/CIFAR/main.py --tiny --dataset cifar10", 70)],
    [
        ("spikingformer/imagenet/train.py --tiny", 70),
        ("spikingformer/imagenet/test.py --tiny --resume **/model_best.pth.tar", 70),
        ("spikingformer/imagenet/energy_consumption_on_imagenet.py --tiny --resume **/model_best.pth.tar", None),
    ],
    [
        ("spikingformer/cifar10/train.py --tiny", 80),
        ("spikingformer/cifar10/test.py --tiny --resume **/model_best.pth.tar", 80),
    ],
    [
        ("spikingformer/cifar100/train.py --tiny", 80),
        ("spikingformer/cifar100/test.py --tiny --resume **/model_best.pth.tar", 80),
    ],
    [("spikingformer/cifar10-dvs/train.py --tiny", 45)],
    [("spikingformer/dvs128-gesture/train.py --tiny", 55)],
    [(f"{LAUNCH} spikingformer/imagenet/train.py --tiny --epochs 1", None)],
    [(f"{LAUNCH} spikingformer/cifar10/train.py --tiny --epochs 1", None)],
    [("sdt_v3/Classification/Model_Base/main_finetune.py --tiny", 40)],
    [
        (f"{LARGE}/main_pretrain.py --tiny --output_dir mae", None),
        (f"{LARGE}/main_finetune.py --tiny --output_dir tuned --finetune mae/checkpoint-*.pth", 40),
        (f"{LARGE}/main_finetune.py --tiny --output_dir kd --finetune tuned/best.pt --kd", 40),
    ],
    [
        ("sdt_v3/DVS/Hardvs/main_finetune.py --tiny --output_dir out", 40),
        ("sdt_v3/DVS/Hardvs/firing_num_dvs.py --tiny --output_dir out --weights out/best.pth", None),
    ],
    [
        (f"{GESTURES}/Att_SNN_CNN.py --tiny --output-dir out", 30),
        (f"{GESTURES}/data/DVS_Gesture.py --data-path **/data", None),
    ],
    [(f"{GESTURES}/Att_SNN_LIAF_CNN.py --tiny --output-dir out", 30)],
    [("ma_snn/CIFAR10DVS/Att_SNN.py --tiny --output-dir out", 30)],
    [("ma_snn/CIFAR10DVS/Att_SNN_LIAF.py --tiny --output-dir out", 30)],
    [("ma_snn/DVSGait/Att_SNN_CNN.py --tiny --output-dir out", 30)],
    [("ma_snn/DVSGait/Att_SNN_LIAF_CNN.py --tiny --output-dir out", 30)],
]
"""(command, test accuracy in percent that it must reach, or None where it only has to run); long chains first."""

ACCURACY = re.compile(r"(?:best (?:acc1 |acc: )?|accuracy |acc=|top-1 |'top1': )([\d.]+)")


class Outcome(NamedTuple):
    """What became of a command; `problem` is empty if nothing is wrong."""

    command: str
    seconds: float
    accuracy: str
    problem: str

    def __str__(self):
        state = "FAILED" if self.problem else "ok"
        return f"{state:6}  {self.seconds:5.0f} s  {self.accuracy:>6}  {self.command}  {self.problem}"


def run_chain(chain: list[tuple[str, float | None]], threads: int) -> Iterator[Outcome]:
    """Run the commands of a chain in a fresh folder; the first failure is the last command."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    with tempfile.TemporaryDirectory() as folder:
        for command, minimum in chain:
            outcome = run(command, minimum, Path(folder), environment)
            yield outcome
            if outcome.problem:
                return


def run(command: str, minimum: float | None, folder: Path, environment: dict[str, str]) -> Outcome:
    """Run one command in `folder`."""
    begin = time.monotonic()
    arguments = [expanded(word, folder) for word in command.split()]
    result = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    accuracy = (ACCURACY.findall(result.stdout) or ["-"])[-1]
    problem = ""
    if result.returncode:
        problem = (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]
    elif minimum is not None and (accuracy == "-" or float(accuracy) < minimum):
        problem = f"expected a test accuracy of {minimum} %"
    return Outcome(command, time.monotonic() - begin, accuracy, problem)


def expanded(word: str, folder: Path) -> str:
    """A script as its full path, a pattern as the newest file below `folder` that it matches."""
    if "*" in word:
        return str(max(folder.glob(word), key=lambda path: path.stat().st_mtime, default=word))
    return str(ROOT / word) if word.endswith(".py") else word


def main() -> int:
    """Run the chosen chains and return the number of failures."""
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="run the chains that hold one of these words")
    parser.add_argument("--jobs", type=int, default=cores, help="chains side by side (default: %(default)s)")
    options = parser.parse_args()
    words = options.words or [""]
    chosen = [chain for chain in CHAINS if any(word in command for command, _ in chain for word in words)]
    threads = max(1, cores // options.jobs)

    def report(chain: list[tuple[str, float | None]]) -> list[Outcome]:
        outcomes = []
        for outcome in run_chain(chain, threads):
            print(outcome, flush=True)
            outcomes.append(outcome)
        return outcomes

    begin = time.monotonic()
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = [outcome for chain in pool.map(report, chosen) for outcome in chain]
    failures = sum(bool(outcome.problem) for outcome in outcomes)
    print(f"{len(outcomes)} commands, {failures} failed, {(time.monotonic() - begin) / 60:.1f} minutes")
    return failures


if __name__ == "__main__":
    sys.exit(main())
