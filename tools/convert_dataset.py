"""Convert a published event data set into the frames that the loaders read.

    python tools/convert_dataset.py dvs128 --source DOWNLOADS --output data/DVS128Gesture -T 16

`--source` is an archive, a folder of archives or a folder of raw recordings, and is only read. An interrupted
conversion goes on where it stopped when the same command is given again.
"""

import argparse
import sys

from common.datasets.prepare import DATASETS, prepare
from common.errors import UserError
from common.events.frames import SPLITS


def main(arguments: list[str] | None = None) -> int:
    """Convert as the command line says; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=DATASETS)
    parser.add_argument("--source", required=True, help="archive, folder of archives, or folder of raw recordings")
    parser.add_argument("--output", required=True, help="folder of the converted data set")
    parser.add_argument("-T", type=int, required=True, help="frames per recording")
    parser.add_argument("--split-by", choices=SPLITS, default="number", help="equal events or equal time per frame")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--downsample", type=int, default=1, help="shrink the sensor this many times")
    parser.add_argument("--strict", action="store_true", help="fail when the published data set is incomplete")
    options = parser.parse_args(arguments)
    try:
        prepared = prepare(
            options.dataset,
            options.source,
            options.output,
            options.T,
            options.split_by,
            downsample=options.downsample,
            workers=options.workers,
            strict=options.strict,
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"ready: {prepared.root}")
    for problem in prepared.problems:
        print(f"warning: {problem}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
