"""Retrieval measures, exact under ties, of codes and labels from any framework."""

from jxhash.metrics import per_query
from jxhash.metrics.confidence import Comparison, Interval, bootstrap_interval, paired_comparison
from jxhash.metrics.histogram import (
    Histogram,
    Ranking,
    block_histogram,
    distance_histogram,
    join,
    random_ranking,
)
from jxhash.metrics.labels import label_relevance, shared_labels
from jxhash.metrics.per_query import average_precision, first_relevant_precision
from jxhash.metrics.query_means import (
    PrecisionRecall,
    hit_rate_at,
    lookup_precision,
    lookup_recall,
    lookup_success,
    mean_average_precision,
    mean_over_queries,
    mean_reciprocal_rank,
    median_rank,
    ndcg,
    precision_at,
    precision_recall_curve,
    recall_at,
)
from jxhash.metrics.ranking import measure_ranking, ranked_relevance

__all__ = [
    "Comparison",
    "Histogram",
    "Interval",
    "PrecisionRecall",
    "Ranking",
    "average_precision",
    "block_histogram",
    "bootstrap_interval",
    "distance_histogram",
    "first_relevant_precision",
    "hit_rate_at",
    "join",
    "label_relevance",
    "lookup_precision",
    "lookup_recall",
    "lookup_success",
    "mean_average_precision",
    "mean_over_queries",
    "mean_reciprocal_rank",
    "measure_ranking",
    "median_rank",
    "ndcg",
    "paired_comparison",
    "per_query",
    "precision_at",
    "precision_recall_curve",
    "random_ranking",
    "ranked_relevance",
    "recall_at",
    "shared_labels",
]
