"""Pictures as networks take them: opened, in RGB, and nothing that only pretends to be one.

A file is a stranger's: formats that Pillow hands to another program (an EPS file is run by
Ghostscript) are not opened, and what claims more pixels than Pillow's limit is refused before it is
unpacked.
"""

import contextlib
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

Picture = bytes | Path | np.ndarray


def open_rgb(picture: Picture) -> Image.Image:
    """Opens a picture.

    Args:
      picture: an encoded picture or its file, in one of `FORMATS` and any mode; or uint8
        [height, width] (grey), [height, width, 3] (RGB) or [height, width, 4] (RGBA).

    Returns:
      The picture in RGB, turned as its EXIF data say that the camera was held; transparency shows
      white.

    Raises:
      ValueError: this is no picture, or a truncated one, or one with more pixels than
        `PIL.Image.MAX_IMAGE_PIXELS`; or the array has another shape or dtype, or no pixels.
    """
    return _over_white(_opened(picture))


def _opened(picture: Picture) -> Image.Image:
    if isinstance(picture, np.ndarray):
        return _of_array(picture)
    file = picture if isinstance(picture, Path) else io.BytesIO(picture)
    try:
        opened: Image.Image = Image.open(file, formats=FORMATS)
        # Pillow itself refuses twice its limit only.
        limit = Image.MAX_IMAGE_PIXELS
        if limit is not None and opened.width * opened.height > limit:
            raise ValueError(f"{opened.width} x {opened.height} pixels, the limit is {limit}")
        opened.load()
    # Each format has errors of its own for files that are cut, changed or of another kind.
    except Exception as error:
        raise ValueError(f"no picture that Pillow can read: {error}") from None
    # Broken EXIF data make no broken picture. Where Pillow fails to write them back without the
    # orientation, the picture is turned by then.
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(opened, in_place=True)
    return opened


def _of_array(array: np.ndarray) -> Image.Image:
    colours = array.shape[2:]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or colours not in ((), (3,), (4,)):
        raise ValueError(
            "a picture must be encoded bytes or uint8 [height, width], [height, width, 3] or "
            f"[height, width, 4]; got {array.dtype} {list(array.shape)}"
        )
    if 0 in array.shape:
        raise ValueError(f"a picture of shape {list(array.shape)} has no pixels")
    return Image.fromarray(array)


def _over_white(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bit(picture)
    layer = picture.convert("RGBA")
    ground = Image.new("RGBA", layer.size, "white")
    ground.alpha_composite(layer)
    return ground.convert("RGB")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Brings 16-bit and float grey to 8 bits; Pillow's own conversion would clip it to white."""
    grey = np.asarray(picture, np.float32)
    highest = 65535.0 if picture.mode.startswith("I") else 1.0
    return Image.fromarray(np.uint8(np.clip(grey / highest, 0.0, 1.0) * 255.0 + 0.5))
