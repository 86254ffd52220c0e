"""Train GAC-MS-ResNet18 on CIFAR100 or CIFAR10 with the settings that the authors published (GAC, AAAI 2024)."""

from common.training import run
from gac.train_images import main

if __name__ == "__main__":
    run(main)
