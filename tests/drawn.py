"""Small drawn pictures, encoded and not."""

import io

import numpy as np
from PIL import Image

from jxhash.data.pictures.decoding import EncodedPictures
from jxhash.networks import efficientnet_lite

SIZE = 8


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def drawn_pictures(number, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (number, size, size, 3), np.uint8)


def encoded(pixels):
    return EncodedPictures(
        [png(one) for one in pixels], range(len(pixels)), pretrained_fit, pixels.shape[1]
    )


def pretrained_fit(picture):
    return efficientnet_lite.fit(picture, SIZE)
