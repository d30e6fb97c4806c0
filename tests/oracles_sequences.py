"""Sequence networks as plain float64 loops over the parameters of the Flax modules."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(params, x):
    return np.float64(x) @ np.float64(params["kernel"]) + np.float64(params["bias"])


def perceptron(params, x):
    """A multilayer perceptron: Dense_0, Dense_1, ... with ReLU between them."""
    for number in range(len(params)):
        x = dense(params[f"Dense_{number}"], np.maximum(x, 0) if number else x)
    return x


def lstm(params, steps):
    """The outputs of an LSTM layer for one sequence [T, d] without padding."""

    def gate(name, step, output):
        return np.float64(step) @ np.float64(params[f"i{name}"]["kernel"]) + dense(
            params[f"h{name}"], output
        )

    width = len(params["hi"]["bias"])
    cell, output, outputs = np.zeros(width), np.zeros(width), []
    for step in steps:
        into, keep, new, out = (gate(name, step, output) for name in "ifgo")
        cell = sigmoid(keep) * cell + sigmoid(into) * np.tanh(new)
        output = sigmoid(out) * np.tanh(cell)
        outputs.append(output)
    return np.array(outputs).reshape(-1, width)


def embedded(params, tokens):
    return np.float64(params["Embed_0"]["embedding"])[tokens]


def word_lstm(params, tokens):
    return lstm(params["OptimizedLSTMCell_0"], embedded(params, tokens))


def fusion(params, image, tokens):
    """The outputs of the second layer at each word of one sentence."""
    words = word_lstm(params["WordLSTM_0"], tokens)
    return lstm(params["OptimizedLSTMCell_0"], perceptron(params["HashMLP_0"], image) + words)


def sentence_lstm(params, tokens):
    return dense(params["Dense_0"], word_lstm(params["WordLSTM_0"], tokens))


def region_lstm(params, regions):
    """The outputs for one picture: regions [r, width] without padding."""
    forward = lstm(params["OptimizedLSTMCell_0"], regions)
    backward = lstm(params["OptimizedLSTMCell_1"], regions[::-1])[::-1]
    mean = np.concatenate([forward, backward], axis=1).mean(axis=0)
    return perceptron(params["HashMLP_0"], np.maximum(mean, 0))


def sentence_convolutions(params, tokens, crops, kernels, length=12):
    """The outputs for one sentence without padding."""
    words = np.zeros((length, params["Embed_0"]["embedding"].shape[1]))
    words[: len(tokens)] = embedded(params, tokens)
    maxima, number = [], 0
    for first, steps in crops:
        crop = words[first : first + steps]
        for kernel in kernels:
            layer = params[f"Dense_{number}"]
            number += 1
            weights, bias = np.float64(layer["kernel"]), np.float64(layer["bias"])
            weights = weights.reshape(kernel, words.shape[1], len(bias))
            largest = np.zeros(len(bias))
            for centre in range(max(0, min(steps, len(tokens) - first))):
                total = bias.copy()
                for offset in range(kernel):
                    place = centre + offset - (kernel - 1) // 2
                    if 0 <= place < steps:
                        total += crop[place] @ weights[offset]
                largest = np.maximum(largest, total)
            maxima.append(largest)
    return perceptron(params["HashMLP_0"], np.concatenate(maxima))
