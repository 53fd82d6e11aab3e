"""The flags of every pair of a data set, told again from its rows; a manifest states their counts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from xferbench.dataset.layout import CONFIGS
from xferbench.hygiene import DUPLICATE_GEOMETRY, flag_masks, geometry_keys, repeated
from xferbench.records import SPLITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xferbench.dataset.opened import Dataset

STRUCTURE = ("frame_id", "numbers", "positions", "cell", "pbc")
"""Columns that duplicates are found by."""


@lru_cache(maxsize=1)  # a score asks twice, and the answer takes a pass over all structures
def pair_flags(dataset: Dataset, split: str | None = None) -> dict[str, frozenset[str]]:
    """Pair id -> its flags, in the order of the rows. A duplicate may be a duplicate of a pair in another split.

    Args:
        dataset: With pairs.
        split: One split; all of them, train first, if not given.

    Raises:
        UnknownNameError: No such split.
        DataError: There are no pairs.
    """
    found: dict[str, frozenset[str]] = {}
    duplicates = _duplicates(dataset)
    for name in SPLITS if split is None else (split,):
        start = 0
        for tables in zip(*(dataset.tables(config, name) for config in CONFIGS), strict=True):
            stop = start + tables[-1].num_rows
            masks = {**flag_masks(*tables), DUPLICATE_GEOMETRY: duplicates[name][start:stop]}
            start = stop
            for row, pair_id in enumerate(tables[-1]["pair_id"].to_pylist()):
                found[pair_id] = frozenset(flag for flag, mask in masks.items() if mask[row])
    return found


def _duplicates(dataset: Dataset) -> Mapping[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Split -> (pairs,) which have a structure that some pair of any split has as well."""
    keys = {split: [geometry_keys(table) for table in dataset.tables("target", split, STRUCTURE)] for split in SPLITS}
    counts = [sum(map(len, keys[split])) for split in SPLITS]
    same = repeated(np.concatenate([item for split in SPLITS for item in keys[split]]))
    return dict(zip(SPLITS, np.split(same, np.cumsum(counts)[:-1]), strict=True))
