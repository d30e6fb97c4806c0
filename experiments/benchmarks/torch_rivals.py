"""The rivals in PyTorch: a phase of DCMH's training, and the pairwise log-likelihood."""

import argparse
import os
from collections.abc import Callable
from typing import Any

import dcmh_work as work
import numpy as np
import torch
from torch.nn.functional import softplus
from turns import Gate


def run_torch(task: argparse.Namespace) -> None:
    """The same mathematics in PyTorch, written with care."""
    torch.set_num_threads(task.threads)
    arrays = {name: torch.from_numpy(array) for name, array in work.draw_data(task.rows).items()}
    gate = Gate()
    with np.load(work.start_file(task)) as start:
        step = torch_step(task.phase, arrays, start)
        first_plan = torch.from_numpy(start["plan"]).long()
    rng = np.random.default_rng(work.SEED)
    for round_number in range(task.rounds + 1):
        for epoch in range(task.epochs):
            if round_number == 0:
                order = first_plan[epoch].flatten()[: task.rows]
            else:
                order = torch.from_numpy(rng.permutation(task.rows))
            total = torch.zeros(())
            for index in order.split(work.BATCH):
                total += step(index)
        gate(float(total) / task.rows / task.rows)


def torch_step(phase: str, arrays: dict, start: Any) -> Callable:
    """One step of a phase in PyTorch: row numbers -> the batch's loss, undivided.

    What the step does to be quick: the similarity is made of the batch alone, rows are written into
    the buffer in place, gradients are dropped rather than set to zero, the optimiser goes through
    each weight once, and no number is asked for. Both networks are held, as a training holds them.
    """
    networks = {modality: torch_network(modality, start) for modality in work.PHASES}
    buffers = {modality: torch.tensor(start[f"buffer {modality}"]) for modality in work.PHASES}
    codes, labels = torch.tensor(start["codes"]), arrays["labels"].float()
    inputs, network = arrays[phase], networks[phase]
    own, other = buffers[phase], buffers[work.PHASES[phase]]
    optimizer = torch.optim.SGD(network.parameters(), work.LEARNING_RATE, fused=True)

    def step(index: torch.Tensor) -> torch.Tensor:
        similarity = (labels[index] @ labels.T > 0).float()
        outside = own.sum(dim=0) - own[index].sum(dim=0)
        f = network(inputs[index].float())
        theta = (0.5 * f) @ other.T
        likelihood = softplus(theta).sum() - torch.dot(similarity.flatten(), theta.flatten())
        quantization = (f - codes[index]).square().sum()
        balance = (outside + f.sum(dim=0)).square().sum()
        loss = likelihood + work.QUANTIZATION * quantization + work.BALANCE * balance
        (loss / (len(index) * len(own))).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        own[index] = f.detach()
        return loss.detach()

    return step


def torch_network(modality: str, start: Any) -> Any:
    """A hidden layer with ReLU and a hash layer, with given weights."""
    layers = []
    for number in range(2):
        kernel, bias = (start[f"{modality} Dense_{number} {name}"] for name in ("kernel", "bias"))
        layer = torch.nn.Linear(*kernel.shape)
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.T))
        layer.bias.data = torch.from_numpy(bias)
        layers.append(layer)
    return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1])


def pairwise_log_likelihood(outputs: Any, other: Any, similar: Any) -> Callable[[], object]:
    """The loss of DCMH and its gradient by the first outputs, ready to be called.

    Args:
      outputs: float [n, k].
      other: float [m, k].
      similar: float [n, m], 0 or 1.
    """
    torch.set_num_threads(os.cpu_count())
    first, second, similarity = (
        torch.from_numpy(np.array(array)) for array in (outputs, other, similar)
    )
    first.requires_grad_(True)

    def call() -> object:
        theta = 0.5 * first @ second.T
        loss = (softplus(theta) - similarity * theta).mean()
        return torch.autograd.grad(loss, first)

    return call
