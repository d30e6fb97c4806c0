"""Flickr8k (Hodosh, Young and Hockenmaier, JAIR 2013), from its own archives."""

from jxhash.data.builders import archive, base, captions

_TOKENS = "Flickr8k.token.txt"
_PICTURES = "Flicker8k_Dataset"  # the archive spells it so
_LISTS = {"train": "train", "validation": "dev", "test": "test"}


class Flickr8k(base.PairsBuilder):
    """8,000 pictures with five captions each, in the authors' splits, and no labels.

    `texts` has the five captions. The vocabulary is the 3,000 words that occur in the captions of
    the most training pictures; number and rule are ours.
    """

    BUILDER_CONFIGS = [base.Config(name="pairs", num_pictures=8_000, num_texts=5, num_words=3_000)]
    LABELS = False
    HOMEPAGE = "https://hockenmaier.cs.illinois.edu/Framing_Image_Description/KCCA.html"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Ask for the archives with the form at
    https://hockenmaier.cs.illinois.edu/Framing_Image_Description/KCCA.html and put
    Flickr8k_Dataset.zip (or its folder `{_PICTURES}`) and Flickr8k_text.zip (or a folder
    `Flickr8k_text` with {_TOKENS}) into the manual folder."""
    CITATION = """M. Hodosh, P. Young and J. Hockenmaier. Framing Image Description as a Ranking
    Task. JAIR 47, 2013."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads the captions and the lists of pictures."""
        config = self.builder_config
        folder = archive.around(fetch.manual("Flickr8k_text", "Flickr8k_text.zip"), _TOKENS)
        pictures = archive.within(fetch.manual(_PICTURES, "Flickr8k_Dataset.zip"), _PICTURES)
        files = {split: folder / f"Flickr_8k.{name}Images.txt" for split, name in _LISTS.items()}
        listed = {
            split: [line for _, line in archive.numbered_lines(file)]
            for split, file in files.items()
        }
        number = sum(map(len, listed.values()))
        archive.require_count(f"{folder} lists", number, config.num_pictures, "pictures")
        found = captions.read(folder / _TOKENS)
        splits = {
            split: captions.pairs(folder / _TOKENS, found, names, pictures, config, faults)
            for split, names in listed.items()
        }
        return base.Contents(None, [], splits)
