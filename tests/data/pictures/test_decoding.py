"""Encoded pictures: decoded ahead, in order, and when they are read."""

import numpy as np
import pytest
from drawn import SIZE, drawn_pictures, encoded, png, pretrained_fit

from jxhash.data.pictures import decoding
from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.errors import UserError
from jxhash.training import batches


def test_encoded_pictures_stand_for_an_array():
    pixels = drawn_pictures(9)
    pictures = encoded(pixels)
    assert len(pictures) == 9
    assert (pictures.shape, pictures.dtype, pictures.nbytes) == (
        pixels.shape,
        pixels.dtype,
        pixels.nbytes,
    )
    np.testing.assert_array_equal(pictures[2:5], pixels[2:5])
    index = np.array([[8, 0, 3], [3, 3, 1]])
    np.testing.assert_array_equal(pictures[index], pixels[index])
    np.testing.assert_array_equal(np.asarray(pictures), pixels)
    some = pictures.take(np.array([7, 2, 4]))
    np.testing.assert_array_equal(some[:], pixels[[7, 2, 4]])
    np.testing.assert_array_equal(some.take(np.array([2, 0]))[:], pixels[[4, 7]])


def test_a_damaged_picture_is_named():
    drawn = [png(one) for one in drawn_pictures(2)]
    drawn.insert(1, b"no picture")
    pictures = EncodedPictures(drawn, ["sea.png", "sky.png", "gull.png"], pretrained_fit, SIZE)
    assert len(pictures[:1]) == 1
    with pytest.raises(UserError, match=r"sky\.png: no picture that"):
        pictures[:]
    with pytest.raises(UserError, match=r"sky\.png: no picture that"):
        pictures.take(np.array([2, 1]))[:]


def test_rows_are_read_ahead_and_no_others():
    read = []

    class Recorded(EncodedPictures):
        def __getitem__(self, rows):
            read.append(rows)
            return super().__getitem__(rows)

    pixels = drawn_pictures(12)
    pictures = Recorded([png(one) for one in pixels], range(12), pretrained_fit, SIZE)
    training = {"pairs": {"image": pictures, "labels": np.arange(12)[:, None]}}
    placement = batches.Streamed(training, steps_per_call=2)
    plan = batches.epoch_plan(training, 2, "shuffled", (0,))
    block = placement.arrays(plan, 0)["pairs"]
    np.testing.assert_array_equal(block["image"], pixels[plan["pairs"][:2]])
    placement._reader.submit(int).result()
    assert len(read) == 4
    # The engine may take fewer steps than a block has.
    block = placement.arrays(plan, 1)["pairs"]
    np.testing.assert_array_equal(block["image"], pixels[plan["pairs"][1:3]])
    placement._reader.submit(int).result()
    assert len(read) == 5
    # A short last block repeats its last step.
    block = placement.arrays(plan, 5)["pairs"]
    np.testing.assert_array_equal(block["labels"][:, :, :, 0], plan["pairs"][[5, 5]])
    placement._reader.submit(int).result()
    del read[:]
    other = batches.epoch_plan(training, 2, "shuffled", (1,))
    assert set(placement.arrays(other, 0, frozenset({"labels"}))["pairs"]) == {"labels"}
    placement._reader.submit(int).result()
    assert read == []


def test_decoding_is_ahead_and_in_order():
    started = []

    def items():
        for number in range(100):
            started.append(number)
            yield number

    found = decoding.ahead(lambda number: 10 / (number - 1), items(), depth=4)
    assert next(found)[1].result() == -10
    assert len(started) <= 5
    _, failed = next(found)
    with pytest.raises(ZeroDivisionError):
        failed.result()
    found.close()
    assert len(started) < 10
