"""Does predict ask torch modules: evaluated, without gradients, and left as they were?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests import support

torch = support.require("torch")

from chunkstore.adapters.torch import describe, inference  # noqa: E402 - needs torch
from chunkstore.predicting.identity import object_digest  # noqa: E402 - needs torch

NUM_SAMPLES = 83
BATCH_SIZE = 16


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(NUM_SAMPLES, 12)).astype(np.float32)


def make_module():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(12, 6), torch.nn.Dropout(0.5), torch.nn.ReLU())


def expected_of(module, x):
    module = module.eval()
    with torch.inference_mode():
        batches = torch.from_numpy(x).split(BATCH_SIZE)
        return torch.cat([module(batch) for batch in batches]).numpy()


def test_the_file_holds_the_outputs_of_the_evaluated_module(x, tmp_path):
    out = tmp_path / "out.zarr.zip"
    cs.predict(make_module(), {"x": x}, out, batch_size=BATCH_SIZE)
    np.testing.assert_array_equal(cs.load(out)["output"], expected_of(make_module(), x))


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_each_part_of_the_module_trains_or_not_as_before(x, tmp_path, fails):
    module = make_module().train()
    module[1].eval()
    if fails:
        x = x[:, :5]
        with pytest.raises(RuntimeError, match="shapes"):
            cs.predict(module, {"x": x}, tmp_path / "out.zarr.zip")
    else:
        cs.predict(module, {"x": x}, tmp_path / "out.zarr.zip")
    assert [part.training for part in module.modules()] == [True, True, False, True]


class Several(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(12, 2)

    def forward(self, a, *, b=0):
        value = self.layer(a) + b
        return {"value": value, "half": value.to(torch.bfloat16)}


def test_dicts_of_inputs_are_arguments_by_name_and_bfloat16_is_stored_as_float32(x, tmp_path):
    out = tmp_path / "out.zarr.zip"
    module = Several()
    arrays = {"x": x, "bias": np.arange(NUM_SAMPLES, dtype=np.float32)[:, None]}
    cs.predict(module, arrays, out, arrays={"a": "x", "b": "bias"})
    got = cs.load(out)
    np.testing.assert_allclose(
        got["value"] - arrays["bias"], expected_of(module.layer, x), rtol=1e-4, atol=1e-4
    )
    assert got["half"].dtype == np.float32
    np.testing.assert_allclose(got["half"], got["value"], rtol=1e-2, atol=1e-2)


def test_tuples_of_inputs_are_arguments_by_position(x, tmp_path):
    out = tmp_path / "out.zarr.zip"
    cs.predict(Several(), {"x": x, "y": x}, out, arrays=("x",), outputs="value")
    assert list(cs.load(out)) == ["value"]


class Interrupted(Exception):
    pass


def interrupt(module, out, arrays, after=3, **options):
    """Predict so many batches with a module, and fail then."""
    calls, whole = [], torch.nn.Module.__call__

    def call(part, *args, **kwargs):
        if part is module:
            calls.append(1)
            if len(calls) > after:
                raise Interrupted
        return whole(part, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "__call__", call)
        with pytest.raises(Interrupted):
            cs.predict(module, arrays, out, batch_size=BATCH_SIZE, **options)


def test_a_module_goes_on_with_its_own_file_and_not_with_that_of_other_weights(x, tmp_path):
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    cs.predict(make_module(), {"x": x}, whole, batch_size=BATCH_SIZE)
    module = make_module()
    interrupt(module, out, {"x": x})
    other = make_module()
    with torch.no_grad():
        other[0].weight[0, 0] += 1
    with pytest.raises(FileExistsError, match="was begun with another model"):
        cs.predict(other, {"x": x}, out, batch_size=BATCH_SIZE)
    cs.predict(module, {"x": x}, out, batch_size=BATCH_SIZE)
    assert out.read_bytes() == whole.read_bytes()


FACTOR = 2.0


def by_factor(x):
    return x * FACTOR


class Own(torch.nn.Module):
    """A module whose outputs follow from what no state dict holds."""

    def __init__(self, k):
        super().__init__()
        self.k, self._k = k, k

    def forward(self, x):
        return x * self.k + self._k


class WithGlobal(torch.nn.Module):
    def forward(self, x):
        return by_factor(x)


class Buffered(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.register_buffer("k", torch.full((1,), k), persistent=False)

    def forward(self, x):
        return x * self.k


class Wrapped(torch.nn.Module):
    """A module with a function kept as an attribute."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def of_forward(k):
    module = torch.nn.Identity()
    module.forward = lambda x: x * k
    return module


def of_closure(k):
    class Closed(torch.nn.Module):
        def forward(self, x):
            return x * k

    return Closed()


def of_default(k):
    class Defaults(torch.nn.Module):
        def forward(self, x, by=k):
            return x * by

    return Defaults()


def of_hook(k, kind="register_forward_hook"):
    module = torch.nn.Sequential(torch.nn.Identity())
    getattr(module[0], kind)(lambda part, inputs, *outputs: (outputs or inputs)[0] * k)
    return module


