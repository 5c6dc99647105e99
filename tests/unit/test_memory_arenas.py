from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

import pytest

from tests.support.child_processes import run
from tests.support.cli_process import environment

COUNT_ARENAS = """
import ctypes, json, sys, threading
from pathlib import Path

def arenas_of_threads():
    'Those that have allocated in this process, after four more threads at the same time.'
    libc, together = ctypes.CDLL(None), threading.Barrier(4)
    def allocate():
        together.wait()
        bytes(100_000)
        together.wait()
    threads = [threading.Thread(target=allocate) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    libc.fopen.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(libc.fopen(b"arenas.xml", b"w"))
    libc.malloc_info(0, stream), libc.fclose(stream)
    return Path("arenas.xml").read_text().count("<heap nr=")
"""
WITHOUT_MALLOPT = """
from marketpipe.memory_arenas import share_one_arena
asked = []
print(json.dumps([share_one_arena(lambda: asked.append("functions")), asked]))
"""
ALONE = """
from marketpipe.memory_arenas import share_one_arena
print(json.dumps([share_one_arena(), arenas_of_threads()]))
"""
A_LIBRARY = """
from marketpipe import Pipeline, StoreConfig
with Pipeline(StoreConfig()) as pipeline: pipeline.status()
print(json.dumps(arenas_of_threads()))
"""
A_COMMAND = """
from marketpipe.__main__ import main
sys.argv[1:] = ["status"]
try: main()
except SystemExit: print(json.dumps(arenas_of_threads()))
"""
A_WORKER = """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.sharedctypes import RawValue
from marketpipe import PipelineConfig
from marketpipe.worker_pool import IMPORTED_BEFORE_FORKING, start
config = PipelineConfig(provider="synthetic", symbols=["AAPL"], start="2024-03-04", end="2024-03-04")
context = get_context("forkserver")
context.set_forkserver_preload(IMPORTED_BEFORE_FORKING)
with ProcessPoolExecutor(1, context, start, (config, None, RawValue("b"))) as workers:
    workers.submit(exec, COUNT_ARENAS + "Path('arenas').write_text(str(arenas_of_threads()))", {}).result()
print(Path("arenas").read_text())
"""
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def printed(script: str, folder: Path, **variables: str) -> object:
    alone = {"OPENBLAS_NUM_THREADS": "1"}  # or numpy starts threads when it is imported
    code = f"COUNT_ARENAS = {COUNT_ARENAS!r}\nexec(COUNT_ARENAS)\n{script}"
    done = run([sys.executable, "-c", code], cwd=folder, env=environment(alone | variables), check=True)
    return json.loads(done.stdout.splitlines()[-1])


@needs_glibc
def test_threads_share_one_arena(tmp_path: Path) -> None:
    assert printed(ALONE, tmp_path) == [True, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems are recognized without their functions")
def test_a_c_library_without_the_setting_is_left_as_it_is(tmp_path: Path) -> None:
    assert printed(WITHOUT_MALLOPT, tmp_path) == [False, ["functions"]]


@needs_glibc
@pytest.mark.parametrize(
    "variables", [{"MALLOC_ARENA_MAX": "3"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=3"}], ids=["old", "new"]
)
def test_a_number_that_the_user_has_chosen_stays(tmp_path: Path, variables: dict[str, str]) -> None:
    assert printed(ALONE, tmp_path, **variables) == [False, 3]


@needs_glibc
@pytest.mark.parametrize("script", [A_COMMAND, A_WORKER], ids=["command", "worker"])
def test_commands_and_worker_processes_have_one_arena(tmp_path: Path, script: str) -> None:
    assert printed(script, tmp_path) == 1


@needs_glibc
def test_a_program_that_imports_the_library_keeps_its_arenas(tmp_path: Path) -> None:
    arenas = printed(A_LIBRARY, tmp_path)

    assert isinstance(arenas, int)
    assert arenas > 1
