import io
import threading

import pytest
import requests
import timm
import torch

from common.weights import store_folder
from tests.tools.weights.google_drive import GoogleDrive, ToLocalServer
from tools import fetch_weights
from tools.papers import papers
from tools.weights import lock as lock_module

MODEL = "spikingformer_cifar_4_384"
CREATE = {"embed_dim": 32, "depth": 1, "num_heads": 2, "img_size": 16}
NETWORK = f'model = "{MODEL}"\ncreate = {{ embed_dim = 32, depth = 1, num_heads = 2, img_size = 16 }}'
LOCK = f"""
[spikingformer.small]
status = "unverified"
drive = "id-small"
{NETWORK}

[spikingformer.other]
status = "unverified"
drive = "id-other"
{NETWORK}

[spikingformer.by_hand]
status = "manual"
link = "https://pan.baidu.com/s/1abc"
code = "wxyz"
file = "best.pth"
{NETWORK}

[spikingformer.never]
status = "unpublished"
{NETWORK}

[sdt_v3.detector]
status = "unpublished"
note = "a detector"
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The store of this test, which does not exist yet."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    return store_folder()


@pytest.fixture
def lock(tmp_path, monkeypatch, home):
    """A lock file of small networks; call it with more text to add entries."""
    path = tmp_path / "weights.toml"
    monkeypatch.setattr(lock_module, "lock_files", lambda: [path])

    def write(more=""):
        path.write_text(LOCK + more)

    write()
    return write


@pytest.fixture
def drive(monkeypatch, lock):
    """Google Drive on this machine, empty."""
    server = GoogleDrive()
    adapter = ToLocalServer(server)
    monkeypatch.setattr(requests.Session, "get_adapter", lambda self, url: adapter)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def trained():
    """A network whose weights are no initial ones."""
    papers()
    model = timm.create_model(MODEL, **CREATE)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_(torch.randn(value.shape) if value.is_floating_point() else torch.tensor(7))
    return model


@pytest.fixture
def published(trained):
    """Bytes of a checkpoint as authors publish it: a parallel wrapper's keys, an optimizer's state; 1.6 MB."""
    state = {f"module.{key}": value for key, value in trained.state_dict().items()}
    return saved({"model": state, "optimizer": torch.zeros(400_000), "epoch": 3})


def saved(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.fixture
def tool(lock):
    """Calls tools/fetch_weights.py."""
    return lambda *arguments: fetch_weights.main([str(argument) for argument in arguments])
