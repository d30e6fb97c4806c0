"""Writes weights files byte by byte as torch does, without torch; draws weights of any network."""

import pickle
import struct
import zipfile

import jax
import numpy as np

STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
}


def text(value):
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value):
    return b"J" + struct.pack("<i", value) if value < 2**31 else pickle.dumps(value, 2)[2:-1]


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def global_name(module, name):
    return f"c{module}\n{name}\n".encode()


def storage(key, kind, size):
    fields = text("storage") + global_name("torch", kind) + text(key) + text("cpu") + number(size)
    return b"(" + fields + b"tQ"


def tensor(key, kind, size, shape, strides, offset=0):
    hooks = global_name("collections", "OrderedDict") + b")R"
    arguments = storage(key, kind, size) + number(offset) + numbers(shape) + numbers(strides)
    return (
        global_name("torch._utils", "_rebuild_tensor_v2")
        + b"("
        + arguments
        + b"\x89"
        + hooks
        + b"tR"
    )


def dictionary(items):
    body = b"".join(text(name) + value for name, value in items.items())
    return global_name("collections", "OrderedDict") + b")R(" + body + b"u"


def finished(value):
    return b"\x80\x02" + value + b"."


def elements(shape):
    return [int(step) for step in np.zeros(shape, np.int8).strides]


def of_arrays(arrays):
    """Returns (pickle, storages) as torch writes them."""
    items, contents = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        kind = STORAGES[str(array.dtype)]
        items[name] = tensor(str(key), kind, array.size, array.shape, elements(array.shape))
        contents[str(key)] = array.tobytes()
    return finished(dictionary(items)), contents


def write_zip(path, pickled, contents, *, compression=zipfile.ZIP_STORED, extra=()):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for key, content in contents.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", "3\n")
        for name, content in extra:
            archive.writestr(name, content)
    return path


def write_legacy(path, pickled, contents, sizes):
    header = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)]
    header.append(pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2))
    body = b"".join(struct.pack("<q", sizes[key]) + content for key, content in contents.items())
    path.write_bytes(b"".join(header) + pickled + pickle.dumps(list(contents), 2) + body)
    return path


def random_variables(module, shape, seed=0):
    """Random numbers in the shapes of `init`, which itself would compile for a minute."""
    shapes = jax.eval_shape(module.init, jax.random.key(seed), np.zeros(shape, np.float32))
    rng = np.random.default_rng(seed)

    def drawn(path, leaf):
        name = path[-1].key
        if name in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        if name in ("bias", "mean"):
            return rng.normal(0.0, 0.3, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1])
        return rng.normal(0.0, fan_in**-0.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(drawn, shapes)
