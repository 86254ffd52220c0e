"""Runs every entry script on its tiny data, as a user would call it, and prints one line each.

python ci/smoke.py            all of them
python ci/smoke.py sma gac    those whose command contains a word
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = "-m torch.distributed.launch --standalone --nproc_per_node 2"

COMMANDS = [
    ("sma/vgg8_cifar10dvs_SMA.py --tiny", 70),
    ("sma/vgg8_dvs128_SMA.py --tiny --lr 2e-3", 50),
    ("sma/vgg8_NCaltech101_SMA.py --tiny", 50),
    (f"{LAUNCH} sma/vgg8_cifar10dvs_SMA.py --tiny --epochs 2", None),
    (f"{LAUNCH} sma/train_amp.py -net resnet18 -b 8 -lr 0.1 --tiny", 35),
    ("gac/CIFAR/main.py --tiny", 70),
    ("gac/CIFAR/main.py --tiny --dataset cifar10", 70),
    (f"{LAUNCH} gac/ImageNet/train_amp.py -net resnet18 -b 8 -lr 0.1 --tiny", 35),
    ("spikingformer/imagenet/train.py --tiny", 70),
    ("spikingformer/cifar10/train.py --tiny", 80),
    ("spikingformer/cifar100/train.py --tiny", 80),
    ("spikingformer/cifar10-dvs/train.py --tiny", 45),
    ("spikingformer/dvs128-gesture/train.py --tiny", 55),
    (f"{LAUNCH} spikingformer/imagenet/train.py --tiny --epochs 1", None),
    (f"{LAUNCH} spikingformer/cifar10/train.py --tiny --epochs 1", None),
    ("sdt_v3/Classification/Model_Base/main_finetune.py --tiny", 40),
    ("sdt_v3/Classification/Model_Large/main_pretrain.py --tiny", None),
    ("sdt_v3/Classification/Model_Large/main_finetune.py --tiny", 40),
    ("sdt_v3/DVS/Hardvs/main_finetune.py --tiny", 40),
    *(
        (f"ma_snn/{script} --tiny --output-dir out", 30)
        for script in (
            "DVSGestures/Att_SNN_CNN.py",
            "DVSGestures/Att_SNN_LIAF_CNN.py",
            "CIFAR10DVS/Att_SNN.py",
            "CIFAR10DVS/Att_SNN_LIAF.py",
            "DVSGait/Att_SNN_CNN.py",
            "DVSGait/Att_SNN_LIAF_CNN.py",
        )
    ),
]
"""(command, test accuracy in percent that it must reach, or None where it only has to run)."""


def run(command: str, minimum: float | None) -> str:
    """Run one command in a fresh folder; return "" or what is wrong."""
    arguments = [str(ROOT / word) if word.endswith(".py") else word for word in command.split()]
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
    if result.returncode:
        return result.stderr.strip().splitlines()[-1] if result.stderr.strip() else f"exit status {result.returncode}"
    reached = re.findall(r"best (?:acc: )?([\d.]+)", result.stdout)
    if minimum is not None and (not reached or float(reached[-1]) < minimum):
        return f"test accuracy {reached[-1] if reached else 'not printed'}, expected {minimum} %"
    return ""


def main() -> int:
    """Run the chosen commands; the exit status is the number of failures."""
    words, failures = sys.argv[1:], 0
    for command, minimum in COMMANDS:
        if words and not any(word in command for word in words):
            continue
        begin = time.monotonic()
        problem = run(command, minimum)
        failures += bool(problem)
        print(f"{'FAILED' if problem else 'ok':6}  {time.monotonic() - begin:5.0f} s  {command}  {problem}", flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
