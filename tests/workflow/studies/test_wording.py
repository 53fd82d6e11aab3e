from __future__ import annotations

from xferbench.workflow.studies import wording


def test_the_start_of_a_fit_is_written_out():
    assert "from 1,000 training frames on" in wording.POWER_LAWS.format(start=1000)


def test_every_sentence_ends():
    texts = [value for name, value in vars(wording).items() if name.isupper()]
    assert texts
    assert all(text.endswith(".") and "  " not in text for text in texts)
