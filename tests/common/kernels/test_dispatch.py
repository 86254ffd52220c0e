"""The choice among backends, and the compiled neurons as citizens of PyTorch."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from common.errors import UserError
from common.kernels import LIFParameters, cpu, cuda, dispatch, multi_step_lif, operators, use
from common.kernels.encoding import encode_lif
from common.kernels.surrogate import Sigmoid
from common.neurons import IntegerLIF, LIFNode
from tests.common.kernels.variants import current, forward_backward

compiled = pytest.mark.skipif(
    bool(cpu.refusal("cpu", torch.float32)), reason=f"no CPU backend: {cpu.refusal('cpu', torch.float32)}"
)


@pytest.fixture
def no_extension(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "LIBRARY", tmp_path / "absent.so")


@compiled
def test_auto_takes_the_compiled_neuron_for_cpu_tensors():
    assert dispatch.choose("cpu", torch.float32) == "cpu"


def test_the_choice_is_marked_as_torch_marks_constant_results():
    assert vars(dispatch.choose) == vars(torch.compiler.assume_constant_result(lambda: None))


def test_auto_takes_the_reference_without_the_extension(no_extension):
    assert dispatch.choose("cpu", torch.float32) == "torch"


def test_forcing_an_absent_extension_says_how_to_get_it(no_extension):
    with use("cpu"), pytest.raises(UserError, match=r"not compiled at install; install g\+\+ and run"):
        LIFNode()(current((2, 3)))


def test_a_broken_extension_says_how_to_mend_it(monkeypatch, tmp_path):
    (tmp_path / "broken.so").write_bytes(b"not a library")
    monkeypatch.setattr(cpu, "LIBRARY", tmp_path / "broken.so")
    assert "does not load" in cpu.refusal("cpu", torch.float32)


def test_forcing_a_backend_for_a_foreign_dtype_is_a_user_error():
    with use("cpu"), pytest.raises(UserError, match=r"cannot serve torch\.int64 on cpu"):
        LIFNode()(torch.ones(2, 3, dtype=torch.int64))


def test_environment_chooses(monkeypatch):
    monkeypatch.setenv("SNN_BACKEND", "torch")
    assert dispatch.choose("cpu", torch.float32) == "torch"


def test_use_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("SNN_BACKEND", "abacus")
    with use("torch"):
        assert dispatch.choose("cpu", torch.float32) == "torch"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_without_a_device():
    assert cuda.refusal("cuda", torch.float32)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), LIFNode(surrogate=Sigmoid()), nn.Linear(16, 4), IntegerLIF())


def results(module, x):
    module.zero_grad()
    y = module(x)
    y.square().sum().backward()
    return [y.detach(), *(p.grad.clone() for p in module.parameters())]


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_operators_obey_the_rules_of_torch(dtype):
    x = current((4, 3, 5), dtype).requires_grad_()
    torch.library.opcheck(operators.neuron, (x, *encode_lif(LIFParameters()), 0))


@pytest.mark.parametrize("name", ["auto", "torch"])
def test_compiled_graph_is_whole_and_equal(name):
    module, x = network(), current((4, 3, 8))
    with use(name):
        expected = results(module, x)
        compiled_results = results(torch.compile(module, fullgraph=True, backend="aot_eager"), x)
    for ours, theirs in zip(compiled_results, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["auto", "torch"])
def test_exported_program_is_equal(name):
    module, x = network().eval(), current((4, 3, 8))
    with use(name):
        program = torch.export.export(module, (x,))
    assert torch.equal(program.module()(x), module(x))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copied_modules_compute_the_same(copied):
    module, x = network(), current((4, 3, 8))
    for ours, theirs in zip(results(copied(module), x), results(module, x), strict=True):
        assert torch.equal(ours, theirs)


def test_autocast_spikes_in_the_lower_precision():
    module, x = network()[:2], current((4, 3, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        drive, spikes = module[0](x), module(x)
    assert spikes.dtype == torch.bfloat16
    with use("torch"):
        assert torch.equal(spikes, module[1](drive))


def test_one_neuron_twice_in_one_graph():
    neuron, x = LIFNode(), current((4, 3, 8))
    both = {}
    for name in ("auto", "torch"):
        with use(name):
            both[name] = forward_backward(lambda x: neuron(neuron(x) + 0.5 * x), x)
    torch.testing.assert_close(both["auto"], both["torch"])


def test_data_parallel_training_sees_the_same_gradients(tmp_path):
    module, x = network(), current((4, 3, 8))
    expected = results(module, x)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        parallel = results(nn.parallel.DistributedDataParallel(module), x)
    finally:
        torch.distributed.destroy_process_group()
    for ours, theirs in zip(parallel, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@compiled
def test_eager_calls_go_past_the_operator(monkeypatch):
    monkeypatch.setattr(operators, "neuron", None)
    x = current((4, 3))
    assert multi_step_lif(x, LIFParameters()).shape == x.shape


@compiled
def test_tensors_without_numbers_go_by_the_operator():
    with FakeTensorMode():
        assert multi_step_lif(torch.empty(4, 3), LIFParameters()).shape == (4, 3)


@compiled
@pytest.mark.filterwarnings("ignore:.torch.jit.trace. is deprecated:FutureWarning")
def test_a_traced_graph_holds_the_operator():
    traced = torch.jit.trace(lambda x: multi_step_lif(x, LIFParameters()), current((4, 3)))
    assert "spiking_papers::neuron" in str(traced.graph)


@compiled
def test_second_order_gradients_need_the_reference():
    x = current((4, 3)).requires_grad_()
    (gradient,) = torch.autograd.grad(multi_step_lif(x, LIFParameters()).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


@compiled
def test_only_the_input_is_saved_for_the_backward_pass():
    x, saved = current((4, 3)).requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t), use("auto"):
        multi_step_lif(x, LIFParameters())
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]
