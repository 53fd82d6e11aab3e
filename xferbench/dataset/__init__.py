"""A paired data set as a directory: build it, verify it, open it.

```
README.md                                       card; `datasets.load_dataset(directory, "r2scan")` works as is
manifest.json                                   hashes, counts, splits, fingerprint: what every file must be
drops.jsonl                                     what was left out, one line each, with the reason
data/gga/{train,val,test}-00000-of-00001.parquet
data/r2scan/{train,val,test}-00000-of-00001.parquet
```

A large split has several shards, ``train-00000-of-00003.parquet`` and so on. Row i of a split is the same pair in both
configurations, sorted by ``pair_id``. The directory is built under a temporary
name and moved into place, so it is whole or absent; the same frames and library versions give the same bytes.
"""

from __future__ import annotations

from xferbench.dataset.building import build, prepare
from xferbench.dataset.cache import cache_directory, is_offline, locate
from xferbench.dataset.flagging import pair_flags
from xferbench.dataset.integrity import check, verify
from xferbench.dataset.opened import Dataset, summary

__all__ = [
    "Dataset",
    "build",
    "cache_directory",
    "check",
    "is_offline",
    "locate",
    "pair_flags",
    "prepare",
    "summary",
    "verify",
]
