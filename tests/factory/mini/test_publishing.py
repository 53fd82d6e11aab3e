"""The switch to the second edition, on a copy of the package: data set, card and tasks agree afterwards, as a user's interpreter sees them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xferbench.errors import DataError, UsageError
from xferbench.factory.mini.publishing import publish
from xferbench.factory.mini.work import work

CHECKOUT = Path(__file__).parents[3]

SEEN = """
import json
from pathlib import Path
from xferbench.dataset import open_dataset
from xferbench.sources import mini
from xferbench.tasks import load_task
made = open_dataset("mini", cache_dir=Path("cache"))
tasks = [load_task(name) for name in ("mini-static", "mini-static-pbe")]
print(json.dumps({
    "at": mini.__file__, "version": mini.VERSION, "citation": "version 2" in mini.CITATION, "fingerprint": made.fingerprint,
    "test": len(made.pairs("test")), "pinned": [task.fingerprint for task in tasks], "keys": [task.key for task in tasks],
    "citations": ["version 2" in task.citation for task in tasks],
}))
"""


@pytest.fixture
def checkout(tmp_path) -> Path:
    root = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "xferbench", root / "xferbench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "tasks", root / "tasks")
    return root


def test_everything_agrees_afterwards_and_once_is_enough(checkout, out, make_engine):
    """KCl is a test composition with nine copies, LiCl a training one."""
    work(out, names=["KCl_rocksalt", "LiCl_rocksalt"], engine=make_engine())
    published = publish(checkout, [out], None)
    ran = subprocess.run([sys.executable, "-c", SEEN], cwd=checkout, capture_output=True, text=True, check=True)
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen.pop("at").startswith(str(checkout))
    assert seen == {
        "version": "2",
        "citation": True,
        "fingerprint": published.fingerprint,
        "test": 9,
        "pinned": [published.fingerprint] * 2,
        "keys": ["mini-static@2", "mini-static-pbe@2"],
        "citations": [True, True],
    }
    assert set(published.tasks) == {"mini-static@2", "mini-static-pbe@2"}
    assert "$" not in (checkout / "xferbench" / "sources" / "mini" / "card.md").read_text()
    with pytest.raises(UsageError, match="states version 2"):
        publish(checkout, [out], None)


def test_too_little_pins_nothing(checkout, out, make_engine):
    work(out, names=["KCl_rocksalt"], engine=make_engine())
    before = (checkout / "tasks" / "mini-static.toml").read_text()
    with pytest.raises(DataError, match="makes no data set"):
        publish(checkout, [out], None)
    assert (checkout / "tasks" / "mini-static.toml").read_text() == before
