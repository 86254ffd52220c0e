"""Published weights of the papers: list, fetch, import, verify, convert.

    python tools/fetch_weights.py list --paper sma
    python tools/fetch_weights.py fetch sma_azo_vgg8_dvs128      # from Google Drive; run again to resume
    python tools/fetch_weights.py fetch --all
    python tools/fetch_weights.py fetch gac_cifar100_T6          # Baidu: says what to do by hand
    python tools/fetch_weights.py import gac_cifar100_T6 ~/Downloads/CIFAR100_T=6.pth
    python tools/fetch_weights.py verify

Every script then takes the name: python sma/vgg8_dvs128_SMA.py --test-only --weights sma_azo_vgg8_dvs128

    python tools/fetch_weights.py convert output/checkpoint.pt --model sma_vgg8_dvs128 --kwargs T=16 num_classes=11

Files are hashed, read without running code in them, compared with their network key by key, and kept as safetensors
with a JSON card in torch.hub's folder, spiking-papers; the variable TORCH_HOME moves it to another disk.
"""

import argparse
from pathlib import Path

from common.errors import UserError
from common.files import sha256
from common.training import read_weights, run
from common.training.checkpoint import save_file
from common.weights import card_facts, locate, weights_file
from tools import verify_weights
from tools.networks import key_value
from tools.papers import card_of
from tools.text import columns
from tools.weights import drive, store
from tools.weights.files import Card, write_weights
from tools.weights.fit import check_fit
from tools.weights.lock import Weight, find, read_lock

SUFFIX = {"safetensors": ".safetensors", "torch": ".pth"}


def main(arguments: list[str] | None = None) -> None:
    """Do what the command line says."""
    options = parse(arguments)
    options.do(options)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; `do` is the function of its verb."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, do, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=text.capitalize() + ".")
        added.set_defaults(do=do)
        return added

    listing = verb("list", show_list, "table of all published and unpublished weights")
    listing.add_argument("--paper", help="only those of one paper")
    fetching = verb("fetch", fetch, "download weights into the store, or say how to do it by hand")
    fetching.add_argument("names", nargs="*", metavar="NAME", help="as `list` shows them")
    fetching.add_argument("--all", action="store_true", help="everything that was published")
    fetching.add_argument("--retries", type=int, default=5, help="of a lost connection (default: %(default)s)")
    importing = verb("import", import_, "put a downloaded file into the store")
    importing.add_argument("name", metavar="NAME", help="as `list` shows it")
    importing.add_argument("path", metavar="PATH", type=Path, help="the file, or a zip or tar archive that holds it")
    verifying = verb("verify", verify_weights.verify, "check the store, as tools/verify_weights.py does")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="default: all in the store")
    converting = verb("convert", convert, "write any checkpoint of a network as safetensors with a card, or back")
    converting.add_argument("path", metavar="PATH", type=Path, help="torch or safetensors file, or a name in the store")
    converting.add_argument("--model", required=True, help="name that timm.create_model takes")
    converting.add_argument("--kwargs", nargs="*", default=[], metavar="KEY=VALUE", help="arguments of the network")
    converting.add_argument("--to", choices=SUFFIX, default="safetensors", help="format (default: %(default)s)")
    converting.add_argument("--output", type=Path, help="file to write (default: PATH with the format's ending)")
    return parser.parse_args(arguments)


def show_list(options: argparse.Namespace) -> None:
    """Print the table."""
    weights = read_lock()
    papers = dict.fromkeys(weight.paper for weight in weights.values())
    if options.paper not in (None, *papers):
        raise UserError(f"--paper {options.paper}: expected one of {', '.join(papers)}")
    chosen = [weight for weight in weights.values() if options.paper in (None, weight.paper)]
    rows = [
        (w.paper, w.name, w.status, "yes" if weights_file(w.name).is_file() else "-", w.file or "-", w.source)
        for w in chosen
    ]
    print("\n".join(columns([("paper", "name", "status", "in store", "expected file", "source"), *rows])))


