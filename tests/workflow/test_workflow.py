from __future__ import annotations

import inspect

from xferbench import workflow


def test_every_public_job_is_documented_and_sorted():
    assert sorted(workflow.__all__) == workflow.__all__
    for name in workflow.__all__:
        assert inspect.getdoc(getattr(workflow, name)), name
