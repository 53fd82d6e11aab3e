import json

import pytest

from xferbench.models.chgnet.checkpoint import save_network
from xferbench.models.chgnet.model import Settings, new_network

SHAPE = Settings(
    atom_fea_dim=4, bond_fea_dim=4, angle_fea_dim=4, num_radial=5, num_angular=5, n_conv=2, mlp_hidden_dims=(4,)
)


@pytest.fixture
def start(tmp_path):
    """A tiny network to start from."""
    path = tmp_path / "start.pth.tar"
    save_network(new_network(0, settings=SHAPE, references={"Li": -1.0}), path)
    return path


def test_train_prints_a_table_or_json_and_resumes(run, start):
    command = ["train", "--strategy", "zero-shot", "--model", f"chgnet:{start}", "--threads", "1"]
    text = run(*command)
    assert text.exit_code == 0, text.stderr
    assert "target test" in text.stdout
    assert "score it with: xferbench score runs/chgnet-start-zero-shot-model-aware-mini-seed0/model.py" in text.stderr
    again = run(*command, "--resume", "--json")
    found = json.loads(again.stdout)
    assert (found["run"], found["best_epoch"], found["test"]["n_frames"]) == (
        "runs/chgnet-start-zero-shot-model-aware-mini-seed0",
        0,
        59,
    )
    refused = run(*command)
    assert refused.exit_code == 2
    assert "continue it with --resume" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--strategy", "lorra"], 2, "unknown strategy 'lorra'; did you mean 'lora'"),
        (["train", "--references", "fitt"], 2, "unknown reference scheme 'fitt'; did you mean 'fit'"),
        (["train", "--preset", "paper-1", "--references", "paired"], 2, "scratch starts from none; take fit"),
        (["train", "minni"], 2, "did you mean 'mini'"),
        (["train", "--strategy", "lora", "--preset", "big"], 2, "unknown preset 'big'"),
        (["train", "--strategy", "lora", "--set", "lr"], 2, "setting 'lr' is not key=value"),
        (["train", "--strategy", "lora", "--set", "options.rang=3"], 2, "unknown key rang (did you mean rank?)"),
        (["train", "--strategy", "lora", "--set", "foo=1"], 2, "unknown key foo; docs/training.md has the settings"),
        (["train", "--strategy", "lora", "--lr", "-1"], 2, "lr = -1.0 must be positive"),
        (["train", "--model", "chgnet:no.pth.tar"], 3, "cannot read no.pth.tar"),
        (["train", "--strategy", "lora", "--device", "tpu"], 2, "device 'tpu' cannot be used"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(refused, arguments, code, message):
    refused([*arguments, "--out", "out"], code, message)


def test_an_interrupted_run_says_how_to_go_on(run, start):
    command = [
        "train",
        "--strategy",
        "head",
        "--model",
        f"chgnet:{start}",
        "--epochs",
        "2",
        "--batch-size",
        "50",
        "--threads",
        "1",
    ]
    stopped = run(*command, "--set", "epoch_limit=1")
    assert stopped.exit_code != 0
    assert "stopped after 1 epochs; continue with the same command and --resume" in stopped.stderr
    assert run(*command, "--resume").exit_code == 0


def test_the_errors_before_training_and_after_the_first_epoch_are_told(run, start):
    command = ["train", "--preset", "paper-4", "--model", f"chgnet:{start}", "--epochs", "2", "--threads", "1"]
    told = run(*command).stderr
    assert "before training: validation errors" in told
    assert "after the first epoch: validation errors" in told


def test_strategies_are_listed_with_one_line_each(run):
    lines = run("list", "strategies").stdout.splitlines()
    assert len(lines) >= 10
    assert any(line.startswith("lora ") and "Low-rank" in line for line in lines)
    assert "Low-rank" in run("info", "lora").stdout
