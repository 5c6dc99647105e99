"""The blocks of code of README.md and of the site, run as a reader would type them.

All blocks of a page run in their order, in one folder. ``python`` runs in one interpreter for the page, ``sh`` in a
shell, and a block with title="NAME" is written to a file of that name. ``text title="output"`` is what the block before
it prints, with … in the place of what differs. A comment on the line before a block changes that:

    <!-- not run: REASON -->                    such as: installs packages
    <!-- run by tests/e2e/test_x.py: NAME -->   a test of its own takes it with ``block_for``
    <!-- exit code 1 -->                        the shell ends with another code than 0
    <!-- needs restic -->                       the block, and what follows on the page, needs this program
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, NamedTuple

from tests.support.child_processes import PIPE, CompletedProcess, run, start
from tests.support.cli_process import environment, marketpipe

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "adr"),
)
_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<comment>[^\n]*?) -->\n)?^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S
)
_TITLE: Final = re.compile(r'title="([^"]+)"')
_NOT_SIMPLE: Final = re.compile(r"[|<>&;$*?(){}]|\\$")
_PIPED: Final = re.compile(r"((?:[^\"|>]|\"[^\"]*\")*)(?:([|>])(.*))?")
OUTPUT: Final = "output"
DONE, FAILED = "done", "failed"


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    title: str
    comment: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_run(self) -> bool:
        return not self.comment.startswith(("not run: ", "run by "))

    @property
    def program(self) -> str:
        """The program that it needs, if it needs one that may be absent."""
        return self.comment.removeprefix("needs ") if self.comment.startswith("needs ") else ""

    @property
    def exit_code(self) -> int:
        return int(self.comment.removeprefix("exit code ")) if self.comment.startswith("exit code ") else 0


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        title = _TITLE.search(found["options"])
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(page, line, found["language"], title[1] if title else "", found["comment"] or "", found["text"])


def block_for(test: str, name: str) -> str:
    """Return the text of the block that says ``run by TEST: NAME``, on whatever page it is."""
    (found,) = [each.text for page in PAGES for each in blocks(page) if each.comment == f"run by {test}: {name}"]
    return found


class Reader:
    """A person who types what a page says, in an empty folder."""

    def __init__(self, folder: Path, interpreter: Interpreter) -> None:
        self._folder, self._printed, self._environment = folder, "", _environment()
        self._interpreter = interpreter
        interpreter.begin(folder)

    def follow(self, block: Block) -> None:
        if block.title == OUTPUT:
            assert _as_pattern(block.text).fullmatch(self._printed.strip()), f"{block.place} is not {self._printed}"
        elif block.title:
            path = self._folder / block.title
            assert path.resolve().is_relative_to(self._folder.resolve()), block.place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            self._printed = self._interpreter.run(block)
        elif block.language == "sh":
            self._printed = "".join(self._shell(block))
        else:
            assert block.language == "text", f"{block.place}: say how it runs, or why not"

    def _shell(self, block: Block) -> Iterator[str]:
        code = 0
        for command in block.text.replace("\\\n", " ").splitlines():
            done = self._run(command)
            assert done.returncode in (0, block.exit_code), f"{block.place}: {command}: {done.stdout}{done.stderr}"
            code = max(code, done.returncode)
            yield done.stdout
        assert code == block.exit_code, f"{block.place} ends with {code}"

    def _run(self, command: str) -> CompletedProcess[str]:
        """Run a command of ours in a warm process, and what it is piped or redirected to in a shell: it is cheaper."""
        first, operator, rest = _PIPED.fullmatch(command).groups()  # type: ignore[union-attr]
        words = shlex.split(first, comments=True)
        if words[:1] != ["marketpipe"] or _NOT_SIMPLE.search(first.partition('"')[0]):
            done: CompletedProcess[str] = run(["bash", "-ec", command], cwd=self._folder, env=self._environment)
            return done
        done = marketpipe(*words[1:], cwd=self._folder, env=self._environment)
        if operator and done.returncode == 0:
            with TemporaryFile("w+") as printed:
                printed.write(done.stdout)
                printed.seek(0)
                shell = ["bash", "-ec", f"cat {operator} {rest}"]
                done = run(shell, cwd=self._folder, env=self._environment, stdin=printed)
        return done


def _environment() -> dict[str, str]:
    bin_folder = os.path.dirname(sys.executable)
    return environment({"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"})


class Interpreter:
    """A Python that keeps its variables from block to block of a page, as a notebook does. A context manager.

    The next page begins with no variables, but modules stay imported, which takes most of the time of a page.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-c", _LOOP]
        self._process = start(command, outlives_test=True, env=_environment(), stdin=PIPE)

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def begin(self, folder: Path) -> None:
        self._ask(f"names.clear(); names['__name__'] = '__main__'; os.chdir({str(folder)!r})", f"the folder {folder}")

    def run(self, block: Block) -> str:
        return self._ask(f"exec(compile({block.text!r}, 'page', 'exec', dont_inherit=True), names)", block.place)

    def _ask(self, statement: str, what: str) -> str:
        stream, lines = self._process.stdin, list[str]()
        assert stream is not None
        stream.write(f"{statement}\n")
        stream.flush()
        for line in self._process.stdout:  # type: ignore[union-attr]
            if line.endswith(f"{DONE}\n"):
                return "".join([*lines, line.removesuffix(f"{DONE}\n")])
            lines.append(line)
            if line.endswith(f"{FAILED}\n"):
                break
        raise AssertionError(f"{what}: {''.join(lines)}")


_LOOP: Final = f"""
import os, sys, traceback
names = {{}}
for line in sys.stdin:
    try:
        exec(line)
        print({DONE!r}, flush=True)
    except Exception:
        traceback.print_exc(file=sys.stdout)
        print({FAILED!r}, flush=True)
"""


def _as_pattern(text: str) -> re.Pattern[str]:
    lines = (re.escape(line.rstrip()).replace("…", ".*") for line in text.strip().splitlines())
    return re.compile(r"[ ]*\n".join(lines), re.S)
