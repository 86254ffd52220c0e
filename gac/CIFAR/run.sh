#!/bin/sh
# Train on CIFAR100 as published; further flags are passed on, for example: ./run.sh --dataset cifar10 --download
cd "$(dirname "$0")" && exec python main.py "$@"
