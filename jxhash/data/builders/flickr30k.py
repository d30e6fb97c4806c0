"""Flickr30k (Young et al., TACL 2014), from its own archives."""

from jxhash.data.builders import archive, base, captions

_TOKENS = "results_20130124.token"


class Flickr30k(base.PairsBuilder):
    """31,783 pictures with five captions each, and no labels: a picture's captions belong to it.

    `texts` has the five captions. The vocabulary is the 3,000 words that occur in the captions of
    the most pictures; number and rule are ours.
    """

    BUILDER_CONFIGS = [base.Config(name="pairs", num_pictures=31_783, num_texts=5, num_words=3_000)]
    LABELS = False
    HOMEPAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"""Ask for the archives with the form at
    https://shannon.cs.illinois.edu/DenotationGraph/ and put flickr30k-images.tar.gz (or its folder
    `flickr30k-images`) and flickr30k.tar.gz (or a folder `flickr30k` with {_TOKENS}) into the
    manual folder."""
    CITATION = """P. Young et al. From Image Descriptions to Visual Denotations. TACL 2014."""

    def contents(self, fetch: archive.Fetch, faults: base.Faults) -> base.Contents:
        """Reads the captions."""
        config = self.builder_config
        folder = archive.around(fetch.manual("flickr30k", "flickr30k.tar.gz"), _TOKENS)
        names = "flickr30k-images", "flickr30k-images.tar.gz", "flickr30k-images.tar"
        pictures = archive.within(fetch.manual(*names), names[0])
        found = captions.read(folder / _TOKENS)
        described = f"{folder / _TOKENS} describes"
        archive.require_count(described, len(found), config.num_pictures, "pictures")
        pairs = captions.pairs(folder / _TOKENS, found, found, pictures, config, faults)
        return base.Contents(None, [], {"pairs": pairs})
