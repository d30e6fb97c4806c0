"""Pascal Sentences: the page."""

import pytest
from archives import PASCAL, build, picture, write_pascal

from jxhash.data.builders import pascal_sentence
from jxhash.errors import UserError


def test_pascal_is_built(tmp_path):
    write_pascal(tmp_path / "manual")
    pairs = build(pascal_sentence.PascalSentence, PASCAL, tmp_path)
    assert pairs.ids == ["dog/2008_8.jpg", "boat/2008_3.jpg", "dog/2008_5.jpg"]
    assert pairs.metadata["label_names"] == ["boat", "dog"]
    assert pairs.labels.tolist() == [[0, 1], [1, 0], [0, 1]]
    assert pairs.texts[0] == "A dog of 8 & more.\nNothing here"
    assert pairs.pictures[1] == picture(3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<tr><td>Nothing here</td></tr>", "", r"picture 1 \(dog/2008_8.jpg\): 1 sentences.*skip"),
        ("boat/2008_3.jpg", "/etc/passwd", "shows the picture '/etc/passwd'"),
        ("boat/2008_3.jpg", "dog/2008_3.jpg", "3 pictures of 1 classes, not 2"),
    ],
)
def test_wrong_pascal_is_named(tmp_path, old, new, message):
    write_pascal(tmp_path / "manual")
    page = tmp_path / "manual/pascal-sentences/index.html"
    page.write_text(page.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        build(pascal_sentence.PascalSentence, PASCAL, tmp_path)
