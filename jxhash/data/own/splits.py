"""Queries, database, training and validation rows: as a data set brings them, else drawn."""

from collections.abc import Mapping

import numpy as np

from jxhash.data.assemble import MOST_VALIDATION
from jxhash.errors import UserError

PARTS = ("train", "validation", "query", "database")

# The sizes of the protocols of the field, where there are as many rows; fewer of fewer. By pairs a
# query has one right answer, and the usual test searches among a thousand.
_MOST_QUERIES = 2000
_MOST_QUERIES_BY_PAIRS = 1000


def divide(
    rows: np.ndarray,
    own: Mapping[str, np.ndarray],
    sizes: Mapping[str, int],
    seed: int,
    by_pairs: bool = False,
) -> tuple[dict[str, np.ndarray], str]:
    """Divides rows into parts.

    Queries are drawn from all rows; the database is every row that is no query; of it a part is
    drawn for validation, and the rest are the training rows. What the data set brings is taken
    instead, and validation rows are then drawn from its training rows, if asked for.

    By pairs, where relevant is what belongs to the query's pair, the queries search among each
    other: the partner of each is there.

    Args:
      rows: the numbers of all rows, increasing.
      own: what the data set brings: part -> row numbers.
      sizes: part (but the database) -> how many rows to draw; by default a tenth of those to draw
        from, at most 2,000 queries (1,000 by pairs) and 500 for validation, and all that are left
        for training.
      seed: of all draws.
      by_pairs: whether there are no labels.

    Returns:
      Part -> row numbers, increasing ("validation" may be empty), and the rule in words.

    Raises:
      UserError: a size cannot be had, or queries are among the training or validation rows.
    """
    own = {part: np.unique(numbers) for part, numbers in own.items()}
    for part in sizes:
        if part in own:
            raise UserError(f"the data brings its own rows for {part!r}; ask for no size of it")
    generator = np.random.default_rng(seed)
    said: list[str] = []

    def taken(part: str, pool: np.ndarray, default: int) -> np.ndarray:
        if part in own:
            said.append(f"{part}: the data's own rows")
            return own[part]
        size = sizes.get(part, default)
        if size < (part != "validation") or size > len(pool):
            raise UserError(
                f"{size} rows for {part!r} cannot be drawn from {len(pool)}; give other sizes, or "
                "lists of rows"
            )
        said.append(f"{part}: {size} of {len(pool)} rows" if size else f"{part}: none")
        return np.sort(generator.choice(pool, size, replace=False))

    free = np.setdiff1d(rows, np.concatenate([*own.values(), rows[:0]]))
    most = _MOST_QUERIES_BY_PAIRS if by_pairs else _MOST_QUERIES
    query = taken("query", free, max(1, min(most, len(free) // 10)))
    if "database" in own:
        database = taken("database", rows, 0)
        if by_pairs and not np.isin(query, database).any():
            raise UserError(
                "no query has its partner in the database; leave out the rows of the database, "
                "and the queries search among each other"
            )
    elif by_pairs:
        database = query
        said.append("database: the other halves of the queries")
    else:
        database = np.setdiff1d(rows, query)
        said.append("database: every row that is no query")
    pool = own.get("train", np.setdiff1d(rows if by_pairs else database, query))
    default = 0 if "train" in own else min(MOST_VALIDATION, len(pool) // 10)
    validation = taken("validation", pool, default)
    pool = np.setdiff1d(pool, validation)
    if "train" in own:
        train = pool
        said.append("train: the data's own rows" + (", the rest" if validation.size else ""))
    else:
        train = taken("train", pool, len(pool))
    for part, numbers in (("training", train), ("validation", validation)):
        shared = np.intersect1d(query, numbers)
        if shared.size:
            raise UserError(f"row {shared[0]} is a query and a {part} row; take it out of one")
    parts = {"train": train, "validation": validation, "query": query, "database": database}
    return parts, "; ".join(said) + f" (seed {seed})"
