"""Laws of transforms: right values, reproducible draws, whatever the samples come with."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import transforms
from chunkstore.transforms import SampleRandom
from tests import support

RANDOM_TRANSFORMS = {
    "flip": transforms.flip(),
    "flip-rows": transforms.flip(0, 0.3),
    "crop": transforms.random_crop((5, 6)),
    "pad": transforms.pad_and_crop(2),
    "pad-size": transforms.pad_and_crop(3, 9, fill=7),
    "compose": transforms.compose(
        transforms.pad_and_crop(2), transforms.flip(), transforms.scale()
    ),
    "seeded": transforms.seeded(
        lambda samples, random: samples + random.integers(0, 9)[:, None, None, None]
    ),
}
TRANSFORMS = RANDOM_TRANSFORMS | {
    "one_hot": transforms.one_hot(8),
    "scale": transforms.scale(),
    "normalize": transforms.normalize([1, 2, 3], [4, 5, 6]),
    "channels_first": transforms.channels_first(),
}


def pictures(count, shape=(8, 10, 3), seed=0):
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.integers(0, 256, (count, *shape), dtype=np.uint8)


def draws(numbers, epoch=0):
    return SampleRandom(np.asarray(numbers), seed=5, epoch=epoch)


@pytest.mark.parametrize("transform", RANDOM_TRANSFORMS.values(), ids=RANDOM_TRANSFORMS)
@given(st.lists(st.integers(0, 19), min_size=1, max_size=25))
def test_a_sample_is_transformed_alike_whatever_comes_with_it(transform, chosen):
    images = pictures(20)
    whole = transform(images, draws(range(20)))
    part = transform(images[chosen], draws(chosen))
    assert np.array_equal(part, whole[chosen])


@pytest.mark.parametrize("transform", RANDOM_TRANSFORMS.values(), ids=RANDOM_TRANSFORMS)
def test_epochs_transform_differently(transform):
    images = pictures(30)
    first, second = (transform(images, draws(range(30), epoch)) for epoch in (0, 1))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("transform", RANDOM_TRANSFORMS.values(), ids=RANDOM_TRANSFORMS)
def test_a_random_transform_alone_says_what_it_needs(transform):
    with pytest.raises(TypeError, match="draws random numbers: a loader provides them"):
        transform(pictures(2))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_samples_given_are_not_changed(name):
    samples = np.arange(8) if name == "one_hot" else pictures(8)
    before = samples.copy()
    samples.flags.writeable = False
    TRANSFORMS[name](samples, draws(range(8)))
    assert np.array_equal(samples, before)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_no_samples_give_no_samples(name):
    samples = np.arange(8) if name == "one_hot" else pictures(8)
    full = TRANSFORMS[name](samples, draws(range(8)))
    empty = TRANSFORMS[name](samples[:0], draws([]))
    assert empty.shape == (0, *full.shape[1:])
    assert empty.dtype == full.dtype


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name != "seeded"])
def test_a_pickled_transform_does_the_same(name):
    samples = np.arange(8) if name == "one_hot" else pictures(8)
    copy = pickle.loads(pickle.dumps(TRANSFORMS[name]))
    expected = TRANSFORMS[name](samples, draws(range(8)))
    assert np.array_equal(copy(samples, draws(range(8))), expected)


# ------------------------------------------------------------------ one_hot


def test_labels_become_rows_with_a_single_one():
    for labels in (np.array([2, 0, 1], np.int8), np.array([[2], [0], [1]], np.uint64)):
        rows = transforms.one_hot(3)(labels)
        assert rows.dtype == np.float32
        assert rows.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert transforms.one_hot(2, "u1")(np.array([True, False])).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("label", [-1, 3, 200])
def test_a_label_outside_is_named_with_its_sample(label):
    labels = np.array([0, 1, label, 2, label])
    message = rf"label {label} of sample 77 is not in \[0, 3\): 2 of these 5 labels are outside"
    with pytest.raises(ValueError, match=message):
        transforms.one_hot(3)(labels, draws([5, 6, 77, 8, 9]))
    with pytest.raises(ValueError, match=f"label {label} of sample 2 is not"):
        transforms.one_hot(3)(labels)


def test_a_wrong_label_of_the_second_file_is_named_by_its_number_in_all():
    labels = np.zeros(30, np.int64)
    wrong = labels.copy()
    wrong[7] = 5
    data = cs.concat([{"y": labels}, {"y": wrong}])
    with (
        cs.Loader(data, "y", batch_size=10, transform={"y": transforms.one_hot(3)}) as loader,
        pytest.raises(ValueError, match=r"label 5 of sample 37 is not in \[0, 3\)"),
    ):
        list(loader)


def test_what_are_no_labels_is_refused():
    with pytest.raises(TypeError, match="integer labels, got float64"):
        transforms.one_hot(3)(np.array([1.0]))
    with pytest.raises(ValueError, match=r"one label a sample, got samples of \(2,\)"):
        transforms.one_hot(3)(np.array([[1, 2]]))
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        transforms.one_hot(0)


# ------------------------------------------------------------------ values and axes


def test_values_are_scaled_and_shifted():
    images = pictures(4)
    scaled = transforms.scale(1 / 127.5, -1)(images)
    assert scaled.dtype == np.float32
    assert np.allclose(scaled, images / 127.5 - 1, atol=1e-6)
    assert transforms.scale(2, dtype="f8")(images).dtype == np.float64


@pytest.mark.parametrize("shape", [(), (3,), (1, 1, 3), (8, 10, 3)], ids=str)
def test_a_mean_of_channels_or_of_images_is_subtracted(shape):
    images = pictures(4)
    mean, std = np.full(shape, 100.5), np.full(shape, 4.0)
    result = transforms.normalize(mean, std)(images)
    assert result.dtype == np.float32
    assert np.allclose(result, (images - 100.5) / 4)
    assert np.allclose(transforms.normalize(mean)(images), images - 100.5)


@pytest.mark.parametrize("dtype", ["u1", "i8", "?", "O", "U3", "V4"])
def test_a_type_that_holds_no_fractions_is_refused(dtype):
    for make in (transforms.scale, lambda dtype: transforms.normalize(2, dtype=dtype)):
        with pytest.raises(ValueError, match="must be a floating point or complex type, got"):
            make(dtype=dtype)


@pytest.mark.parametrize("dtype", ["f2", "f8", "c8", "bfloat16"])
def test_a_type_that_holds_fractions_is_kept(dtype):
    if dtype == "bfloat16":
        dtype = support.require("ml_dtypes").bfloat16
    values = np.array([[1], [3]], np.uint8)
    for transform in (transforms.scale(0.5, dtype=dtype), transforms.normalize(0, 2, dtype)):
        assert transform(values).dtype == dtype
        assert transform(values).ravel().tolist() == [0.5, 1.5]


def test_a_mean_that_fits_no_sample_is_refused():
    for shape in ((4,), (8, 1, 1, 3), (10, 8, 3)):
        with pytest.raises(ValueError, match=r"does not fit samples of \(8, 10, 3\)"):
            transforms.normalize(np.zeros(shape))(pictures(2))
    with pytest.raises(ValueError, match=r"std must be above 0, got 0\.0"):
        transforms.normalize(0, [1, 0])


def test_channels_move_and_come_back():
    images = pictures(4)
    first = transforms.channels_first()(images)
    assert np.array_equal(first, images.transpose(0, 3, 1, 2))
    assert np.array_equal(transforms.channels_last()(first), images)


# ------------------------------------------------------------------ augmentation


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("shape", [(8, 10, 3), (5, 4, 1), (3, 4, 0)], ids=str)
def test_a_flipped_sample_is_turned_or_as_it_was(axis, shape):
    images = pictures(40, shape)
    flipped = transforms.flip(axis)(images, draws(range(40)))
    turned = np.flip(images, axis + 1 if axis >= 0 else axis)
    is_turned = [np.array_equal(*pair) for pair in zip(flipped, turned, strict=True)]
    is_same = [np.array_equal(*pair) for pair in zip(flipped, images, strict=True)]
    assert all(a or b for a, b in zip(is_turned, is_same, strict=True))
    if images[0].shape[axis] > 1 and images.size:
        assert 8 < sum(is_turned) < 32


def test_flip_probabilities_are_kept():
    images = pictures(1000, (1, 2))
    for probability in (0.0, 0.2, 1.0):
        flipped = transforms.flip(1, probability)(images, draws(range(1000)))
        turned = (flipped != images).any(axis=(1, 2)).sum()
        different = (images[:, 0, 0] != images[:, 0, 1]).mean()
        assert abs(turned / 1000 - probability * different) < 0.05


def test_a_crop_is_a_piece_of_its_sample_at_every_place_equally_often():
    # Values tell their own places.
    image = np.arange(4 * 5).reshape(4, 5, 1)
    images = np.repeat(image[np.newaxis], 2400, axis=0)
    pieces = transforms.random_crop((3, 2))(images, draws(range(2400)))
    assert pieces.shape == (2400, 3, 2, 1)
    corners = pieces[:, 0, 0, 0]
    grid = corners[:, np.newaxis, np.newaxis] + np.array([[0, 1], [5, 6], [10, 11]])
    assert np.array_equal(pieces[..., 0], grid)
    places, times = np.unique(corners, return_counts=True)
    assert places.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert np.abs(times / 300 - 1).max() < 0.25


def test_axes_choose_what_is_cropped():
    images = pictures(6)
    by_channel = transforms.random_crop((5, 6), axes=(1, 2))(
        images.transpose(0, 3, 1, 2), draws(range(6))
    )
    assert np.array_equal(
        by_channel.transpose(0, 2, 3, 1), transforms.random_crop((5, 6))(images, draws(range(6)))
    )


def test_padding_is_filled_and_the_size_is_kept():
    ones = np.ones((50, 6, 6), np.int16)
    shifted = transforms.pad_and_crop(2, fill=9)(ones, draws(range(50)))
    assert shifted.shape == ones.shape
    assert shifted.dtype == ones.dtype
    assert set(np.unique(shifted)) == {1, 9}
    # At most two rows and two columns of padding are left.
    assert ((shifted == 1).sum(axis=(1, 2)) >= 16).all()


def test_image_and_mask_are_cropped_and_flipped_alike():
    masks = pictures(20, (8, 10))
    images = np.repeat(masks[..., np.newaxis], 3, axis=-1)
    augment = transforms.compose(transforms.pad_and_crop(2), transforms.flip())
    image = transforms.compose(augment, transforms.scale(1))(images, draws(range(20)))
    mask = augment(masks, draws(range(20)))
    assert np.array_equal(image[..., 0], mask)


def test_another_stream_draws_independently():
    images = pictures(200, (1, 2))
    one = transforms.flip()(images, draws(range(200)))
    other = transforms.flip(stream=1)(images, draws(range(200)))
    assert 0.3 < (one != other).any(axis=(1, 2)).mean() < 0.7


def test_the_same_transform_twice_in_a_row_draws_anew():
    images = np.repeat(np.arange(10)[np.newaxis, :, np.newaxis], 200, axis=0)
    for stream in (0, 3):
        shift = transforms.random_crop((9, 1), stream=stream)
        twice = transforms.compose(shift, transforms.random_crop((8, 1), stream=stream))
        corners = twice(images, draws(range(200)))[:, 0, 0]
        assert np.unique(corners).tolist() == [0, 1, 2]


def test_pieces_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"samples of shape \(8, 10, 3\).*smaller than the piece"):
        transforms.random_crop(9)(pictures(2), draws(range(2)))
    with pytest.raises(ValueError, match=r"one for each of 2 axes, got \(3,\)"):
        transforms.random_crop((3,))
    for size in (0, -1, (3, 0)):
        with pytest.raises(ValueError, match="size must be at least 1, got"):
            transforms.random_crop(size)
    for size in (2.0, True, "3", (1, None)):
        with pytest.raises((TypeError, ValueError), match=r"size must be (an integer|one number)"):
            transforms.random_crop(size)
    with pytest.raises(TypeError, match=r"padding must be an integer, got 1\.5"):
        transforms.pad_and_crop(1.5)
    with pytest.raises(ValueError, match=r"axes must be different axes.*got \(1, 1\)"):
        transforms.pad_and_crop(1, axes=(1, 1))
    with pytest.raises(ValueError, match=r"axes=\(2, -1\) are not different axes of \(8, 10, 3\)"):
        transforms.pad_and_crop(1, axes=(2, -1))(pictures(2), draws(range(2)))
    for axes in ((0, 3), (-4, 1)):
        for transform in (
            transforms.pad_and_crop(1, axes=axes),
            transforms.pad_and_crop(1, 4, axes=axes),
            transforms.random_crop(2, axes=axes),
        ):
            with pytest.raises(ValueError, match=r"of shape \(8, 10, 3\) have no axis (3|-4)"):
                transform(pictures(2), draws(range(2)))
    with pytest.raises(ValueError, match=r"samples of shape \(12,\) have no axis 1"):
        transforms.random_crop(9)(pictures(2, (12,)), draws(range(2)))
    with pytest.raises(ValueError, match="padding must be at least 0, got -1"):
        transforms.pad_and_crop(-1)
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\], got 2"):
        transforms.flip(probability=2)
    with pytest.raises(ValueError, match=r"samples of shape \(8, 10, 3\) have no axis 3"):
        transforms.flip(3)(pictures(2), draws(range(2)))


def test_sizes_may_be_integers_of_numpy():
    images = pictures(4)
    wanted = transforms.random_crop(5)(images, draws(range(4)))
    for size in (np.int64(5), np.array([5, 5]), [np.uint8(5), 5]):
        assert np.array_equal(transforms.random_crop(size)(images, draws(range(4))), wanted)


def test_augmentation_is_pinned():
    image = np.arange(16).reshape(1, 4, 4)
    augment = transforms.compose(transforms.random_crop(2), transforms.flip())
    pieces = augment(np.repeat(image, 3, axis=0), SampleRandom(range(3), seed=7, epoch=1))
    assert pieces.tolist() == [[[7, 6], [11, 10]], [[1, 0], [5, 4]], [[9, 8], [13, 12]]]


def test_a_plain_function_may_stand_in_a_composition():
    both = transforms.compose(np.sqrt, transforms.scale(2))
    assert both(np.array([[4.0, 9.0]])).tolist() == [[4.0, 6.0]]
    assert not both.is_random
