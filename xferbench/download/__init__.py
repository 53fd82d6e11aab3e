"""Files from the network: whole and verified, or not there.

A download goes to ``<name>.part`` and is moved to its name when it has the length the server announced and the hash that
is known of it. A run that is interrupted goes on from where it stopped, if the server can. Beside each file lies
``<name>.json`` with its address, size and SHA-256; where no hash was known before, that one is what later runs hold it to.

``XFERBENCH_MIRROR=https://mirror.example/pub`` fetches ``https://host/path`` from ``https://mirror.example/pub/host/path``
and from nowhere else.

| module | what it is |
|---|---|
| ``fetching`` | ``fetch``: one file, its parts, its receipt |
| ``figshare`` | ``fetch_article``: the files of an article, as figshare's API lists them |
| ``asking`` | an address and how patiently it is asked |
"""

from __future__ import annotations

from xferbench.download.asking import MIRROR, Policy, mirrored
from xferbench.download.fetching import RemoteFile, fetch, receipt
from xferbench.download.figshare import fetch_article, figshare_files

__all__ = ["MIRROR", "Policy", "RemoteFile", "fetch", "fetch_article", "figshare_files", "mirrored", "receipt"]
