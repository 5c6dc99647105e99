"""The commit that a failing seed names is found wherever Git keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.versions import commit_of

COMMIT = "8c284ec3" * 5


@pytest.fixture
def git(tmp_path: Path) -> Path:
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    return tmp_path / ".git"


def test_a_branch_has_a_file_of_its_own(git: Path) -> None:
    (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    assert commit_of(git) == COMMIT[:12]


def test_a_branch_is_in_the_file_of_many(git: Path) -> None:
    (git / "packed-refs").write_text(
        f"# pack-refs with: peeled\n{'0' * 40} refs/heads/other\n{COMMIT} refs/heads/main\n"
    )
    assert commit_of(git) == COMMIT[:12]


def test_no_branch_is_checked_out(git: Path) -> None:
    (git / "HEAD").write_text(f"{COMMIT}\n")
    assert commit_of(git) == COMMIT[:12]


def test_a_linked_work_tree_has_the_branches_of_its_clone(git: Path, tmp_path: Path) -> None:
    (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    linked = git / "worktrees" / "linked"
    linked.mkdir(parents=True)
    (linked / "HEAD").write_text("ref: refs/heads/main\n")
    (linked / "commondir").write_text("../..\n")
    (tmp_path / "linked").write_text(f"gitdir: {linked}\n")
    assert commit_of(tmp_path / "linked") == COMMIT[:12]


def test_a_folder_without_git_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path / ".git") == "unknown"
