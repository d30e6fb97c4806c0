r"""Compares CNN-F and AlexNet with PyTorch's own layers, on weights that PyTorch drew and saved.

    pip install 'jxhash[bench,pretrained]'
    python experiments/compare_torch.py --out experiments/results/compare_torch.json

The weights are random. AlexNet goes through the files that torch writes: the zip archive, the older
layout and safetensors; CNN-F through a MATLAB file as MatConvNet lays it out. The picture is the
portrait that comes with matplotlib. Printed is the largest difference of a feature over the largest
feature.
"""

import argparse
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import scipy.io
import torch
from benchmarks import turns
from safetensors.torch import save_file
from torch import nn

from jxhash.networks import alexnet, cnn_f
from jxhash.networks.picture_encoder import Encoder, encode

PHOTOGRAPH = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
AVERAGE = (122.8, 114.9, 101.6)


class TorchAlexNet(nn.Module):
    """The layers and names of torchvision's AlexNet."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1)]
        layers = []
        for number, size in enumerate([*sizes, (256, 256, 3, 1, 1)]):
            layers += [nn.Conv2d(*size), nn.ReLU()]
            layers += [nn.MaxPool2d(3, 2)] if number in (0, 1, 4) else []
        self.features = nn.Sequential(*layers)
        hidden = [nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU()]
        hidden += [nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU()]
        self.classifier = nn.Sequential(*hidden, nn.Linear(4096, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The features after the ReLU of the seventh layer."""
        return self.classifier[:6](torch.flatten(self.features(x), 1))


def torch_cnn_f() -> nn.Sequential:
    """CNN-F; torch divides alpha by the size of the window, MatConvNet does not."""
    layers = []
    for number, size in enumerate(
        [(3, 64, 11, 4, 0), (64, 256, 5, 1, 2), *3 * [(256, 256, 3, 1, 1)]]
    ):
        layers += [nn.Conv2d(*size), nn.ReLU()]
        layers += [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if number < 2 else []
        layers += [nn.MaxPool2d(3, 2, ceil_mode=True)] if number in (0, 1, 4) else []
    hidden = [nn.Conv2d(256, 4096, 6), nn.ReLU(), nn.Conv2d(4096, 4096, 1), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, *hidden)


def write_mat(path: Path, network: nn.Sequential) -> None:
    """Writes a network as MatConvNet lays it out."""
    layers = []
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            weights = np.empty((1, 2), object)
            weights[0, 0] = layer.weight.detach().numpy().transpose(2, 3, 1, 0)
            weights[0, 1] = layer.bias.detach().numpy()[None]
            layers.append({"type": "conv", "weights": weights, "stride": layer.stride[0]})
        elif not isinstance(layer, nn.Flatten):
            kinds = {"ReLU": "relu", "LocalResponseNorm": "normalize", "MaxPool2d": "pool"}
            layers.append({"type": kinds[type(layer).__name__]})
    cells = np.empty((1, len(layers)), object)
    cells[0] = layers
    average = np.array(AVERAGE).reshape(1, 1, 3)
    scipy.io.savemat(path, {"layers": cells, "normalization": {"averageImage": average}})


def difference(encoder: Encoder, network: nn.Module, normalise: object) -> float:
    """The largest difference of a feature, over the largest feature."""
    pixels = encoder.fit(PHOTOGRAPH)[None]
    inputs = torch.from_numpy(normalise(pixels.astype(np.float32)).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        expected = network.eval()(inputs).numpy()
    return float(np.abs(encode(encoder, pixels, 1) - expected).max() / expected.max())


def compare(folder: Path) -> dict[str, float]:
    """File -> difference."""
    torch.manual_seed(0)
    network = TorchAlexNet()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    tensors = network.state_dict()
    torch.save(tensors, folder / "zip.pth")
    torch.save(tensors, folder / "older.pth", _use_new_zipfile_serialization=False)
    save_file(tensors, folder / "alexnet.safetensors")
    found = {}
    for name in ("zip.pth", "older.pth", "alexnet.safetensors"):
        found[f"AlexNet, {name}"] = difference(
            alexnet.encoder(folder / name),
            network,
            lambda pixels: (pixels / 255 - mean.numpy()) / deviation.numpy(),
        )
    network = torch_cnn_f()
    write_mat(folder / "imagenet-vgg-f.mat", network)
    found["CNN-F, imagenet-vgg-f.mat"] = difference(
        cnn_f.encoder(folder / "imagenet-vgg-f.mat"),
        network,
        lambda pixels: pixels - np.array(AVERAGE, np.float32),
    )
    return found


def main() -> None:
    """Compares, prints, and writes the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="the JSON file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder))
    record = {"largest difference over largest feature": found}
    turns.keep(record, ("jax", "flax", "torch"), arguments.out)


if __name__ == "__main__":
    main()
