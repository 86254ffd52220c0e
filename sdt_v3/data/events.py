"""The event data sets of the script for HAR-DVS, DVS128 Gesture and DVS128-Gait."""

import argparse

from torch.utils.data import Dataset

from common.datasets import dvs128_gesture
from common.training import Process, data_folder, main_first
from common.training.event_data import frames_root
from sdt_v3.data.gait import GaitWindows
from sdt_v3.data.hardvs import HarDvs
from sdt_v3.data.tiny_hardvs import write_tiny_hardvs

FOLDERS = {"har-dvs": "HARDVS", "gesture": "DVS128Gesture", "gait-day": "gait-day", "gait-night": "gait-night"}
TINY_GESTURES = {"classes": 10, "per_class": 40}


def datasets(args: argparse.Namespace, process: Process) -> tuple[Dataset, Dataset]:
    """Training and test part; a tiny set, or frames of raw gestures, are made first.

    Raises:
        UserError: missing or damaged data.
    """
    source, cache = args.data_path or data_folder(FOLDERS[args.dataset]), args.output_dir / "data"
    made_here = args.tiny and not args.data_path
    if args.dataset == "har-dvs":
        with main_first(process):
            root = write_tiny_hardvs(cache / "hardvs_tiny") if made_here else source
        lists = args.train_list or root / "train_label.txt", args.test_list or root / "test_label.txt"
        return (
            HarDvs(root, lists[0], True, args.time_steps, args.input_size, args.mirror, published=args.published),
            HarDvs(root, lists[1], False, args.time_steps, args.input_size, published=args.published),
        )
    if args.dataset == "gesture":
        card, settings = dvs128_gesture.CARD, {"T": args.time_steps, "downsample": args.downsample}
        root = frames_root(card, args, process, source, TINY_GESTURES, **settings)
        return card.loader(root, True, **settings), card.loader(root, False, **settings)
    with main_first(process):  # converts the text files
        parts = [GaitWindows(source, train, args.time_steps, factor=args.downsample) for train in (True, False)]
    return parts[0], parts[1]
