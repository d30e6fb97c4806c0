"""Builders of the field's data sets, from the archives that their authors distribute.

They need tensorflow-datasets, but no TensorFlow; nothing of it is imported before a builder is.
"""

import importlib
import os

from jxhash.errors import UserError

# Name of the data set -> its file here and its class.
_CLASSES = {
    "flickr30k": ("flickr30k", "Flickr30k"),
    "iapr_tc12": ("iapr_tc12", "IaprTc12"),
    "mirflickr25k": ("mirflickr25k", "Mirflickr25k"),
    "mscoco2014": ("mscoco2014", "Mscoco2014"),
    "nuswide": ("nuswide", "Nuswide"),
    "pascal_sentence": ("pascal_sentence", "PascalSentence"),
    "wikipedia_cross_modal": ("wikipedia", "WikipediaCrossModal"),
}


def names() -> list[str]:
    """The names that `get` knows."""
    return sorted(_CLASSES)


def get(name: str) -> type:
    """The builder of a data set, a class of tensorflow-datasets.

    Args:
      name: one of `names()`.

    Raises:
      UserError: there is none of this name.
    """
    if name not in _CLASSES:
        raise UserError(f"no builder is called {name!r}; there are {', '.join(names())}")
    file, class_name = _CLASSES[name]
    return getattr(importlib.import_module(f"{__name__}.{file}"), class_name)


def prepare(
    name: str, data_dir: str | os.PathLike, manual_dir: str | os.PathLike | None = None
) -> str:
    """Builds a data set once; a second call finds it.

    Args:
      name: such as "mirflickr25k" or "nuswide/tc10", with the name of a config.
      data_dir: the folder that prepared data sets are kept in.
      manual_dir: the folder with the archives at hand; what has an address and is not there is
        downloaded.

    Returns:
      The folder of the prepared data set.

    Raises:
      UserError: the name is unknown, or an archive is missing or malformed.
    """
    import tensorflow_datasets as tfds

    builder_class = get(name.partition("/")[0])
    config = name.partition("/")[2] or None
    if config is not None and config not in builder_class.builder_configs:
        raise UserError(
            f"{name.partition('/')[0]} has no config {config!r}; there are "
            f"{', '.join(builder_class.builder_configs)}"
        )
    builder = builder_class(config=config, data_dir=data_dir)
    options = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    builder.download_and_prepare(download_config=options)
    return str(builder.data_path)
