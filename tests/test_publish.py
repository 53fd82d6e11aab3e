"""Publishing: only what was verified leaves, and only with the network's consent. The Hub here is a fake."""

from __future__ import annotations

import shutil
from typing import ClassVar

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

import xferbench as xb
from xferbench.errors import IntegrityError, StorageError, UsageError
from xferbench.publish import publish_dataset

SECRET = "hf_" + "x" * 34


class FakeApi:
    """Remembers the calls; raises what it is told to."""

    calls: ClassVar[list] = []
    error: Exception | None = None

    def create_repo(self, repo_id, **options):
        self.calls.append(("create_repo", repo_id, options))
        if self.error is not None:
            raise self.error

    def upload_folder(self, **options):
        self.calls.append(("upload_folder", options.pop("repo_id"), options))

    def create_commit(self, repo_id, operations, *, repo_type, commit_message):
        assert (repo_type, commit_message) == ("space", "The board")
        self.calls.append(("create_commit", repo_id, {item.path_in_repo: item.path_or_fileobj for item in operations}))


@pytest.fixture
def hub(monkeypatch):
    """The fake in the place of the Hub, with a token in the environment."""
    for name in ("HF_HUB_OFFLINE", "XFERBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setattr(FakeApi, "calls", [])
    monkeypatch.setattr(FakeApi, "error", None)
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    return FakeApi


@pytest.fixture
def directory(synthetic_dataset, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(synthetic_dataset.directory, tmp_path / "data")
    return tmp_path / "data"


def test_a_dry_run_lists_files_and_bytes_and_calls_nobody(hub, directory):
    published = publish_dataset(directory, "me/springs", dry_run=True)
    assert not published.uploaded
    assert published.address == "https://huggingface.co/datasets/me/springs"
    assert {"README.md", "manifest.json", "drops.jsonl"} <= set(published.files)
    assert published.files == {
        path.relative_to(directory).as_posix(): path.stat().st_size
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    assert hub.calls == []


def test_an_upload_makes_the_repository_and_sends_the_files_of_the_manifest(hub, directory, synthetic_dataset):
    published = publish_dataset(directory, "me/springs", private=True)
    assert published.uploaded
    (made, name, options), (sent, target, upload) = hub.calls
    assert (made, name, sent, target) == ("create_repo", "me/springs", "upload_folder", "me/springs")
    assert options == {"repo_type": "dataset", "private": True, "exist_ok": True}
    assert upload["repo_type"] == "dataset"
    assert upload["folder_path"] == directory
    assert sorted(upload["allow_patterns"]) == sorted(published.files)
    assert synthetic_dataset.fingerprint in upload["commit_message"]


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_altered_directory_is_refused(hub, directory, dry_run):
    path = next(directory.glob("data/target/test-*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"test-00000"):
        publish_dataset(directory, "me/springs", dry_run=dry_run)
    assert hub.calls == []


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_foreign_file_is_refused(hub, directory, dry_run):
    (directory / "secrets.txt").write_text(SECRET)
    with pytest.raises(IntegrityError, match=r"secrets\.txt"):
        publish_dataset(directory, "me/springs", dry_run=dry_run)
    assert hub.calls == []


def test_what_is_no_data_set_is_refused(hub, tmp_path):
    with pytest.raises(StorageError):
        publish_dataset(tmp_path, "me/springs")
    assert hub.calls == []


@pytest.mark.parametrize(("repo", "message"), [("springs", "whose"), ("a/b/c", "owner/name"), ("me/a b", "owner/name")])
def test_a_name_that_is_no_repository_is_a_usage_error(hub, directory, repo, message):
    with pytest.raises(UsageError, match=message):
        publish_dataset(directory, repo)
    assert hub.calls == []


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "XFERBENCH_OFFLINE"])
def test_offline_forbids_an_upload_and_allows_a_dry_run(hub, directory, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(UsageError, match="--dry-run"):
        publish_dataset(directory, "me/springs")
    assert publish_dataset(directory, "me/springs", dry_run=True).files
    assert hub.calls == []


def refusal():
    """What the Hub answers to somebody without the right to write."""
    response = type("Response", (), {"headers": {}, "request": None, "status_code": 403})()
    return HfHubHTTPError("403 Forbidden: you don't have the rights\nRequest ID: 1", response=response)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalTokenNotFoundError("no token"), "set HF_TOKEN"),
        (refusal(), "403 Forbidden"),
        (ConnectionError("no route"), "no route"),
    ],
)
def test_a_refusal_is_one_clear_line_without_the_token(hub, directory, error, message, capsys):
    hub.error = error
    with pytest.raises(StorageError, match=message) as caught:
        publish_dataset(directory, "me/springs")
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value) + "".join(capsys.readouterr())


class TestBoard:
    @pytest.fixture
    def board(self, tmp_path, cache, monkeypatch):
        monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
        xb.score("floor:copy-source", out=tmp_path / "board")
        xb.build_leaderboard(tmp_path / "board")
        return tmp_path / "board"

    def test_a_board_goes_as_one_commit_with_all_that_it_is_made_from(self, hub, board):
        found = xb.publish_leaderboard(board, "me/board")
        (made, commit) = hub.calls
        assert made == (
            "create_repo",
            "me/board",
            {"repo_type": "space", "space_sdk": "static", "private": False, "exist_ok": True},
        )
        assert sorted(commit[2]) == sorted(found.files)
        assert {"index.html", "site.json", "results/mini-static@1/floor-copy-source.json"} <= set(found.files)
        assert commit[2]["README.md"].startswith(b"---\ntitle: xferbench\nsdk: static\n---\n")
        assert SECRET not in str(found)

    def test_a_trial_sends_nothing(self, hub, board):
        assert "would go to https://huggingface.co/spaces/me/board" in str(
            xb.publish_leaderboard(board, "me/board", dry_run=True)
        )
        assert hub.calls == []

    def test_stale_pages_do_not_leave(self, hub, board):
        (board / "index.html").write_text("other")
        with pytest.raises(IntegrityError, match="is not what the results give"):
            xb.publish_leaderboard(board, "me/board")
        assert hub.calls == []
