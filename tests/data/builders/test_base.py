"""What the builders share."""

import pytest
from archives import build, write_pascal

from jxhash.data.builders import base, pascal_sentence
from jxhash.errors import UserError


def test_a_picture_that_is_there_twice_is_named(tmp_path):
    write_pascal(tmp_path / "manual")
    pairs = [base.Pair("a.jpg", [], []), base.Pair("b.jpg", [], []), base.Pair("a.jpg", [], [])]

    class Twice(pascal_sentence.PascalSentence, skip_registration=True):
        def contents(self, fetch, faults):
            return base.Contents([], ["label"], {"pairs": pairs})

    config = base.Config(name="small", pictures=False)
    with pytest.raises(UserError, match=r"the picture a\.jpg twice"):
        build(Twice, config, tmp_path)
