"""Does predict ask torch modules: evaluated, without gradients, and left as they were?"""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from tests import support

torch = support.require("torch")

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


def test_a_module_goes_on_with_its_own_file_and_not_with_that_of_other_weights(x, tmp_path):
    out, whole = tmp_path / "out.zarr.zip", tmp_path / "whole.zarr.zip"
    cs.predict(make_module(), {"x": x}, whole, batch_size=BATCH_SIZE)
    module = make_module()
    calls = []

    def fail(part, inputs):
        calls.append(len(inputs[0]))
        if len(calls) == 4:
            raise RuntimeError("interrupted")

    hook = module.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        cs.predict(module, {"x": x}, out, batch_size=BATCH_SIZE)
    hook.remove()
    other = make_module()
    with torch.no_grad():
        other[0].weight[0, 0] += 1
    with pytest.raises(FileExistsError, match="was begun with another model"):
        cs.predict(other, {"x": x}, out, batch_size=BATCH_SIZE)
    cs.predict(module, {"x": x}, out, batch_size=BATCH_SIZE)
    assert out.read_bytes() == whole.read_bytes()
