"""A paired data set as a directory: build it, verify it, open it.

```
README.md                                       card; `datasets.load_dataset(directory, "target")` works as is
manifest.json                                   hashes, counts, splits, fingerprint: what every file must be
drops.jsonl                                     what was left out, one line each, with the reason
data/source/{train,val,test}-00000-of-00001.parquet
data/target/{train,val,test}-00000-of-00001.parquet
```

A large split has several shards, ``train-00000-of-00003.parquet`` and so on. Row i of a split is the same pair in both
configurations, sorted by ``pair_id``. The directory is built under a temporary
name and moved into place, so it is whole or absent; the same frames and library versions give the same bytes.
"""

from __future__ import annotations

from xferbench.dataset.building import build
from xferbench.dataset.cache import is_offline, locate
from xferbench.dataset.flagging import pair_flags
from xferbench.dataset.integrity import verify
from xferbench.dataset.labels import Read, read_labels
from xferbench.dataset.names import Prepared, check, open_dataset, prepare, prepare_source, prepared
from xferbench.dataset.opened import Dataset, summary
from xferbench.storage import cache_directory

__all__ = [
    "Dataset",
    "Prepared",
    "Read",
    "build",
    "cache_directory",
    "check",
    "is_offline",
    "locate",
    "open_dataset",
    "pair_flags",
    "prepare",
    "prepare_source",
    "prepared",
    "read_labels",
    "summary",
    "verify",
]
