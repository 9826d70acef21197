"""Every hostile file ends with exactly the counts it must, and costs nobody else anything."""

import os
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from pretrain import shards, store
from pretrain.cli import command
from pretrain.collect.listing import shown
from tests.conftest import ROOT
from tests.hostile.corpus import KINDS, Case, write

MEMORY_BYTES = 1536 << 20
# Prints the most KiB that it or a child of it held. Its own ru_maxrss would be that of whoever
# started it, where that is more; VmHWM is its own.
COLLECT = """
import re, resource, sys
from pathlib import Path
from pretrain.cli import command
assert command(sys.argv[1:]) == 0
own = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(max(children, int(own[1]) if own else 0))
"""


def recipe(folder: Path, **own: Any) -> Path:
    text = "[collect]\n" + "".join(f"{key} = {value}\n" for key, value in own.items())
    for source, kind in KINDS.items():
        text += f'[collect.sources.{source}]\nkind = "{kind}"\npath = "{folder / source}"\n'
    path = folder / "hostile.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Case], int]:
    """(run folder, folder of the corpus, cases, most memory) of one collection of everything."""
    base = tmp_path_factory.mktemp("hostile")
    made = write(base / "in")
    path = recipe(base / "in", max_quarantined=1.0)
    words = ["collect", str(path), "--runs", str(base / "runs"), "--workers", "1", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, *words], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    return base / "runs" / "hostile", base / "in", made, int(done.stdout.split()[-1]) << 10


def counted(run_folder: Path) -> dict[str, dict[str, Counter[str]]]:
    """file -> kind -> reason -> records, from the tables that the stage wrote."""
    result: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for path in sorted((run_folder / "collect" / "files").glob("*.parquet")):
        for row in shards.read(path).to_pylist():
            result[row["path"]]["records_in"][""] += row["records_in"]
    for kind in ("documents", "rejects"):
        for path in sorted((run_folder / "collect" / kind).glob("*.parquet")):
            for row in shards.read(path).to_pylist():
                file = next(name for name in (row["path"], *_outer(row["path"])) if name in result)
                if kind == "documents":
                    result[file]["documents"][""] += 1
                else:
                    result[file][row["kind"]][row["reason"]] += row["records"]
    return result


def _outer(path: str) -> list[str]:
    parts = path.split("!")
    return ["!".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]


def test_there_are_at_least_eighty_cases_each_with_a_name_of_its_own(run: Any) -> None:
    _, _, made, _ = run
    assert len(made) >= 80
    assert len({(c.source, c.name) for c in made}) == len(made)


def test_every_file_ends_as_it_must(run: Any) -> None:
    run_folder, folder, made, _ = run
    found = counted(run_folder)
    wrong = []
    for case in made:
        name = case.name if isinstance(case.name, str) else os.fsdecode(case.name)
        path = shown(str(folder / case.source / name))
        if not case.listed:
            if path in found:
                wrong.append(f"{path}: is listed")
            continue
        mine = found.get(path)
        if mine is None:
            wrong.append(f"{case.source}/{shown(name)}: is not in the account")
            continue
        got = (mine["documents"][""], dict(mine["dropped"]), dict(mine["quarantined"]))
        must = (case.documents, case.dropped, case.quarantined)
        if got != must:
            wrong.append(f"{case.source}/{shown(name)[:60]}: must be {must}, is {got}")
        n_out = got[0] + sum(got[1].values()) + sum(got[2].values())
        if mine["records_in"][""] != n_out:
            wrong.append(f"{case.source}/{shown(name)}: {mine['records_in']['']} in, {n_out} out")
    assert not wrong, "\n".join(["", *wrong])


def test_the_audit_proves_the_accounts(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["audit", str(run[0])]) == 0
    assert "FAULT" not in capsys.readouterr().out


def test_memory_stays_bounded(run: Any) -> None:
    assert run[3] < MEMORY_BYTES


def test_by_default_so_much_bad_input_stops_with_what_to_do(run: Any, capsys: Any) -> None:
    run_folder, folder, *_ = run
    runs = folder.parent / "strict"
    shutil.copytree(run_folder, runs / "hostile")  # a limit alone reads nothing again
    path = recipe(folder)
    words = ["collect", str(path), "--runs", str(runs), "--workers", "1", "--quiet"]
    assert command(words) == 65
    error = capsys.readouterr().err
    assert "cannot be read" in error
    assert "set collect.max_quarantined and run again" in error
    assert store.read_json_or_none(runs / "hostile" / "collect" / "manifest.json") is None
