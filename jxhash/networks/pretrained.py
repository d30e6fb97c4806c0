"""Picture networks with weights, by name."""

from pathlib import Path

from jxhash.errors import UserError
from jxhash.networks import alexnet, cnn_f, efficientnet_lite
from jxhash.networks.picture_encoder import Encoder

_MAKERS = {"lite0": efficientnet_lite.encoder, "alexnet": alexnet.encoder, "cnn-f": cnn_f.encoder}

NAMES = tuple(_MAKERS)


def weights_file(name: str, path: Path | None) -> Path:
    """The given file of weights, or that of an installed package.

    Raises:
      UserError: none is given, and no package has the weights or it is not installed.
    """
    if path is not None:
        return path
    if name != "lite0":
        raise UserError(f"the network {name!r} needs a file of weights, see docs/data.md")
    try:
        return efficientnet_lite.weights_path()
    except ImportError as error:
        raise UserError(str(error)) from error


def load(name: str, path: Path | None = None) -> Encoder:
    """A network with its weights.

    Args:
      name: one of `NAMES`.
      path: of the weights; None where an installed package has them.

    Raises:
      UserError: the weights are missing, damaged, or of another network.
    """
    return _MAKERS[name](weights_file(name, path))
