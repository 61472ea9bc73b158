"""Are the outputs of a function in the file: all of them, in order, as computed?"""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.predicting.source import file_order_loader

NUM_SAMPLES = 103
BATCH_SIZE = 16


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(NUM_SAMPLES, 3, 2)).astype(np.float32),
        "y": np.arange(NUM_SAMPLES, dtype=np.int16),
        "name": np.array([f"s{i}" for i in range(NUM_SAMPLES)]),
    }


@pytest.fixture
def source(arrays, tmp_path):
    """Yield a store whose chunks fit no batch."""
    path = tmp_path / "source.zarr.zip"
    specs = {name: cs.ArraySpec(a.dtype, a.shape[1:], chunk_length=7) for name, a in arrays.items()}
    with cs.create(path, arrays=specs) as writer:
        writer.append(**arrays)
    with cs.open(path) as store:
        yield store


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.zarr.zip"


def scale(x):
    return x * 3 + 1


def test_every_output_is_stored_in_file_order_and_as_computed(arrays, source, out):
    cs.predict(scale, source, out, arrays="x", batch_size=BATCH_SIZE)
    got = cs.load(out)
    assert list(got) == ["output"]
    assert got["output"].dtype == np.float32
    np.testing.assert_array_equal(got["output"], scale(arrays["x"]))
    assert cs.verify(out).ok


def test_the_model_gets_whole_batches_and_the_rest_at_the_end(source, out):
    lengths = []
    cs.predict(lambda x: lengths.append(len(x)) or x, source, out, arrays="x", batch_size=40)
    assert lengths == [40, 40, 23]


def test_a_shuffling_loader_is_read_in_file_order_with_its_first_part_and_batch_size(
    arrays, source, out
):
    lengths = []
    with cs.Loader(source, ("x", "y"), batch_size=BATCH_SIZE, last="drop", seed=5) as loader:
        cs.predict(lambda x: lengths.append(len(x)) or scale(x), loader, out)
        assert (loader.epoch, loader.step) == (0, 0)
    np.testing.assert_array_equal(cs.load(out)["output"], scale(arrays["x"]))
    assert lengths == [BATCH_SIZE] * 6 + [7]


@pytest.mark.parametrize(
    ("outputs", "names"),
    [(None, ["output_0", "output_1"]), (("low", "high"), ["low", "high"])],
    ids=["unnamed", "named"],
)
def test_several_outputs_become_arrays_by_position(arrays, source, out, outputs, names):
    cs.predict(lambda x: (x.min((1, 2)), x), source, out, arrays="x", outputs=outputs)
    got = cs.load(out)
    assert list(got) == names
    np.testing.assert_array_equal(got[names[0]], arrays["x"].min((1, 2)))
    np.testing.assert_array_equal(got[names[1]], arrays["x"])


@pytest.mark.parametrize(
    ("outputs", "names"),
    [(None, ["low", "high"]), ("high", ["high"]), (["high", "low"], ["high", "low"])],
    ids=["all", "one", "both"],
)
def test_outputs_picks_from_a_dict(source, out, outputs, names):
    def model(x):
        return {"low": x.min((1, 2)), "high": x.max((1, 2))}

    cs.predict(model, source, out, arrays="x", outputs=outputs)
    assert list(cs.load(out)) == names


def test_the_inputs_have_the_structure_of_arrays(arrays, source, out):
    cs.predict(
        lambda inputs: inputs["a"].sum((1, 2)) + inputs["b"],
        source,
        out,
        arrays={"a": "x", "b": "y"},
        outputs="sum",
        keep=("y", "name"),
    )
    got = cs.load(out)
    np.testing.assert_array_equal(got["sum"], arrays["x"].sum((1, 2)) + arrays["y"])
    np.testing.assert_array_equal(got["y"], arrays["y"])
    np.testing.assert_array_equal(got["name"], arrays["name"])
    assert got["y"].dtype == arrays["y"].dtype


def test_a_loaders_types_and_structure_without_names_reach_the_model(arrays, out):
    seen = []
    given = {"x": arrays["x"], "y": arrays["y"]}
    with cs.Loader(given, batch_size=50, dtype={"x": "float64"}) as loader:
        cs.predict(
            lambda inputs: seen.append(inputs["x"].dtype) or inputs["y"] + inputs["x"][:, 0, 0],
            loader,
            out,
            keep="y",
        )
    assert set(seen) == {np.dtype("f8")}
    got = cs.load(out)
    np.testing.assert_array_equal(got["output"], arrays["y"] + arrays["x"][:, 0, 0].astype("f8"))
    assert got["y"].dtype == np.int16


