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
    command = ["train", "zero-shot", "--start", start, "--threads", "1"]
    text = run(*command)
    assert text.exit_code == 0, text.stderr
    assert "r2SCAN test" in text.stdout
    assert "score it with: xferbench score runs/zero-shot-mini-seed0/model.py" in text.stderr
    again = run(*command, "--resume", "--json")
    found = json.loads(again.stdout)
    assert (found["run"], found["best_epoch"], found["test"]["n_frames"]) == ("runs/zero-shot-mini-seed0", 0, 59)
    refused = run(*command)
    assert refused.exit_code == 2
    assert "continue it with --resume" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "lorra"], 2, "unknown method 'lorra'; did you mean 'lora'"),
        (["train", "lora", "minni"], 2, "did you mean 'mini'"),
        (["train", "lora", "--preset", "big"], 2, "unknown preset 'big'"),
        (["train", "lora", "--set", "lr"], 2, "setting 'lr' is not key=value"),
        (["train", "lora", "--set", "options.rang=3"], 2, "unknown key rang (did you mean rank?)"),
        (["train", "lora", "--set", "foo=1"], 2, "unknown key foo; docs/training.md has the settings"),
        (["train", "lora", "--lr", "-1"], 2, "lr = -1.0 must be positive"),
        (["train", "lora", "--start", "no.pth.tar"], 3, "cannot read no.pth.tar"),
        (["train", "lora", "--device", "tpu"], 2, "device 'tpu' cannot be used"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(refused, arguments, code, message):
    refused([*arguments, "--out", "out"], code, message)


def test_an_interrupted_run_says_how_to_go_on(run, start):
    command = ["train", "head-only", "--start", start, "--epochs", "2", "--batch-size", "50", "--threads", "1"]
    stopped = run(*command, "--set", "epoch_limit=1")
    assert stopped.exit_code != 0
    assert "stopped after 1 epochs; continue with the same command and --resume" in stopped.stderr
    assert run(*command, "--resume").exit_code == 0


def test_methods_are_listed_with_one_line_each(run):
    lines = run("list", "methods").stdout.splitlines()
    assert len(lines) >= 16
    assert any(line.startswith("finetune-refit-refs ") and "method 4" in line for line in lines)
    assert "low-rank" in run("info", "lora").stdout