def fetch(options: argparse.Namespace) -> None:
    """Fetch each of the chosen weights, one failure not stopping the rest, and print what became of them.

    Raises:
        UserError: some failed, or were named and still have to be downloaded by hand.
    """
    if bool(options.names) == options.all:
        raise UserError("give the names to fetch, or --all; `python tools/fetch_weights.py list` shows them")
    if options.retries < 0:
        raise UserError(f"--retries {options.retries}: expected 0 or more")
    weights = read_lock()
    if options.all:
        chosen = [weight for weight in weights.values() if weight.status != "unpublished" and weight.model]
    else:
        chosen = [find(weights, name) for name in options.names]
    if any(weight.drive for weight in chosen):
        drive.client()
    outcomes = [(weight.name, *fetch_one(weight, options.retries)) for weight in chosen]
    if len(outcomes) > 1:
        print("\n".join(columns([("name", "outcome", "remark"), *outcomes])))
    bad = ("failed",) if options.all else ("failed", "manual")
    missing = [name for name, outcome, _ in outcomes if outcome in bad]
    if missing and len(outcomes) == 1:
        raise UserError(outcomes[0][-1])
    if missing:
        raise UserError(
            f"{len(missing)} of {len(outcomes)} are not in the store: {', '.join(missing)}; the table says what to do"
        )


def fetch_one(weight: Weight, retries: int) -> tuple[str, str]:
    """What became of one: fetched, there, manual or failed, and a remark."""
    try:
        if store.is_stored(weight.name):
            print(f"{weight.name} is in the store: {weights_file(weight.name)}")
            return "there", str(weights_file(weight.name))
        card = store.fetch(weight, retries=retries)
    except UserError as error:
        return "failed", str(error)
    if card is None:
        explain(weight)
        return "manual", f"download it from {weight.source}, then `import {weight.name} PATH`"
    tell(card, weight)
    return "fetched", str(weights_file(weight.name))


def explain(weight: Weight) -> None:
    """Print the steps of a download by hand."""
    code = f", code {weight.code}" if weight.code else ""
    note = f"\n     {weight.note}" if weight.note else ""
    print(
        f"{weight.name} has to be downloaded by hand:\n"
        f"  1. open {weight.link}{code}\n"
        f"  2. download {weight.file or 'the file (its name is not known)'}{note}\n"
        f"  3. run python tools/fetch_weights.py import {weight.name} PATH\n"
        f"     or put it into {store.drop_folder(weight.name)} and fetch again"
    )


def tell(card: Card, weight: Weight) -> None:
    """Print what was stored, with the hash that others could compare."""
    report = "" if weight.sha256 else "\n  please report this hash, so that weights.toml can hold it"
    print(
        f"{weight.name}: {card.tensors} tensors fit {card.model}, stored as {weights_file(weight.name)}\n"
        f"  {store.trust(weight)}: sha256 of {card.source_file} is {card.source_sha256}, "
        f"{card.source_size} bytes{report}"
    )


def import_(options: argparse.Namespace) -> None:
    """Put one file into the store."""
    weight = find(read_lock(), options.name)
    tell(store.import_file(weight, options.path), weight)


def convert(options: argparse.Namespace) -> None:
    """Write a checkpoint in another format; every tensor keeps its bits and its type.

    Raises:
        UserError: an unreadable file, weights of another network, or an output that is the input.
    """
    target = options.output or options.path.with_suffix(SUFFIX[options.to])
    path = locate(options.path)
    if target.resolve() == path.resolve():
        raise UserError(f"{target} would be overwritten by its own conversion; give another --output")
    state = read_weights(path)
    card = card_facts(path)
    known = card.get("create", {}) if card.get("model") == options.model else {}
    create = known | dict(map(key_value, options.kwargs))
    check_fit(state, options.model, create, path)
    if options.to == "torch":
        save_file(target, state)
    else:
        facts = store.facts_of(path, path.stat().st_size, sha256(path))
        network = {"paper": card_of(options.model).package.partition(".")[0], "model": options.model, "create": create}
        more = {key: fact for key, fact in card.items() if key in ("classes", "reading")}
        write_weights(target, state, name=target.stem, source=str(path), **network, **facts, **more)
    print(f"{target}: {len(state)} tensors of {options.model}")


if __name__ == "__main__":
    run(main)
