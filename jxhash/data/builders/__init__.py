"""Builders of the field's data sets, from the archives that their authors distribute.

They need tensorflow-datasets, but no TensorFlow; nothing of it is imported before a builder is.
"""

import importlib
import os
import pathlib
from typing import Any

from jxhash.errors import UserError

# Name of the data set -> its file here and its class.
_CLASSES = {
    "flickr8k": ("flickr8k", "Flickr8k"),
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


def get(name: str) -> Any:
    """The builder of a data set, a class of tensorflow-datasets.

    Raises:
      UserError: there is none of this name.
    """
    if name not in _CLASSES:
        raise UserError(f"no builder is called {name!r}; there are {', '.join(names())}")
    file, class_name = _CLASSES[name]
    return getattr(importlib.import_module(f"{__name__}.{file}"), class_name)


def resolve(name: str) -> tuple[Any, Any]:
    """The builder class and the config of "mirflickr25k/tags", or of "mirflickr25k".

    Every config has another one whose name ends in "-skipping": it leaves damaged pairs out.

    Raises:
      UserError: there is no such data set or config.
    """
    data, _, wanted = name.partition("/")
    builder: Any = get(data)
    skipping = [config.skipping() for config in builder.BUILDER_CONFIGS]
    configs = {config.name: config for config in [*builder.BUILDER_CONFIGS, *skipping]}
    if wanted and wanted not in configs:
        raise UserError(f"{data} has no config {wanted!r}; there are {', '.join(configs)}")
    return builder, configs[wanted or builder.BUILDER_CONFIGS[0].name]


def prepare(
    name: str, data_dir: str | os.PathLike[str], manual_dir: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Builds a data set once; a second call finds it. Returns its folder, in `data_dir`.

    Args:
      name: such as "mirflickr25k", or "nuswide/tc10" with the name of a config.
      data_dir: the folder that prepared data sets are kept in.
      manual_dir: the folder with the archives at hand; what has an address and is not there is
        downloaded. By default `downloads/manual` in `data_dir`.

    Raises:
      UserError: the name is unknown, an archive is missing or malformed, or the folder cannot be
        written.
    """
    import tensorflow_datasets as tfds

    data_dir = pathlib.Path(data_dir).expanduser()
    if manual_dir is not None:
        manual_dir = pathlib.Path(manual_dir).expanduser()
        if not manual_dir.is_dir():  # or all archives would be downloaded, for hours
            raise UserError(f"there is no folder {manual_dir}; put the archives at hand there")
    builder_class, config = resolve(name)
    options = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        builder = builder_class(config=config, data_dir=data_dir)
        builder.download_and_prepare(download_config=options)
    except OSError as error:  # what is wrong with an archive has been named before
        raise UserError(f"{name} cannot be written to {data_dir} ({error})") from error
    return pathlib.Path(builder.data_path)
