"""The environment is what a process imported, not a list of names."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from xferbench.models.imported import imported_distributions


def test_a_package_that_no_list_has_is_recorded_once_it_is_imported(tmp_path):
    (tmp_path / "nobodys_net").mkdir()
    (tmp_path / "nobodys_net" / "__init__.py").write_text("")
    info = tmp_path / "nobodys_net-1.2.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nobodys-net\nVersion: 1.2.3\n")
    (info / "top_level.txt").write_text("nobodys_net\n")
    (info / "RECORD").write_text("nobodys_net/__init__.py,,\n")
    code = (
        "import json; from xferbench.models.imported import imported_distributions as d; before = d();"
        "import nobodys_net; print(json.dumps([before.get('nobodys-net'), d().get('nobodys-net')]))"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [None, "1.2.3"]


def test_names_are_sorted_and_versions_are_texts():
    found = imported_distributions()
    assert list(found) == sorted(found, key=str.lower)
    assert {"numpy", "pytest"} <= set(found)
    assert all(isinstance(version, str) and version for version in found.values())
