"""The registry: what it holds, and that it cannot contradict itself."""

import pytest

from common.errors import UserError
from tools import fetch_weights
from tools.papers import networks, papers
from tools.weights.fit import shapes_of
from tools.weights.lock import find, read_lock

WEIGHTS = read_lock()
PUBLISHED = [name for name, weight in WEIGHTS.items() if weight.status != "unpublished"]
WITH_MODEL = [name for name, weight in WEIGHTS.items() if weight.model]


@pytest.mark.parametrize("name", WITH_MODEL)
def test_every_model_can_be_built(name):
    assert shapes_of(WEIGHTS[name].model, WEIGHTS[name].create)


@pytest.mark.parametrize(
    "name", [f"{name}:{key}" for name in WITH_MODEL for key in WEIGHTS[name].choices], ids=lambda name: name
)
def test_every_choice_of_an_argument_can_be_built(name):
    name, key = name.split(":")
    weight = WEIGHTS[name]
    for value in weight.choices[key]:
        assert shapes_of(weight.model, weight.create | {key: value})


def test_networks_without_an_entry_are_known():
    """Networks that no table of the papers names, so that a new network is not forgotten."""
    ours = set(networks())
    listed = {weight.model for weight in WEIGHTS.values()}
    assert {m for m in ours - listed if not m.startswith(("Efficient_", "spikformer", "spikmae"))} == {
        "ms_resnet18_cifar",
        "sdt_v3_dvs_30m",
        "sdt_v3_dvs_50m",
        "sdt_v3_gesture",
        "sdt_v3_tiny",
    }


@pytest.mark.parametrize(
    "paper, published", [("sma", 8), ("ma_snn", 1), ("gac", 1), ("ms_resnet", 3), ("spikingformer", 4), ("sdt_v3", 9)]
)
def test_all_published_files_of_a_paper_are_listed(paper, published):
    assert sum(WEIGHTS[name].paper == paper for name in PUBLISHED) == published


def test_no_hash_is_invented():
    """None is known so far; who adds the first tells here where it came from."""
    assert not any(weight.sha256 or weight.size for weight in WEIGHTS.values())


def test_every_published_file_has_its_own_source():
    sources = [WEIGHTS[name].source for name in PUBLISHED if WEIGHTS[name].paper != "ms_resnet"]
    assert len(sources) == len(set(sources)) == len(PUBLISHED) - 3


@pytest.mark.parametrize("name", ["sdt_v3_52m", "sma_vgg8_cifar10dvs", "sdt_v3_83m_1x8_384", "gac_cifar10_T6"])
def test_networks_of_the_papers_without_a_file_are_listed_as_unpublished(name):
    assert WEIGHTS[name].status == "unpublished"


@pytest.mark.parametrize(
    "entry, message",
    [
        ('status = "unverified"', "status 'unverified', its source and sha256 make it 'unpublished'"),
        ('status = "verified"\ndrive = "abc"', "status 'verified', its source and sha256 make it 'unverified'"),
        ('status = "unverified"\ndrive = "a"\nlink = "https://b"', "has both drive and link"),
        (f'status = "verified"\ndrive = "abc"\nsha256 = "{"A" * 64}"', "expected 64 lower-case hexadecimal digits"),
        ('status = "unpublished"\ncolour = "red"', "colour"),
        ("status = ", r"weights.toml cannot be read .*; restore it"),
    ],
)
def test_a_contradiction_is_named(lock, entry, message):
    lock(f"[sma.bad]\n{entry}\n")
    with pytest.raises(UserError, match=message):
        read_lock()


def test_a_name_is_unique_over_all_papers(lock):
    lock('[sma.small]\nstatus = "unpublished"\n')
    with pytest.raises(UserError, match="small stands under spikingformer and sma"):
        read_lock()


def test_a_misspelt_name_is_corrected():
    with pytest.raises(UserError, match=r"unknown weights 'sma_vgg8_dvs12': did you mean sma_vgg8_dvs128"):
        find(WEIGHTS, "sma_vgg8_dvs12")


def test_the_list_is_filtered_by_paper(capsys):
    fetch_weights.main(["list", "--paper", "gac"])
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["paper", "name", "status", "in", "store", "expected", "file", "source"]
    assert len(rows) == 10 and all(row.startswith("gac ") for row in rows)


def test_the_list_shows_link_code_and_file(capsys):
    fetch_weights.main(["list", "--paper", "gac"])
    row = next(row for row in capsys.readouterr().out.splitlines() if "gac_cifar100_T6" in row)
    assert row.split()[-4:] == ["CIFAR100_T=6.pth", "https://pan.baidu.com/s/1jue9S9hAKFeYCs2iGWXUxg", "code", "4567"]


def test_an_unknown_paper_is_refused():
    with pytest.raises(UserError, match=f"--paper sam: expected one of {', '.join(papers())}"):
        fetch_weights.main(["list", "--paper", "sam"])