def test_what_is_kept_makes_the_result_a_training_file(arrays, source, out):
    cs.predict(scale, source, out, arrays="x", outputs="feature", keep="y")
    with cs.open(out) as store, cs.Loader(store, ("feature", "y"), batch_size=10) as loader:
        assert store.num_samples == NUM_SAMPLES
        for feature, y in loader:
            np.testing.assert_array_equal(feature, scale(arrays["x"][y]))


def test_the_only_array_that_is_not_kept_is_the_input(arrays, out):
    given = {"x": arrays["x"], "y": arrays["y"]}
    cs.predict(scale, given, out, keep="y")
    np.testing.assert_array_equal(cs.load(out)["output"], scale(arrays["x"]))


def test_which_array_is_the_input_must_be_said_if_there_are_several(arrays, out):
    with pytest.raises(ValueError, match="has the arrays x, y, name; say by arrays= which"):
        cs.predict(scale, arrays, out)
    assert not out.exists()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_dtype_is_the_type_of_the_stored_outputs(arrays, source, out, dtype):
    cs.predict(scale, source, out, arrays="x", dtype=dtype, keep="y")
    got = cs.load(out)
    np.testing.assert_array_equal(got["output"], scale(arrays["x"]).astype(dtype))
    assert (got["output"].dtype, got["y"].dtype) == (np.dtype(dtype), np.int16)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (np.float32([np.inf, -70000]), "float16", r"up to 65504.0, the largest value has 70000.0"),
        (np.float64([1e39]), "float32", r"up to 3.40\d+e\+38, the largest value has 1e\+39"),
        (np.int64([-1, 5]), "uint8", "0 to 255, the values go from -1 to 5"),
        (np.float32([256]), "uint8", r"the values go from 256.0 to 256.0"),
        (np.uint64([2**64 - 1]), "int64", "the values go from 18446744073709551615"),
        (np.float32([0, np.nan]), "int32", "the values go from nan to nan"),
        (np.float32([2**31]), "int32", "the values go from 2147483648.0"),
    ],
    ids=["float16", "float32", "negative", "over", "unsigned", "nan", "float-to-int"],
)
def test_a_value_that_dtype_cannot_hold_is_refused_by_name(out, values, dtype, message):
    with pytest.raises(ValueError, match=f"output 'output': {dtype} holds .*{message}"):
        cs.predict(lambda x: x, {"x": values}, out, dtype=dtype)
    assert not out.exists()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.float32([255.9, -0.9, 0]), "uint8"),
        (np.float32([np.inf, -np.inf]), "float16"),
        (np.int64([-(2**63)]), "int64"),
        (np.float16([1, 2]), "uint64"),
    ],
    ids=["fractions", "infinity", "limits", "float16"],
)
def test_values_at_the_limits_of_dtype_are_cast(out, values, dtype):
    cs.predict(lambda x: x, {"x": values}, out, dtype=dtype)
    np.testing.assert_array_equal(cs.load(out)["output"], values.astype(dtype))


def test_nan_is_stored_and_reported_with_the_number_of_samples(arrays, source, out):
    def model(x):
        x = x.copy()
        x[x > 2] = np.nan
        return x

    expected = model(arrays["x"])
    count = np.isnan(expected).any((1, 2)).sum()
    assert 0 < count < NUM_SAMPLES
    with pytest.warns(cs.ChunkStoreWarning, match=f"'output' has NaN in {count} of 103 samples"):
        cs.predict(model, source, out, arrays="x", batch_size=BATCH_SIZE)
    np.testing.assert_array_equal(cs.load(out)["output"], expected)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: x[1:], r"output 'output' has shape \(15, 3, 2\) for a batch of 16 samples"),
        (lambda x: x.sum(), r"output 'output' has shape \(\) for a batch of 16 samples"),
        (lambda x: {"a": x, "b": x[:1]}, r"output 'b' has shape \(1, 3, 2\)"),
        (lambda x: {"y": x}, "y: name of an output and of an array to keep"),
        (lambda x: 1 / 0, "division by zero"),
    ],
    ids=["short", "scalar", "one-of-two", "taken", "failing"],
)
def test_a_wrong_first_batch_leaves_no_file(source, out, model, message):
    with pytest.raises((ValueError, ZeroDivisionError), match=message):
        cs.predict(model, source, out, arrays="x", keep="y", batch_size=BATCH_SIZE)
    assert list(out.parent.glob("out*")) == []


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ("a", "the model returns 2 outputs, but outputs names 1 different ones: a"),
        (("a", "a"), "outputs names 1 different ones: a, a"),
    ],
)
def test_names_must_fit_the_outputs(source, out, outputs, message):
    with pytest.raises(ValueError, match=message):
        cs.predict(lambda x: (x, x), source, out, arrays="x", outputs=outputs)


