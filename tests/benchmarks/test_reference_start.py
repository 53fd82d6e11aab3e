import pytest


@pytest.fixture(scope="module")
def reference_start(script):
    return script("reference_start")


@pytest.fixture(scope="module")
def found(reference_start, cache):
    pytest.importorskip("chgnet")
    data = reference_start.open_dataset("mini", cache_dir=cache)
    return data, {source: reference_start.starts(data, source=source) for source in (False, True)}


def test_references_fitted_to_labels_leave_least_and_are_far_from_the_network(found, reference_start):
    starts, own = found[1][False]
    assert list(starts) == list(reference_start.KINDS)
    assert min(starts, key=lambda kind: starts[kind].left) == "fitted to the labels"
    refit = starts["fitted to the labels"]
    assert own - refit.left <= refit.train <= own + refit.left  # triangle inequality of the mean absolute values


def test_references_fitted_to_labels_minus_model_have_the_smallest_error(found):
    for starts, _ in found[1].values():
        best = starts["fitted to labels minus model"]
        assert best.train == min(start.train for start in starts.values())
        assert abs(best.mean) <= best.train


def test_the_network_does_not_depend_on_the_functional_of_the_labels(found):
    (_, of_target), (_, of_source) = found[1][False], found[1][True]
    assert of_target == pytest.approx(of_source, rel=1e-6)  # the pairs share their geometries


def test_a_zero_shot_model_starts_with_the_references_of_its_row(found, cache, tmp_path):
    from xferbench.dataset import open_dataset
    from xferbench.transfer import make_config, train

    config = make_config(strategy="zero-shot", references="fit", threads=1)
    starts, _ = found[1][False]
    run = train(open_dataset("mini", cache_dir=cache), tmp_path / "run", config)
    assert run.evaluation["test"]["energy"] == pytest.approx(starts["fitted to the labels"].test, abs=1e-4)


def test_the_table_has_both_functionals_in_mev(found, reference_start, monkeypatch):
    data, known = found
    monkeypatch.setattr(reference_start, "starts", lambda _, source: known[source])
    text = reference_start.table(data)
    start = known[False][0]["fitted to the labels"]
    assert f"| r²SCAN | fitted to the labels | {1000 * start.left:.0f} | −" in text
    assert text.count("| GGA |") == 3
    assert "100 training pairs of 37 materials with 26 elements." in text
