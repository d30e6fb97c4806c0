r"""Times the evaluator beside its rivals, all in one run, and writes the figures as JSON.

    OPENBLAS_NUM_THREADS=1 python experiments/benchmarks/evaluation.py \
        --out experiments/results/bench_evaluation.json

(`--only 'by queries' 'in database order'` runs some sections of it; where the default device is a
GPU, a further one times the histogram there, with `--bandwidth` beside its memory;
one thread for numpy's products, since the loop's are so small that threads only hinder it).

Rivals: the loop over queries that the field's published code shares (rewritten from its
description), torchmetrics' RetrievalMAP and FAISS' exact binary index (the extras `bench` and
`search`; what is not installed is left out). Contenders take turns in each round, and a figure is
the median over rounds; CPU seconds add up all threads, and are what to look at where other work
shares the machine. The slow ones are timed on a part of the queries and scaled up, which the
record says. The labels of MIRFLICKR are read where JXHASH_DATA_DIR points to them, else drawn.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import turns
from drawn_codes import MILLION, Data, drawn, first_queries, make_data, mirflickr

from jxhash import codes, metrics

PACKAGES = ("numpy", "jax", "numba", "torch", "torchmetrics", "faiss-cpu")
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
TOP_N = (1, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


def evaluate(data: Data) -> dict:
    """Everything a report holds that binary relevance gives, from codes and labels as they come."""
    found = metrics.distance_histogram(*data)
    ks = [k for k in TOP_N if k <= len(data.database_codes)]
    return {
        "MAP": metrics.mean_average_precision(found),
        "precision-recall": metrics.precision_recall_curve(found),
        "top-N precision": metrics.precision_at(found, ks),
        "top-N recall": metrics.recall_at(found, ks),
        "lookup precision": metrics.lookup_precision(found),
    }


def evaluate_graded(data: Data) -> float:
    """NDCG, by the number of shared labels."""
    return metrics.ndcg(metrics.distance_histogram(*data, graded=True))


def evaluate_with_jax(data: Data) -> float:
    """MAP through the JAX form, whatever the machine."""
    return metrics.mean_average_precision(_jitted_histogram(*data))


_jitted_histogram = jax.jit(metrics.distance_histogram)


def loop_over_queries(data: Data) -> float:
    """MAP as published code computes it, one query after the other."""
    query_codes, database_codes = (np.asarray(side, np.float32) for side in data[:2])
    query_labels, database_labels = (np.asarray(side, np.float32) for side in data[2:])
    num_bits = query_codes.shape[1]
    total = 0.0
    for code, label in zip(query_codes, query_labels, strict=True):
        relevant = (database_labels @ label > 0).astype(np.float32)
        number = int(relevant.sum())
        if number == 0:
            continue
        distances = 0.5 * (num_bits - database_codes @ code)
        ranked = relevant[np.argsort(distances, kind="stable")]
        positions = np.flatnonzero(ranked) + 1.0
        total += np.mean(np.arange(1, number + 1) / positions)
    return total / len(query_codes)


def torchmetrics_map(data: Data) -> float:
    """MAP by torchmetrics, which wants a score and a target for every pair."""
    import torch
    from torchmetrics.retrieval import RetrievalMAP

    metric = RetrievalMAP()
    scores = -torch.from_numpy(codes.hamming_distance(data.query_codes, data.database_codes))
    target = torch.from_numpy(metrics.shared_labels(data.query_labels, data.database_labels) > 0)
    rows = torch.arange(len(scores))[:, None].expand(scores.shape)
    metric.update(scores.float().ravel(), target.ravel(), rows.ravel())
    return float(metric.compute())


def faiss_search(data: Data) -> np.ndarray:
    """The distances of FAISS' 100 nearest, index building included."""
    import faiss

    index = faiss.IndexBinaryFlat(data.database_codes.shape[1])
    index.add(codes.pack(data.database_codes))
    return index.search(codes.pack(data.query_codes), 100)[0]


class Contender(NamedTuple):
    """A function to time, on so many of the queries (all without a number)."""

    run: Callable[[Data], object]
    queries: int | None = None


