"""CNN-F and AlexNet: weights in the layout of the real files, against float64 numpy."""

import io
import struct
import zlib

import jax
import numpy as np
import pytest
import scipy.io
from PIL import ExifTags, Image, ImageFile
from safetensors.numpy import save_file
from weight_files import of_arrays, write_legacy, write_zip

from jxhash.errors import UserError
from jxhash.formats import mat, tensor_files
from jxhash.networks import alexnet, cnn_f, efficientnet_lite, matconvnet
from jxhash.networks.picture_encoder import encode
from jxhash.networks.picture_files import open_rgb

# --- the oracle: one output pixel after the other -------------------------------------------------


def oracle_convolution(x, kernel, bias, stride, padding):
    """Kernel [k, k, in, out], zeros outside."""
    x = np.pad(x.astype(np.float64), ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    size, kernel = len(kernel), kernel.astype(np.float64)
    rows, columns = ((side - size) // stride + 1 for side in x.shape[1:3])
    out = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for row in range(rows):
        for column in range(columns):
            y, z = row * stride, column * stride
            out[:, row, column] = np.tensordot(x[:, y : y + size, z : z + size], kernel, 3) + bias
    return out


def oracle_pool(x, ceil):
    """Windows of 3, two apart; with `ceil` a last window that reaches beyond the border."""
    rows, columns = ((side - 3 + ceil) // 2 + 1 for side in x.shape[1:3])
    out = np.zeros((len(x), rows, columns, x.shape[3]))
    for row in range(rows):
        for column in range(columns):
            y, z = 2 * row, 2 * column
            out[:, row, column] = x[:, y : y + 3, z : z + 3].max(axis=(1, 2))
    return out


def oracle_norm(x):
    out = np.zeros_like(x)
    for channel in range(x.shape[3]):
        near = x[..., max(0, channel - 2) : channel + 3]
        out[..., channel] = x[..., channel] / (2 + 1e-4 * (near**2).sum(axis=3)) ** 0.75
    return out


def relu(x):
    return np.maximum(x, 0)


def oracle_cnn_f(x, filters):
    """Chatfield et al., table 1; filters: name -> (kernel [h, w, in, out], bias)."""
    x = oracle_pool(oracle_norm(relu(oracle_convolution(x, *filters["conv1"], 4, 0))), 1)
    x = oracle_pool(oracle_norm(relu(oracle_convolution(x, *filters["conv2"], 1, 2))), 1)
    for name in ("conv3", "conv4", "conv5"):
        x = relu(oracle_convolution(x, *filters[name], 1, 1))
    x = relu(oracle_convolution(oracle_pool(x, 1), *filters["fc6"], 1, 0))
    return relu(oracle_convolution(x, *filters["fc7"], 1, 0))[:, 0, 0]


def oracle_alexnet(x, tensors):
    """The layers of torchvision, in torch's order of axes where it flattens."""

    def convolve(x, number, stride, padding):
        kernel = tensors[f"features.{number}.weight"].transpose(2, 3, 1, 0)
        return relu(
            oracle_convolution(x, kernel, tensors[f"features.{number}.bias"], stride, padding)
        )

    x = oracle_pool(convolve(x, 0, 4, 2), 0)
    x = oracle_pool(convolve(x, 3, 1, 2), 0)
    x = convolve(convolve(x, 6, 1, 1), 8, 1, 1)
    x = oracle_pool(convolve(x, 10, 1, 1), 0)
    x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    for number in (1, 4):
        weight = tensors[f"classifier.{number}.weight"].astype(np.float64)
        x = relu(x @ weight.T + tensors[f"classifier.{number}.bias"])
    return x


# --- random weights, as large as a layer keeps its inputs -----------------------------------------

CNN_F_SHAPES = {
    "conv1": (11, 11, 3, 64),
    "conv2": (5, 5, 64, 256),
    "conv3": (3, 3, 256, 256),
    "conv4": (3, 3, 256, 256),
    "conv5": (3, 3, 256, 256),
    "fc6": (6, 6, 256, 4096),
    "fc7": (1, 1, 4096, 4096),
}
ALEXNET_SHAPES = {
    "features.0": (64, 3, 11, 11),
    "features.3": (192, 64, 5, 5),
    "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3),
    "features.10": (256, 256, 3, 3),
    "classifier.1": (4096, 9216),
    "classifier.4": (4096, 4096),
    "classifier.6": (10, 4096),
}


def drawn(rng, shape, fan_in):
    scale = np.float32(np.sqrt(2 / fan_in))
    return rng.standard_normal(shape, np.float32) * scale


def cnn_f_filters():
    rng = np.random.default_rng(0)
    return {
        name: (drawn(rng, shape, np.prod(shape[:3])), drawn(rng, shape[3], 1))
        for name, shape in CNN_F_SHAPES.items()
    }


def alexnet_tensors():
    rng = np.random.default_rng(1)
    tensors = {}
    for name, shape in ALEXNET_SHAPES.items():
        tensors[f"{name}.weight"] = drawn(rng, shape, np.prod(shape[1:]))
        tensors[f"{name}.bias"] = drawn(rng, shape[0], 10)
    return tensors


def cells(entries):
    """A MATLAB cell array of one row."""
    row = np.empty((1, len(entries)), object)
    for column, entry in enumerate(entries):
        row[0, column] = entry
    return row


def row(*numbers):
    return np.array([numbers], float)


def cnn_f_layers(filters, style="weights"):
    """The layers as MatConvNet's importer writes them; `style` is that of older or newer files."""
    layers = []
    for name, (kernel, bias) in filters.items():
        stride, padding = {"conv1": (4, 0), "conv2": (1, 2)}.get(name, (1, 1))
        padding = 0 if name.startswith("fc") else padding
        layer = {"name": name, "type": "conv", "stride": row(stride, stride)}
        layer["pad"] = row(padding, padding, padding, padding)
        if style == "weights":
            layer["weights"] = cells([kernel, bias[None]])
        else:
            layer |= {"filters": kernel, "biases": bias[None]}
        layers += [layer, {"name": f"relu {name}", "type": "relu"}]
        if name in ("conv1", "conv2"):
            param = row(5, 2, 1e-4, 0.75)
            layers.append({"name": f"norm {name}", "type": "normalize", "param": param})
        if name in ("conv1", "conv2", "conv5"):
            pool = {"pool": row(3, 3), "stride": row(2, 2), "pad": row(0, 1, 0, 1)}
            layers.append({"name": f"pool {name}", "type": "pool", "method": "max", **pool})
    return [*layers, {"name": "prob", "type": "softmax"}]


AVERAGE = np.random.default_rng(2).uniform(90, 130, (224, 224, 3)).astype(np.float32)


def write_mat(path, layers, average=AVERAGE, **options):
    content = {"layers": cells(layers), "normalization": {"averageImage": average}}
    scipy.io.savemat(path, content, **options)
    return path


def close(found, expected):
    assert found.shape == expected.shape
    assert 0.2 < (expected > 0).mean() < 0.8
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())


def photograph(shape=(240, 300, 3)):
    return np.random.default_rng(3).integers(0, 256, shape, np.uint8)


# --- the networks ---------------------------------------------------------------------------------


def test_cnn_f_from_its_file(tmp_path):
    filters = cnn_f_filters()
    path = write_mat(tmp_path / "imagenet-vgg-f.mat", cnn_f_layers(filters))
    network = cnn_f.encoder(path)
    path.unlink()
    pixels = network.fit(photograph())[None]
    found = encode(network, pixels, 2)
    close(found, oracle_cnn_f(pixels - AVERAGE[None], filters))


def test_alexnet_from_its_file(tmp_path):
    tensors = alexnet_tensors()
    path = write_zip(tmp_path / "alexnet.pth", *of_arrays(tensors))
    network = alexnet.encoder(path)
    path.unlink()
    pixels = network.fit(photograph())[None]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = oracle_alexnet((pixels / 255 - mean) / deviation, tensors)
    close(encode(network, pixels, 2), expected)


def test_local_response_norm_by_hand():
    x = np.array([[[[3.0, 4.0, 0.0, 0.0, 12.0, 5.0]]]], np.float32)
    # Channel 0 sees channels 0 to 2, channel 5 sees 3 to 5.
    first = 3 / (2 + 1e-4 * (9 + 16)) ** 0.75
    last = 5 / (2 + 1e-4 * (25 + 144)) ** 0.75
    found = np.asarray(cnn_f.local_response_norm(x))[0, 0, 0]
    np.testing.assert_allclose(found[[0, 5]], [first, last], rtol=1e-6)


# --- the files ------------------------------------------------------------------------------------


def tiny(shape):
    """Zeros of any shape that take no memory."""
    return np.broadcast_to(np.float32(0), shape)


def tiny_network(**changes):
    shapes = CNN_F_SHAPES | changes
    filters = {name: (tiny(s), tiny(s[3:])) for name, s in shapes.items()}
    layers = cnn_f_layers(filters)
    for layer in layers:
        if "weights" in layer:
            layer["weights"] = [np.squeeze(part) for part in layer["weights"][0]]
    return matconvnet.Network(layers, AVERAGE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda layers: layers.pop(2), "its layers are conv, relu, pool, conv"),
        (lambda layers: layers[0].update(stride=np.array([2, 2])), "'conv1' has stride"),
        (lambda layers: layers[0].update(pad=2), "'conv1' has pad"),
        (lambda layers: layers[2].update(param=np.array([5, 1, 2e-5, 0.75])), "has param"),
        (lambda layers: layers[3].update(pool=np.array([2, 2])), "has pool"),
        (lambda layers: layers[4].pop("weights"), "'conv2 filters' of shape .* does not fit"),
    ],
)
def test_cnn_f_refuses_another_network(change, message):
    network = tiny_network()
    change(network.layers)
    with pytest.raises(UserError, match=message):
        cnn_f.to_variables(network, "other.mat")


