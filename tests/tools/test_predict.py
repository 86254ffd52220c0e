"""What trained weights say of files: equal to what their scripts see, whatever the container."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import sma
from common.analysis.samples import Reading, read_clips, read_sample
from common.archives import extract
from common.conversion.prepare import prepare
from common.datasets import cifar, imagenet
from common.datasets.card import cards
from common.errors import UserError
from common.predict import Predictor, samples_in
from common.tiny.events import write_tiny_gait
from common.training.checkpoint import save_file
from common.training.describe import describe, reading_of
from common.weights import card_facts
from ma_snn.data.cifar10_dvs_mat import CIFAR10DVSMat, write_tiny_cifar10dvs
from ma_snn.data.dvs_gesture_hdf5 import DVSGestureHDF5, write_tiny_gesture
from sdt_v3 import dense_predict
from sdt_v3.data.gait import GaitWindows
from sdt_v3.data.hardvs import HarDvs
from sdt_v3.data.images import eval_transform as sdt_transform
from sdt_v3.data.tiny_hardvs import write_tiny_hardvs
from spikingformer.data.images import eval_transform as spikingformer_transform
from spikingformer.flags import image_flags
from spikingformer.imagenet.train import IMAGENET
from tests.tools.small_networks import lively
from tools import fetch_weights, predict
from tools.papers import drawer_of

EMPTY = Path(sma.__file__).parent / "models"
"""A folder of code."""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Raw recordings of a data set and the test part that a script makes of them."""
    folder = tmp_path_factory.mktemp("recordings")
    card = cards()["ncaltech101"]
    raw = card.write_tiny(folder / "raw", classes=3, per_class=10)
    settings = {"T": 4, "split_by": "number", "downsample": 4}
    root = prepare(card.loader, raw, folder / "converted", **settings).root
    archive = next(path for path in raw.iterdir() if path.suffix != ".json")
    return extract(archive, folder / "files", suffixes=(".bin",)), card.loader(root, False, **settings)


@pytest.fixture(scope="module")
def weights(recordings, tmp_path_factory):
    """Weights of a network that fires, with the card that a script writes."""
    _, data = recordings
    model = lively(timm.create_model("sma_vgg8_ncaltech101", T=4, num_classes=data.num_classes, width=0.125))
    describe(model, data)
    path = tmp_path_factory.mktemp("weights") / "best.pth"
    save_file(path, {"model": model.state_dict()}, model)
    return path, model.eval()


@torch.no_grad()
def test_a_raw_recording_is_seen_as_its_script_sees_it(recordings, weights):
    (raw, data), (path, model) = recordings, weights
    predictor = Predictor(path)
    frames, label = data[0]
    source = next(file for file in raw.rglob(f"{data.classes[label]}/{data.samples[0][0].stem}.bin"))
    assert torch.equal(read_sample(str(source), predictor.reading).values, frames)
    expected = model(frames[:, None]).mean(0)[0].softmax(0)
    guesses = predictor(source)
    assert guesses[0].probability > guesses[-1].probability
    assert [guess.label for guess in guesses] == expected.argsort(descending=True).tolist()
    assert {guess.name for guess in guesses} == {*data.classes}
    np.testing.assert_allclose([g.probability for g in guesses], expected.sort(descending=True).values, rtol=1e-5)


def test_table_json_and_csv_say_the_same(recordings, weights, tmp_path, capsys):
    (raw, _), (path, _) = recordings, weights
    words = [str(path), str(raw), "--top", "2"]
    predict.main(words)
    table = capsys.readouterr().out.splitlines()
    sources = [*samples_in(str(raw))]
    assert len(table) == 1 + len(sources) == 31
    predict.main([*words, "--format", "json"])
    answers = json.loads(capsys.readouterr().out)
    assert [answer["sample"] for answer in answers] == sources
    predict.main([*words, "--format", "csv", "--output", str(tmp_path / "answers.csv")])
    rows = [*csv.DictReader((tmp_path / "answers.csv").open())]
    assert [row["name"] for row in rows if row["rank"] == "1"] == [answer["classes"][0]["name"] for answer in answers]
    best = answers[-1]["classes"][0]
    assert f"{best['name']} {best['probability']:.1%}" in table[-1]