def of_attribute(k):
    """A framework's module, changed after it was made."""
    module = torch.nn.LeakyReLU()
    module.negative_slope = k
    return module


def of_weights(k, dtype=torch.float32):
    module = torch.nn.Linear(1, 1).to(dtype)
    with torch.no_grad():
        module.weight.fill_(k)
        module.bias.zero_()
    return module


MAKERS = {
    "attribute": Own,
    "nested": lambda k: torch.nn.Sequential(torch.nn.ReLU(), Own(k)),
    "buffer": Buffered,
    "function": lambda k: Wrapped(lambda x: x * k),
    "forward": of_forward,
    "closure": of_closure,
    "default": of_default,
    "hook": of_hook,
    "pre-hook": lambda k: of_hook(k, "register_forward_pre_hook"),
    "attribute-of-torch": of_attribute,
    "eps": lambda k: torch.nn.BatchNorm1d(2, eps=k),
    "weights": of_weights,
    "bfloat16": lambda k: of_weights(k, torch.bfloat16),
    "scalar": lambda k: Wrapped(torch.tensor(k)),
    "kind": lambda k: torch.nn.ReLU() if k == 2 else torch.nn.Tanh(),
    "function-of-torch": lambda k: Wrapped(torch.relu if k == 2 else torch.nn.functional.silu),
}


def digest_of(module):
    return object_digest(module.eval(), describe)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_whatever_a_module_computes_with_belongs_to_it(make):
    assert digest_of(make(2.0)) == digest_of(make(2.0)) is not None
    assert digest_of(make(2.0)) != digest_of(make(3.0))


def test_what_the_forward_of_a_module_names_belongs_to_it(monkeypatch):
    before = digest_of(WithGlobal())
    assert before == digest_of(WithGlobal()) is not None
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert digest_of(WithGlobal()) not in {before, None}


def with_extra_state():
    class Extra(Own):
        def get_extra_state(self):
            return {"k": self.k}

    return Extra(2.0)


@pytest.mark.parametrize(
    "make",
    [
        with_extra_state,
        lambda: torch.nn.LSTM(2, 2),
        lambda: torch.nn.TransformerEncoderLayer(4, 2),
        lambda: torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(2, 2)),
        lambda: torch.nn.Linear(2, 2, dtype=torch.complex64),
    ],
    ids=["extra-state", "lstm", "transformer", "weight-norm", "complex"],
)
def test_these_modules_have_a_digest(make):
    torch.manual_seed(0)
    first = digest_of(make())
    torch.manual_seed(0)
    assert digest_of(make()) == first is not None


def with_sparse_buffer():
    module = torch.nn.Identity()
    module.register_buffer("s", torch.eye(2).to_sparse())
    return module


@pytest.mark.parametrize(
    "make",
    [
        with_sparse_buffer,
        lambda: torch.jit.script(torch.nn.ReLU()),
        lambda: torch.nn.LazyLinear(2),
        lambda: torch.nn.Linear(2, 2, device="meta"),
        lambda: Wrapped(iter([1])),
        lambda: Wrapped(torch.Generator()),
    ],
    ids=["sparse", "scripted", "lazy", "meta", "iterator", "generator"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_module_that_cannot_be_seen_has_no_digest(make):
    assert digest_of(make()) is None


def test_a_changed_attribute_is_another_model_and_a_tag_overrules(x, tmp_path):
    out = tmp_path / "out.zarr.zip"
    interrupt(Own(2.0), out, {"x": x})
    with pytest.raises(FileExistsError, match="was begun with another model"):
        cs.predict(Own(3.0), {"x": x}, out, batch_size=BATCH_SIZE)
    cs.predict(Own(2.0), {"x": x}, out, batch_size=BATCH_SIZE)
    np.testing.assert_array_equal(cs.load(out)["output"], x * np.float32(2) + 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_of_a_function_may_have_gradients_and_be_of_bfloat16(x, tmp_path, dtype):
    weight = torch.ones(12, dtype=dtype, requires_grad=True)
    out = tmp_path / "out.zarr.zip"
    cs.predict(lambda x: torch.from_numpy(x).to(dtype) * weight, {"x": x}, out)
    got = cs.load(out)["output"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, x, rtol=1e-2)


class Looking(torch.nn.Module):
    """A module that notes under which conditions it is asked."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.seen = []

    def forward(self, x):
        self.seen.append((torch.is_inference_mode_enabled(), x.is_inference(), self.training))
        return x * self.weight


def test_a_module_is_asked_in_inference_mode(x, tmp_path):
    module = Looking()
    cs.predict(module, {"x": x}, tmp_path / "out.zarr.zip", resume=False)
    assert set(module.seen) == {(True, True, False)}


def test_inputs_are_on_the_device_of_the_parameters(x):
    with (
        inference(torch.nn.Linear(12, 2, device="meta")) as call,
        pytest.raises(NotImplementedError, match="meta"),
    ):
        call(x)
