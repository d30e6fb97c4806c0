"""The losses as the papers write them: plain loops over float64 numbers."""

import math

import numpy as np


def _dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _norm(a):
    return math.sqrt(_dot(a, a))


def _cosine(a, b):
    length = _norm(a) * _norm(b)
    return _dot(a, b) / length if length > 0 else 0.0


def _softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _pairs(u, v, term):
    return np.array([[term(i, j) for j in range(len(v))] for i in range(len(u))])


def pairwise_log_likelihood(u, v, similarity, scale=0.5, clip=None):
    def term(i, j):
        theta = scale * _dot(u[i], v[j])
        if clip is not None:
            theta = min(max(theta, -clip), clip)
        return _softplus(theta) - similarity[i, j] * theta

    return _pairs(u, v, term)


def pairwise_log_likelihood_from_labels(u, v, labels_u, labels_v, scale=0.5, clip=None):
    shared = np.array([[float(_dot(a, b) > 0) for b in labels_v] for a in labels_u])
    return pairwise_log_likelihood(u, v, shared, scale, clip).mean(axis=1)


def bit_cross_entropy(logits, bits):
    return np.array(
        [
            [_softplus(z) - t * z for z, t in zip(row, targets, strict=True)]
            for row, targets in zip(logits, bits, strict=True)
        ]
    )


def cosine_margin(u, v, similarity, margin, power):
    return _pairs(
        u, v, lambda i, j: max(0.0, margin - similarity[i, j] * _cosine(u[i], v[j])) ** power
    )


def cosine_quantization(u, margin):
    return np.array([max(0.0, margin - _cosine(np.abs(row), np.ones(len(row)))) for row in u])


def hamming_focal(u, v, similarity, beta, focusing):
    def term(i, j):
        distance = max(len(u[i]) / 2 * (1 - _cosine(u[i], v[j])), 1e-6)
        p = math.exp(-beta * distance)
        missed = (1 - p) ** focusing * beta * distance
        mistaken = -(p**focusing) * math.log(-math.expm1(-beta * distance))
        return similarity[i, j] * missed + (1 - similarity[i, j]) * mistaken

    return _pairs(u, v, term)


def quantization(u, codes):
    return np.array([squared_distance(x, b) for x, b in zip(u, codes, strict=True)])


def log_magnitude(u):
    return np.array([-sum(math.log(max(abs(x), 1e-6)) for x in row) for row in u])


def bit_margin(u, margin):
    return np.array([sum(max(0.0, margin - abs(x)) for x in row) for row in u])


def bit_balance(u):
    return np.array(sum(math.fsum(column) ** 2 for column in u.T))


def decorrelation(u):
    centred = u - u.mean(axis=0)
    total = 0.0
    for a in range(u.shape[1]):
        for b in range(u.shape[1]):
            if a != b:
                total += (_dot(centred[:, a], centred[:, b]) / len(u)) ** 2
    return np.array(total / 2)


def squared_distance(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def mmd(x, y, gammas):
    def mean_kernel(a, b):
        kernels = [
            np.mean([math.exp(-g * squared_distance(p, q)) for g in gammas]) for p in a for q in b
        ]
        return np.mean(kernels)

    return np.array(mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y))


def median_gamma(x, y):
    rows = [*x, *y]
    distances = [squared_distance(rows[i], rows[j]) for i in range(len(rows)) for j in range(i)]
    return 1 / np.median(distances)


def trace(codes_u, codes_v, similarity):
    return np.array(
        -sum(
            similarity[i, j] * _dot(codes_u[i], codes_v[j])
            for i in range(len(codes_u))
            for j in range(len(codes_v))
        )
    )


def slope(function, arrays, position, step=1e-5):
    """The derivative of the sum of a loss by central differences in float64."""
    gradient = np.zeros_like(arrays[position])
    for index in np.ndindex(gradient.shape):
        ends = []
        for sign in (1, -1):
            moved = [np.array(a, np.float64) for a in arrays]
            moved[position][index] += sign * step
            ends.append(np.sum(function(*moved)))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient
