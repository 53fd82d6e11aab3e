from __future__ import annotations

import pytest

from xferbench.errors import UnknownNameError
from xferbench.models import CheckResult
from xferbench.workflow import check_model, checks_table


def test_a_good_model_passes_every_check_in_its_own_process(lennard_jones):
    results = check_model(str(lennard_jones), timeout=300)
    assert [result.name for result in results if result.passed is False] == []
    assert len(results) >= 10


def test_an_unknown_model_is_said_before_any_process_starts():
    with pytest.raises(UnknownNameError, match="did you mean 'chgnet:r2scan'"):
        check_model("chgnet:r2sca")


def test_the_table_has_a_line_for_each_check_and_the_cause_below_a_failure():
    text = checks_table(
        [
            CheckResult(name="energy", passed=True, detail="fine"),
            CheckResult(name="stress units", passed=False, detail="off by 1602", cause="looks like kBar"),
            CheckResult(name="forces", passed=None, detail="the model has none"),
        ]
    )
    first, second, cause, third = text.splitlines()
    assert first.split() == ["ok", "energy", "fine"]
    assert second.startswith("FAILED  stress units  off by 1602")
    assert cause.strip() == "suspected cause: looks like kBar"
    assert third.startswith("n/a")