def test_converted_weights_keep_the_card(weights, recordings, tmp_path, capsys):
    (path, _), (raw, _) = weights, recordings
    output = tmp_path / "best.safetensors"
    fetch_weights.main(["convert", str(path), "--model", "sma_vgg8_ncaltech101", "--output", str(output)])
    assert card_facts(output) == card_facts(path)
    source = next(samples_in(str(raw)))
    assert Predictor(output)(source) == Predictor(path)(source)


def test_without_a_card_flags_say_what_it_would(weights, recordings, tmp_path, capsys):
    (path, _), (raw, data) = weights, recordings
    bare = tmp_path / "bare.pth"
    bare.write_bytes(path.read_bytes())
    source = next(samples_in(str(raw)))
    with pytest.raises(UserError, match=r"has no card .*bare.json; say by --model"):
        predict.main([str(bare), source])
    (tmp_path / "names.txt").write_text("".join(f"{name}\n" for name in data.classes))
    network = ["--model", "sma_vgg8_ncaltech101", "--kwargs", "T=4", f"num_classes={data.num_classes}", "width=0.125"]
    flags = ["--classes", str(tmp_path / "names.txt"), "-T", "4", "--downsample", "4", "--format", "csv"]
    predict.main([str(bare), source, *network, *flags])
    own = capsys.readouterr().out
    assert own.startswith("note: no card says how")
    predict.main([str(path), source, "--format", "csv"])
    assert own.partition("\n")[2] == capsys.readouterr().out


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--model", "sma_vgg8_ncaltech10"], "unknown network .*did you mean sma_vgg8_ncaltech101"),
        (["--kwargs", "num_classes=7"], "do not fit"),
        (["-T", "3"], "refuses .* as .*expected frames"),
        (["--top", "0"], "--top 0"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(weights, recordings, words, reason):
    with pytest.raises(UserError, match=reason):
        predict.main([str(weights[0]), next(samples_in(str(recordings[0]))), *words])
    with pytest.raises(UserError, match="neither pictures nor recordings"):
        next(samples_in(str(EMPTY)))


TRANSFORMS = {
    "imagenet of MS-ResNet": (imagenet.eval_transform(64), (90, 70)),
    "imagenet of SDT V3": (sdt_transform(64), (90, 70)),
    "imagenet of Spikingformer": (
        spikingformer_transform(image_flags(IMAGENET).parse(["--img-size", "64"], {}, IMAGENET.config)),
        (90, 70),
    ),
    "cifar": (cifar.eval_transform("cifar100"), (32, 32)),
    "cifar of the encoders": (cifar.eval_transform("cifar10", normalise=False), (32, 32)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_card_tells_how_pictures_are_prepared(name, tmp_path):
    transform, (width, height) = TRANSFORMS[name]
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    (tmp_path / "val" / "cat").mkdir(parents=True)
    Image.fromarray(pixels).save(tmp_path / "val" / "cat" / "1.png")
    data = imagenet.imagenet(tmp_path, False, transform)
    reading = reading_of(data)
    seen = read_sample(str(tmp_path / "val" / "cat" / "1.png"), reading).values
    torch.testing.assert_close(seen, data[0][0], rtol=1e-5, atol=1e-5)
    assert reading != Reading()


def windows(name, folder):
    """A test part of each kind of windows, and the files or folders that its samples come from."""
    if name == "gait":
        data = GaitWindows(write_tiny_gait(folder, classes=2, per_class=10), False, 4, factor=4)
        return data, data.paths
    if name == "hardvs":
        data = HarDvs(
            write_tiny_hardvs(folder, classes=2, per_class=1, test_per_class=1), folder / "test_label.txt", False, 4, 32
        )
        return data, [clip for clip, _ in data.clips]
    if name == "mat":
        root, kind = write_tiny_cifar10dvs(folder, classes=2, per_class=10), CIFAR10DVSMat
    else:
        root, kind = write_tiny_gesture(folder, classes=2, users=24), DVSGestureHDF5
    data = kind(root, False, 4, 20_000, shrink=4, clips=3)
    return data, data.paths


@pytest.mark.parametrize("name", ["gait", "hardvs", "mat", pytest.param("hdf5", marks=pytest.mark.slow)])
def test_windows_are_read_as_their_scripts_read_them(name, tmp_path):
    data, sources = windows(name, tmp_path / "data")
    clips = torch.stack([clip.values for clip in read_clips(str(sources[-1]), reading_of(data))])
    x_before_y = name != "hardvs"
    expected = data[len(data) - 1][0].reshape(clips.shape if name == "hardvs" else clips.mT.shape)
    assert expected.any()
    assert torch.equal(clips.mT if x_before_y else clips, expected)


def test_the_clips_of_a_recording_speak_with_one_voice(tmp_path):
    data, (source, *_) = windows("mat", tmp_path / "data")
    model = lively(timm.create_model("ma_snn_dvsgestures", T=4, num_classes=2, width=0.125, img_size=32)).eval()
    describe(model, data, binary=True, to_one=False)
    save_file(tmp_path / "best.pth", {"model": model.state_dict()}, model)
    with torch.no_grad():
        expected = model((data[0][0] > 0).float()).mean(0).softmax(0)
    guesses = {guess.label: guess.probability for guess in Predictor(tmp_path / "best.pth")(source)}
    assert [guesses[0], guesses[1]] == pytest.approx(expected.tolist(), abs=1e-6)


def test_folders_of_rendered_frames_are_samples(tmp_path):
    for name in ("b/frame_1.png", "a/frame_0.png", "a/frame_1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [*samples_in(str(tmp_path), rendered=True)] == [str(tmp_path / name) for name in "ab"]


SCENE = {"embed_dim": (8, 8, 8, 8), "depth": 1, "fpn_channels": 8, "num_classes": 3}


def dense_weights(folder, name, **more):
    """Weights of a small detector or segmentor, with the card that its script writes."""
    model = lively(timm.create_model(name, **SCENE, **more))
    model.card = {**model.made_by, "classes": ["sky", "sea"], "reading": {"fit": (64, 64)}}
    save_file(folder / "best.pt", model.state_dict(), model)
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "scene.png")
    return folder / "best.pt", folder / "scene.png"


def test_a_segmentor_draws_a_map_and_lists_the_share_of_each_class(tmp_path, capsys):
    weights, scene = dense_weights(tmp_path, "sdt_v3_seg_fpn_10m", head_channels=8)
    predict.main([str(weights), str(scene), "--format", "json", "--pictures", str(tmp_path / "found")])
    ((one,),) = (json.loads(capsys.readouterr().out),)
    assert sum(part["probability"] for part in one["classes"]) == pytest.approx(1)
    assert {part["name"] for part in one["classes"]} <= {"sky", "sea", "2"}
    assert Image.open(tmp_path / "found" / "scene.png").width > 500


def test_a_detector_draws_its_objects_and_lists_their_boxes(tmp_path, capsys, monkeypatch):
    weights, scene = dense_weights(tmp_path, "sdt_v3_det_mask_rcnn_10m", fc_channels=8)
    masks = torch.zeros(3, 48, 64, dtype=torch.bool)
    masks[1, 5:20, 10:30] = True
    boxes = torch.tensor([[0.0, 0, 5, 5], [10, 5, 30, 20], [0, 0, 9, 9]])
    found = {"boxes": boxes, "labels": torch.tensor([0, 1, 2]), "scores": torch.tensor([0.4, 0.9, 0.1]), "masks": masks}
    monkeypatch.setattr(dense_predict, "detect", lambda model, images, originals, device: [found])
    arguments = [str(weights), str(scene), str(scene), "--format", "csv", "--pictures", str(tmp_path / "found")]
    predict.main(arguments)
    rows = [*csv.reader(capsys.readouterr().out.splitlines())]
    assert rows[0][5:] == ["left", "top", "right", "bottom"]
    assert [row[3:] for row in rows[1:3]] == [
        ["sea", "0.9", "10.0", "5.0", "30.0", "20.0"],
        ["sky", "0.4", "0.0", "0.0", "5.0", "5.0"],
    ]
    assert len(rows) == 5
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == ["scene.png", "scene_2.png"]


def test_what_a_detector_finds_has_the_size_of_the_picture(tmp_path):
    weights, scene = dense_weights(tmp_path, "sdt_v3_det_mask_rcnn_10m", fc_channels=8)
    with pytest.raises(UserError, match="finds objects or regions, not one class"):
        Predictor(weights)(scene)
    draw = drawer_of(Predictor(weights))
    assert all(0 <= one.box[0] <= one.box[2] <= 64 for one in draw(scene, tmp_path / "drawn.png"))
    assert Image.open(tmp_path / "drawn.png").size == (64 * 8, 48 * 8)