def test_a_missing_output_is_named_with_those_that_exist(source, out):
    with pytest.raises(ValueError, match="the model has no output c; there are a, b"):
        cs.predict(lambda x: {"a": x, "b": x}, source, out, arrays="x", outputs=("a", "c"))


def test_what_is_no_model_is_refused(source, out):
    with pytest.raises(
        TypeError, match=r"takes a Keras model, a torch module, or a function .* got int"
    ):
        cs.predict(3, source, out, arrays="x")


class Failing:
    """A function that fails at one of its calls."""

    def __init__(self, call, error):
        self.call, self.error, self.calls = call, error, 0

    def __call__(self, x):
        self.calls += 1
        if self.calls == self.call:
            raise self.error
        return x


def test_a_function_may_fill_the_same_memory_for_each_batch(arrays, source, out):
    memory = np.empty((BATCH_SIZE, 3, 2), np.float32)

    def model(x):
        memory[: len(x)] = scale(x)
        return memory[: len(x)]

    cs.predict(model, source, out, arrays="x", batch_size=BATCH_SIZE)
    np.testing.assert_array_equal(cs.load(out)["output"], scale(arrays["x"]))


def test_the_defaults_of_the_caller_hold_in_the_thread_that_writes(source, out):
    with cs.defaults(codec="gzip", chunk_nbytes=64):
        cs.predict(scale, source, out, arrays="x", batch_size=BATCH_SIZE)
    with cs.open(out) as store:
        assert "gzip" in store["output"].codec
        assert store["output"].num_chunks > 5


@pytest.mark.parametrize("error", [RuntimeError("the model failed"), KeyboardInterrupt()])
def test_an_error_of_the_model_leaves_the_partial_file_with_the_batches_before_it(
    arrays, source, out, error
):
    with pytest.raises(type(error)):
        cs.predict(Failing(4, error), source, out, arrays="x", batch_size=BATCH_SIZE)
    assert not out.exists()
    with cs.append(out, resume=True) as writer:
        assert writer.num_samples == 3 * BATCH_SIZE
    np.testing.assert_array_equal(cs.load(out)["output"], arrays["x"][: 3 * BATCH_SIZE])


def test_an_output_that_changes_its_shape_is_refused_in_the_words_of_the_writer(source, out):
    with pytest.raises(ValueError, match=r"'output': expected shape \(n, 3, 2\)"):
        cs.predict(
            lambda x: x if len(x) == BATCH_SIZE else x[:, :1],
            source,
            out,
            arrays="x",
            batch_size=BATCH_SIZE,
        )
    assert not out.exists()


def test_an_existing_file_is_kept_unless_overwrite_is_given(arrays, source, out):
    cs.save(out, {"old": np.arange(3)})
    calls = []
    with pytest.raises(FileExistsError, match="overwrite=True replaces it"):
        cs.predict(lambda x: calls.append(1) or x, source, out, arrays="x")
    assert calls == []
    with pytest.raises(ZeroDivisionError):
        cs.predict(lambda x: 1 / 0, source, out, arrays="x", overwrite=True)
    assert list(cs.load(out)) == ["old"]
    cs.predict(scale, source, out, arrays="x", overwrite=True)
    np.testing.assert_array_equal(cs.load(out)["output"], scale(arrays["x"]))


def test_codec_level_and_attributes_reach_the_file(source, out):
    cs.predict(scale, source, out, arrays="x", codec="gzip", level=2, attributes={"model": "scale"})
    with cs.open(out) as store:
        assert "gzip" in store["output"].codec
        assert store.attributes["model"] == "scale"


