"""Check weights in the store: hashes against cards and lock file, keys and shapes against the networks.

    python tools/verify_weights.py                        # all of them
    python tools/verify_weights.py sdt_v3_10m sdt_v3_19m

One line each; the exit status is 2 if any has a problem. The store is torch.hub's folder (TORCH_HOME), spiking-papers.
"""

import argparse

from common.training import run
from tools.weights.lock import read_lock
from tools.weights.store import check_all, names_in_store


def main(arguments: list[str] | None = None) -> None:
    """Check as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights to check (default: all in the store)")
    verify(parser.parse_args(arguments))


def verify(options: argparse.Namespace) -> None:
    """Check `options.names`, or the whole store."""
    check_all(options.names or names_in_store(), read_lock())


if __name__ == "__main__":
    run(main)
