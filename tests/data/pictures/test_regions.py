"""Sequences of regions: geometry, the file in the cache folder, and a real proposer."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from jxhash.data.pictures import regions
from jxhash.errors import UserError


def test_geometry_has_the_share_of_the_paper():
    boxes = [np.array([[0, 0, 40, 20], [10, 5, 20, 10]])]
    features = [np.arange(2 * 4096).reshape(2, 4096) / 8192]
    rows = regions.region_features(features, boxes, np.array([[20, 40]]), max_regions=3)
    assert rows.shape == (1, 3, 5000)
    assert rows.dtype == np.float16
    np.testing.assert_allclose(rows[0, :2, :4096], features[0], atol=1e-3)
    np.testing.assert_array_equal(rows[0, 0, 4096:].reshape(226, 4), [[1, 1, 0.5, 0.5]] * 226)
    np.testing.assert_array_equal(rows[0, 1, -4:], [0.5, 0.5, 0.5, 0.5])
    assert not rows[0, 2].any()


def test_more_regions_than_wanted_are_cut_at_the_end():
    boxes, features = np.ones((5, 4)), np.arange(10.0).reshape(5, 2)
    rows = regions.region_features([features], [boxes], np.array([[4, 4]]), max_regions=2)
    np.testing.assert_array_equal(rows[0, :, :2], features[:2])


@pytest.mark.parametrize(
    ("features", "boxes", "says"),
    [
        (np.ones((2, 3)), np.ones((1, 4)), "picture 0"),
        (np.ones((0, 3)), np.ones((0, 4)), "one region or more"),
        (np.ones((1, 3)), np.array([[0, 0, 0, 5]]), "no area"),
        (np.ones((1, 3)), np.array([[-1, 0, 3, 3]]), "outside of 4 x 4"),
        (np.ones((1, 3)), np.array([[2, 0, 3, 3]]), "outside of 4 x 4"),
        (np.full((1, 3), 7e4), np.array([[0, 0, 4, 4]]), "beyond float16"),
    ],
)
def test_wrong_regions_are_named(features, boxes, says):
    with pytest.raises(ValueError, match=says):
        regions.region_features([features], [boxes], np.array([[4, 4]]))
    with pytest.raises(ValueError, match="pictures"):
        regions.region_features([features], [boxes], np.array([4, 4]))


def encoded(colour):
    picture = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((6, 8, 40, 30), fill=colour)
    draw.ellipse((30, 36, 58, 60), fill="navy")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [encoded("red"), encoded("green")]
WHOLE = np.ones((2, 256), np.float16)


@pytest.fixture
def worked_out(monkeypatch, tmp_path):
    """A cache folder of its own, and what takes minutes replaced; gives the number of calls."""
    calls = []

    def quick(pictures, whole):
        calls.append(len(pictures))
        boxes = np.tile([0, 0, 64, 64], (len(pictures), 1, 1))
        return regions.region_features(whole[:, None], boxes, np.full((len(pictures), 2), 64))

    monkeypatch.setattr(regions, "_worked_out", quick)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return calls


def test_regions_are_worked_out_once(worked_out, tmp_path):
    first = regions.of_pictures("small", PICTURES, WHOLE)
    again = regions.of_pictures("small", PICTURES, WHOLE)
    assert worked_out == [2]
    assert first.shape == (2, regions.MAX_REGIONS + 1, 312)
    np.testing.assert_array_equal(first, again)
    (file,) = (tmp_path / "jxhash").iterdir()
    assert file.name.startswith("small-regions-")
    regions.of_pictures("small", PICTURES[::-1], WHOLE)
    assert worked_out == [2, 2]


@pytest.mark.usefixtures("worked_out")
def test_a_damaged_file_is_named(tmp_path):
    whole = regions.of_pictures("small", PICTURES, WHOLE)
    (file,) = (tmp_path / "jxhash").iterdir()
    spoilt = whole.copy()
    spoilt[1, 2, 3] = np.nan
    for broken in (spoilt, whole[:, :2], whole.astype(np.float32), np.array([{}], object)):
        np.save(file, broken)
        with pytest.raises(UserError, match=f"{file.name}.*remove it"):
            regions.of_pictures("small", PICTURES, WHOLE)
    file.write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=f"{file.name}.*remove it"):
        regions.of_pictures("small", PICTURES, WHOLE)


def test_missing_extras_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    with pytest.raises(UserError, match=r"pip install 'jxhash\[regions,pretrained\]'"):
        regions.of_pictures("small", PICTURES, WHOLE)


def test_selective_search_finds_what_is_drawn():
    pytest.importorskip("cv2", reason="needs the extra `regions`")
    picture = np.asarray(Image.open(io.BytesIO(PICTURES[0])).convert("RGB"))
    boxes = regions.propose(picture)
    assert 2 <= len(boxes) <= regions.MAX_REGIONS
    np.testing.assert_array_equal(boxes, regions.propose(picture))
    areas = boxes[:, 2] * boxes[:, 3]
    assert np.all(np.diff(areas) <= 0)
    assert np.all(boxes[:, :2] >= 0)
    assert np.all(boxes[:, :2] + boxes[:, 2:] <= 64)
    for drawn in ([6, 8, 35, 23], [30, 36, 29, 25]):
        assert max(regions.overlap(box, np.array(drawn)) for box in boxes) > 0.7
    for one, box in enumerate(boxes):
        assert all(regions.overlap(box, other) <= 0.6 for other in boxes[:one])
    assert regions.propose(np.zeros((500, 1, 3), np.uint8)).shape[1:] == (4,)