def test_an_empty_source_gives_empty_outputs_of_the_right_shape(arrays, out):
    empty = {name: array[:0] for name, array in arrays.items()}
    cs.predict(lambda x: x.sum(1), empty, out, arrays="x", keep="y")
    got = cs.load(out)
    assert (got["output"].shape, got["output"].dtype) == ((0, 2), np.float32)
    assert (got["y"].shape, got["y"].dtype) == ((0,), np.int16)


def test_memory_stays_flat_however_much_is_written(out):
    x = np.arange(512, dtype=np.float32)
    cs.predict(lambda x: x, {"x": x}, out.with_name("warm-up"))
    tracemalloc.start()
    try:
        cs.predict(
            lambda x: np.repeat(x, 1 << 16).reshape(-1, 1 << 16), {"x": x}, out, batch_size=8
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with cs.open(out) as store:
        assert store["output"].nbytes == 128 << 20
        assert store["output"][300, 1000] == 300
    assert peak < 40 << 20


def test_what_is_kept_is_as_in_the_source_though_the_model_changes_its_input(arrays, source, out):
    def center(x):
        x -= 1
        return x

    cs.predict(center, source, out, arrays="x", keep=("x", "y"), outputs="centered")
    got = cs.load(out)
    np.testing.assert_array_equal(got["x"], arrays["x"])
    np.testing.assert_array_equal(got["centered"], arrays["x"] - 1)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: {}, "the model returned no output"),
        (lambda x: (), "the model returned no output"),
        (lambda x: (x, (x, x)), "output 'output_1' is a list of arrays"),
        (lambda x: (x, [x, x]), "output 'output_1' is a list of arrays"),
        (lambda x: {"a": {"b": x}}, "output 'a' is a dict of arrays"),
    ],
    ids=["dict", "tuple", "tuple-in-tuple", "list-in-tuple", "dict-in-dict"],
)
def test_outputs_are_arrays_and_there_is_one(out, model, message):
    with pytest.raises(ValueError, match=message):
        cs.predict(model, {"x": np.zeros((2, 2))}, out)
    assert list(out.parent.glob("out*")) == []


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (np.ones(3, "c8"), "float32", "float32 holds no complex numbers, such as complex64"),
        (np.ones(3, "c16"), "int64", "int64 holds no complex numbers, such as complex128"),
        (np.ones(3, "f4"), "bool", "bool holds no numbers, such as float32"),
    ],
)
def test_a_type_that_would_lose_half_of_the_values_is_refused(out, values, dtype, message):
    with pytest.raises(ValueError, match=f"output 'output': {message}"):
        cs.predict(lambda x: x, {"x": values}, out, dtype=dtype)


def test_nan_in_complex_outputs_is_counted(out):
    values = np.array([1, np.nan, 1j * np.nan, 2], "c8")
    with pytest.warns(cs.ChunkStoreWarning, match="has NaN in 2 of 4 samples"):
        cs.predict(lambda x: x, {"x": values}, out)


def test_a_path_is_opened_as_the_source(arrays, source, out):
    for path in (source.path, str(source.path)):
        cs.predict(scale, path, out, arrays="x", overwrite=True)
        np.testing.assert_array_equal(cs.load(out)["output"], scale(arrays["x"]))


def test_a_mixture_is_no_source(source, out):
    with (
        cs.Loader(source, ("x",), batch_size=4) as loader,
        cs.Loader(source, ("x",), batch_size=4) as other,
        cs.mix([loader, other], batch_size=4) as mixture,
        pytest.raises(TypeError, match="got Mix; a mixture has no file order"),
    ):
        cs.predict(scale, mixture, out)


def test_a_batch_of_none_is_refused_also_with_a_loader(source, out):
    with (
        cs.Loader(source, ("x",), batch_size=4) as loader,
        pytest.raises(ValueError, match="batch_size"),
    ):
        cs.predict(scale, loader, out, batch_size=0)


def test_the_memory_of_a_loader_holds_for_its_predictions(source, monkeypatch, out):
    with cs.Loader(source, ("x",), batch_size=4, memory="3MiB") as loader:
        assert file_order_loader(loader, None, None, ()).memory == loader.memory


def test_bfloat16_is_stored_as_float32(arrays, source, out):
    jnp = pytest.importorskip("jax.numpy")
    cs.predict(lambda x: jnp.asarray(x, jnp.bfloat16), source, out, arrays="x")
    got = cs.load(out)["output"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, arrays["x"], rtol=1e-2)