def contenders(loop_queries: int) -> dict[str, Contender]:
    """Ours, and the rivals that are installed."""
    found = {
        "jxhash": Contender(evaluate),
        "jxhash, graded (NDCG)": Contender(evaluate_graded),
        "jxhash, JAX form (MAP)": Contender(evaluate_with_jax),
        "loop over queries (MAP)": Contender(loop_over_queries, loop_queries),
    }
    if turns.installed("torchmetrics"):
        found["torchmetrics RetrievalMAP"] = Contender(torchmetrics_map, loop_queries // 4)
    if turns.installed("faiss-cpu"):
        found["FAISS IndexBinaryFlat, top 100"] = Contender(faiss_search)
    return found


def compare(data: Data, rounds: int, loop_queries: int) -> dict:
    """Seconds of each contender, for all queries."""
    parts = {}
    for name, contender in contenders(loop_queries).items():
        part = first_queries(data, contender.queries) if contender.queries else data
        contender.run(part)
        parts[name] = contender.run, part
    timed = {name: timing(*contender) for name, contender in parts.items()}
    seconds = {
        name: len(data.query_codes) / len(parts[name][1].query_codes) * np.array(times)
        for name, times in turns.rounds(timed, rounds).items()
    }
    wall, cpu = (
        {name: float(np.median(times, axis=0)[clock]) for name, times in seconds.items()}
        for clock in (0, 1)
    )
    loop = "loop over queries (MAP)"
    return {
        "queries": len(data.query_codes),
        "database": len(data.database_codes),
        "classes": data.query_labels.shape[1],
        "bits": data.query_codes.shape[1],
        "seconds": wall,
        "CPU seconds": cpu,
        "least seconds": {name: float(np.min(times, axis=0)[0]) for name, times in seconds.items()},
        "timed on queries": {name: len(part.query_codes) for name, (_, part) in parts.items()},
        "times faster than the loop": wall[loop] / wall["jxhash"],
        "times less CPU than the loop": cpu[loop] / cpu["jxhash"],
        "peak MB above the inputs": peak_memory(data),
        "MAP": evaluate(data)["MAP"],
    }


def timing(run: Callable[[Data], object], data: Data) -> Callable[[], tuple[float, float]]:
    """What times a call, in seconds and CPU seconds."""
    return lambda: turns.timed(lambda: run(data))


def median_times(run: Callable[[Data], object], data: Data, rounds: int) -> list[float]:
    """The medians of the seconds and of the CPU seconds of a call."""
    times = turns.rounds({"alone": timing(run, data)}, rounds)["alone"]
    return np.median(times, axis=0).tolist()


def peak_memory(data: Data) -> float:
    """The megabytes that a process's first evaluation adds to its inputs at its peak.

    It runs in a process of its own, whose memory no earlier call has grown, and so counts what is
    loaded for the first call as well.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory_here, (data,))


def _peak_memory_here(data: Data) -> float:
    turns.forget_peak()
    before = turns.memory("VmRSS")
    evaluate(data)
    return (turns.memory("VmHWM") - before) / 2**20


def median_seconds(data: Data, rounds: int) -> dict:
    """The median times of an evaluation that has been made once before."""
    evaluate(data)
    return dict(zip(("seconds", "CPU seconds"), median_times(evaluate, data, rounds), strict=True))


def check(data: Data) -> dict:
    """Whether the timed contenders mean the same thing, on some of the queries."""
    part = first_queries(data, 50)
    distances = codes.hamming_distance(part.query_codes, part.database_codes)
    relevance = metrics.shared_labels(part.query_labels, part.database_labels)
    in_order = metrics.ranked_relevance(distances, relevance, ties="database_order")
    loop = loop_over_queries(part)
    record = {
        "MAP of the loop": loop,
        "MAP in database order": metrics.mean_average_precision(in_order),
        "MAP expected over ties": evaluate(part)["MAP"],
    }
    assert abs(record["MAP in database order"] - loop) < 1e-6, record
    if turns.installed("faiss-cpu"):
        np.testing.assert_array_equal(np.sort(distances, axis=1)[:, :100], faiss_search(part))
        record["FAISS distances"] = "equal"
    return record


def mirflickr_size(rounds: int) -> dict:
    """The evaluator beside its rivals, with the labels of MIRFLICKR where they are at hand."""
    data, source = mirflickr()
    start = time.perf_counter()
    evaluate(data)
    first = time.perf_counter() - start
    compared = compare(data, rounds, loop_queries=200)
    return {"labels": source, **compared, "first call in the process, seconds": first}


def drawn_size(name: str, rounds: int) -> dict:
    """The evaluator beside its rivals, with drawn labels."""
    data = drawn(name)
    labels = np.concatenate([data.query_labels, data.database_labels]).sum(axis=1).mean()
    compared = compare(data, max(3, rounds // 2), loop_queries=40)
    return {"labels": f"drawn, {labels:.2f} a row", **compared}


def million(rounds: int) -> dict:
    """A million codes, alone."""
    return {
        **median_seconds(drawn(MILLION), rounds),
        "peak MB above the inputs": peak_memory(drawn(MILLION)),
    }


def by_rows(rounds: int) -> dict:
    """Times over the size of the database."""
    data = drawn(MILLION)
    return {
        rows: median_seconds(
            data._replace(
                database_codes=data.database_codes[:rows],
                database_labels=data.database_labels[:rows],
            ),
            rounds,
        )
        for rows in (62_500, 125_000, 250_000, 500_000, 1_000_000)
    }


def by_queries(rounds: int) -> dict:
    """Times over the number of queries."""
    data = drawn("NUS-WIDE size")
    return {
        rows: median_seconds(first_queries(data, rows), rounds) for rows in (250, 500, 1000, 2000)
    }


def by_bits(rounds: int) -> dict:
    """Times over the code length."""
    labels = mirflickr()[0][2:]
    return {
        num_bits: median_seconds(make_data(*labels, num_bits), 5 * rounds)
        for num_bits in (16, 32, 64, 128)
    }


def database_order(rounds: int) -> dict:
    """MAP in the order of the database, as the loop computes it, and the loop."""
    data = first_queries(drawn("NUS-WIDE size"), 40)
    entries = codes.pack(data.database_codes)

    def ours(data: Data) -> float:
        query = codes.pack(data.query_codes)
        values = metrics.measure_ranking(
            {"AP": metrics.average_precision},
            lambda rows: codes.hamming_distance(query[rows], entries),
            metrics.label_relevance(data.query_labels, data.database_labels),
            len(query),
            len(entries),
            ties="database_order",
        )
        return values["AP"].mean()

    assert abs(ours(data) - loop_over_queries(data)) < 1e-6
    contenders = {"ours": timing(ours, data), "loop": timing(loop_over_queries, data)}
    seconds, of_loop = (
        float(np.median(times, axis=0)[0]) / len(data.query_codes)
        for times in turns.rounds(contenders, rounds).values()
    )
    return {
        "seconds a query": seconds,
        "seconds a query of the loop": of_loop,
        "times faster than the loop": of_loop / seconds,
    }


def accelerator(rounds: int, bandwidth: float | None) -> dict:
    """The histogram at NUS-WIDE size from arrays that lie on the accelerator.

    What has to move is the packed inputs once, and the counts. The comparison of keys also reads
    each pair's key, int32, once for every distance and relevance; the caches hold a block of them.

    Args:
      rounds: how often it is timed.
      bandwidth: of the accelerator's memory, GB a second; the shares of it are left out without.
    """
    data = drawn("NUS-WIDE size")
    on_device = Data(*map(jax.device_put, data))
    metrics.distance_histogram(*on_device)
    seconds, _ = median_times(lambda d: metrics.distance_histogram(*d), on_device, rounds)
    groups = data.query_codes.shape[1] + 1
    pairs = len(data.query_codes) * len(data.database_codes)
    moved = {
        "inputs as they come and counts": sum(array.nbytes for array in data)
        + 4 * 2 * groups * len(data.query_codes),
        "keys of all pairs, for every distance and relevance": 4 * pairs * (2 * groups + 1),
    }
    record = {"device": jax.devices()[0].device_kind, "seconds": seconds, "bytes": moved}
    if bandwidth:
        record["GB a second of memory bandwidth"] = bandwidth
        record["share of the bandwidth"] = {
            name: count / seconds / (1e9 * bandwidth) for name, count in moved.items()
        }
    return record


def sections(rounds: int, bandwidth: float | None) -> dict[str, Callable[[], dict]]:
    """What is measured, by its name in the record."""
    found = {
        "check": lambda: check(mirflickr()[0]),
        "MIRFLICKR size": lambda: mirflickr_size(rounds),
        "NUS-WIDE size": lambda: drawn_size("NUS-WIDE size", rounds),
        "COCO size": lambda: drawn_size("COCO size", rounds),
        MILLION: lambda: million(rounds),
        "by database rows (1,000 queries, 64 bits)": lambda: by_rows(rounds),
        "by queries (NUS-WIDE size)": lambda: by_queries(rounds),
        "by bits (MIRFLICKR size)": lambda: by_bits(rounds),
        "in database order (NUS-WIDE size)": lambda: database_order(rounds),
    }
    if jax.default_backend() == "gpu":
        found["on the accelerator (NUS-WIDE size)"] = lambda: accelerator(rounds, bandwidth)
    return found


def main() -> None:
    """Runs the sections and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--rounds", type=int, default=7, help="how often each contender is timed")
    parser.add_argument("--only", nargs="*", help="names of sections, or beginnings of them")
    parser.add_argument("--bandwidth", type=float, help="of the accelerator's memory, GB a second")
    arguments = parser.parse_args()
    beginnings = tuple(arguments.only or [""])

    record = {
        "backend": jax.default_backend(),
        "threads": {name: os.environ.get(name) for name in THREADS},
    }
    for name, run in sections(arguments.rounds, arguments.bandwidth).items():
        if name.startswith(beginnings):
            record[name] = run()
            print(json.dumps({name: record[name]}, indent=1), flush=True)
    turns.keep(record, PACKAGES, arguments.out)


if __name__ == "__main__":
    main()