def test_cnn_f_refuses_other_shapes():
    with pytest.raises(UserError, match=r"'conv5 filters' of shape .* does not fit"):
        cnn_f.to_variables(tiny_network(conv5=(3, 3, 128, 256)), "other.mat")
    network = tiny_network()._replace(average_image=AVERAGE[:200])
    with pytest.raises(UserError, match="average image"):
        cnn_f.to_variables(network, "other.mat")


@pytest.mark.parametrize("style", ["weights", "filters"])
@pytest.mark.parametrize("place", ["top", "meta", "net"])
def test_matconvnet_reads_every_generation(tmp_path, style, place):
    rng = np.random.default_rng(0)
    filters = {"conv1": (drawn(rng, (2, 2, 3, 5), 1), drawn(rng, 5, 1))}
    content = {"layers": cells(cnn_f_layers(filters, style))}
    normalization = {"normalization": {"averageImage": row(1, 2, 3).reshape(1, 1, 3)}}
    content |= normalization if place == "top" else {"meta": normalization}
    content = {"net": content} if place == "net" else content
    scipy.io.savemat(tmp_path / "net.mat", content, do_compression=True)
    found = matconvnet.read(tmp_path / "net.mat")
    assert [layer["type"] for layer in found.layers][:3] == ["conv", "relu", "normalize"]
    for array, expected in zip(found.layers[0]["weights"], filters["conv1"], strict=True):
        np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(found.average_image, [1, 2, 3])


def test_matconvnet_refuses(tmp_path):
    with pytest.raises(UserError, match="no file"):
        matconvnet.read(tmp_path / "none.mat")
    path = tmp_path / "other.mat"
    scipy.io.savemat(path, {"images": np.zeros(3)})
    with pytest.raises(UserError, match="no variable layers or normalization"):
        matconvnet.read(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(UserError, match="save it again with -v7"):
        matconvnet.read(path)


def test_matconvnet_refuses_every_truncation(tmp_path):
    filters = {"conv1": (np.ones((2, 2, 3, 5), np.float32), np.ones(5, np.float32))}
    whole = write_mat(tmp_path / "a.mat", cnn_f_layers(filters), row(1, 2, 3)).read_bytes()
    path = tmp_path / "cut.mat"
    for length in range(0, len(whole) - 200, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.mat"):
            matconvnet.read(path)


def test_matconvnet_refuses_what_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(mat, "MAX_BYTES", 10**6)
    packed = zlib.compress(bytes(2 * 10**6))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path = tmp_path / "bomb.mat"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(UserError, match="decompresses to more than 1000000 bytes"):
        matconvnet.read(path)


def test_weights_of_every_layout_are_the_same(tmp_path):
    tensors = {name: drawn(np.random.default_rng(0), (2, 3), 1) for name in ("a.weight", "b.bias")}
    pickled, contents = of_arrays(tensors)
    write_zip(tmp_path / "new.pth", pickled, contents)
    write_legacy(tmp_path / "old.pth", pickled, contents, {"0": 6, "1": 6})
    save_file(tensors, tmp_path / "a.safetensors")
    for name in ("new.pth", "old.pth", "a.safetensors"):
        found = tensor_files.read(tmp_path / name)
        assert sorted(found) == sorted(tensors)
        jax.tree.map(np.testing.assert_array_equal, found, tensors)


def test_weights_refuse(tmp_path):
    with pytest.raises(UserError, match="no file"):
        tensor_files.read(tmp_path / "none.pth")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="safetensors"):
        tensor_files.read(path)
    path = tmp_path / "a.pth"
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match=r"a\.pth"):
        tensor_files.read(path)


def test_alexnet_refuses_other_tensors():
    tensors = {f"{name}.weight": tiny(shape) for name, shape in ALEXNET_SHAPES.items()}
    tensors |= {f"{name}.bias": tiny(shape[:1]) for name, shape in ALEXNET_SHAPES.items()}
    wider = {"classifier.1.weight": tiny((4096, 256 * 7 * 7))}
    with pytest.raises(UserError, match=r"'classifier\.1\.weight' of shape .* does not fit"):
        alexnet.to_variables(tensors | wider, "other.pth")
    del tensors["features.8.bias"]
    with pytest.raises(UserError, match=r"'features\.8\.bias' is missing"):
        alexnet.to_variables(tensors, "other.pth")


# --- the pictures ---------------------------------------------------------------------------------


def test_alexnet_sees_the_middle():
    """A stripe on the left of a wide picture is cut off, one in the middle is not."""
    wide = np.zeros((256, 600, 3), np.uint8)
    wide[:, :150, 0] = 255
    wide[:, 290:310, 1] = 255
    found = alexnet.fit(wide)
    assert found.shape == (224, 224, 3)
    # (600 - 224) / 2 = 188 columns are cut off on each side, 16 rows above and below.
    np.testing.assert_array_equal(found, wide[16:240, 188:412])


def test_alexnet_scales_the_shorter_side():
    grey = np.tile(np.linspace(0, 255, 512, dtype=np.uint8)[:, None, None], (1, 768, 3))
    found = alexnet.fit(grey)
    # Row r of 256 shows rows 2 r and 2 r + 1 of 512; row 16 comes first.
    expected = (grey[::2, 0] / 2 + grey[1::2, 0] / 2)[16:240]
    np.testing.assert_allclose(found[:, 100], expected, atol=1.5)
    with pytest.raises(ValueError, match="too slim"):
        alexnet.fit(np.zeros((1, 101, 3), np.uint8))


def test_normalise_by_hand():
    found = alexnet.normalise(np.full((1, 1, 1, 3), 255, np.float32))[0, 0, 0]
    np.testing.assert_allclose(found, [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, 0.594 / 0.225])


def test_cnn_f_sees_the_whole_picture():
    halves = np.zeros((50, 448, 3), np.uint8)
    halves[:, 224:] = 200
    found = cnn_f.fit(halves)
    assert found.shape == (224, 224, 3)
    np.testing.assert_array_equal(found[:, :108], 0)
    np.testing.assert_array_equal(found[:, 116:], 200)


def test_pictures_from_files(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(photograph()).save(path)
    np.testing.assert_array_equal(np.asarray(open_rgb(path)), photograph())
    with pytest.raises(ValueError, match="no picture"):
        open_rgb(tmp_path / "none.png")


def with_exif(pixels, exif):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", exif=exif)
    return content.getvalue()


# What a camera stores of a picture whose first row is its upper edge, by the number that it notes:
# which edges are the first stored row and the first stored column.
STORED = {
    1: lambda x: x,  # top, left
    2: lambda x: x[:, ::-1],  # top, right
    3: lambda x: x[::-1, ::-1],  # bottom, right
    4: lambda x: x[::-1],  # bottom, left
    5: lambda x: x.swapaxes(0, 1),  # left, top
    6: lambda x: x[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda x: x[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("number", STORED)
def test_a_picture_is_turned_as_its_camera_was_held(number):
    seen = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = number
    stored = with_exif(np.ascontiguousarray(STORED[number](seen)), exif)
    np.testing.assert_array_equal(np.asarray(open_rgb(stored)), seen)


def test_broken_exif_data_break_no_picture():
    seen = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(np.asarray(open_rgb(with_exif(seen, b"nonsense"))), seen)
    # Orientation 6, then a text where a number belongs: Pillow reads that and cannot write it.
    head = b"MM\0*\0\0\0\x08\0\x02"
    orientation = b"\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    broken = head + orientation + b"\x01\x16\0\x02\0\0\0\x06\0\0\0>" + bytes(40)
    turned = np.asarray(open_rgb(with_exif(STORED[6](seen).copy(), broken)))
    np.testing.assert_array_equal(turned, seen)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [500 * 400 - 1, 1000])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, limit):
    Image.new("L", (500, 400)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500 * 400)
    assert open_rgb(tmp_path / "a.png").size == (500, 400)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    with pytest.raises(ValueError, match="limit"):
        open_rgb(tmp_path / "a.png")


def test_only_formats_that_run_nothing_are_opened():
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
    with pytest.raises(ValueError, match="no picture"):
        open_rgb(postscript)


def test_a_slim_picture_is_not_made_huge():
    slim = np.zeros((1, 200_000, 3), np.uint8)
    assert efficientnet_lite.fit(slim, 32).shape == (32, 32, 3)
