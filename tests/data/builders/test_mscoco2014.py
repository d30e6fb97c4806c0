"""MS COCO: two pictures for training, two for validation, one of which shows no object."""

import pytest
from archives import COCO, build, coco_parts, picture, write_coco, zip_folder

from jxhash.data.builders import mscoco2014
from jxhash.errors import UserError


def test_coco_is_built(tmp_path):
    write_coco(tmp_path / "manual", coco_parts())
    zip_folder(tmp_path / "manual/val2014", tmp_path / "manual/val2014.zip")
    pairs = build(mscoco2014.Mscoco2014, COCO, tmp_path)
    assert pairs.ids == [
        "train2014/COCO_train2014_000000000009.jpg",
        "train2014/COCO_train2014_000000000030.jpg",
        "val2014/COCO_val2014_000000000042.jpg",
    ]
    assert pairs.metadata["label_names"] == ["thing 48", "thing 60", "thing 81"]
    assert pairs.labels.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    # a, dog and number are in the captions of all pairs; 30, 42 and 9 in one each.
    assert pairs.metadata["vocabulary"] == ["30", "a", "dog", "number"]
    assert pairs.words.tolist() == [[0, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]]
    assert pairs.texts[0] == "A dog, number 9\nA dog, number 9"
    assert list(pairs.pictures) == [picture(n) for n in (9, 30, 42)]


def spoil_coco(parts, how):
    instances, captions = parts["train2014"]
    if how == "other version":
        instances["images"][1]["file_name"] = "000000000009.jpg"
    elif how == "strange caption":
        captions["annotations"][1]["image_id"] = 77
    elif how == "strange category":
        instances["annotations"][0]["category_id"] = 5
    elif how == "no caption":
        captions["annotations"] = [a for a in captions["annotations"] if a["image_id"] != 9]
    elif how == "no text":
        captions["annotations"][2]["caption"] = None
    elif how == "no list":
        del instances["categories"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("other version", r"instances_train2014.*picture 9.*'000000000009.jpg'.*another version"),
        ("strange caption", r"captions_train2014.*annotation 1: picture 77 is not in"),
        ("strange category", r"instances_train2014.*annotation 0: picture 30 or category 5"),
        ("no caption", r"captions_train2014.*picture 9 has no caption.*-skipping"),
        ("no text", r"captions_train2014.*annotations 2: expected the fields image_id, caption"),
        ("no list", r"instances_train2014.json has no list 'categories'"),
        ("cut", r"instances_train2014.json is not a complete JSON file"),
    ],
)
def test_wrong_coco_is_named(tmp_path, how, message):
    parts = coco_parts()
    spoil_coco(parts, how)
    write_coco(tmp_path / "manual", parts)
    if how == "cut":
        file = tmp_path / "manual/annotations/instances_train2014.json"
        file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(UserError, match=message):
        build(mscoco2014.Mscoco2014, COCO, tmp_path)
