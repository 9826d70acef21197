"""What the mirrors hold is what the records say, each step once; a mirror that fails is let go."""

import importlib.util
import json
import math
import shutil
import struct
import sys
import types

import pytest

from pretrain import store
from pretrain.errors import RecipeError
from pretrain.events import Log
from pretrain.ranks.world import World
from pretrain.train import loop, mirrors
from tests.conftest import tiny_recipe
from tests.train.test_loop import final, folder  # noqa: F401


def train(folder, recipe):  # noqa: F811
    return loop.train(World(0, 1), recipe, folder, Log(quiet=True), "k")


def needs(name):
    missing = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not installed")


def recorded(folder):  # noqa: F811
    """(name, step) -> value of all numbers in the records."""
    found = {}
    for name in ("metrics", "speed"):
        for line in store.read_lines(folder / "train" / f"{name}.jsonl"):
            found |= {(k, line["step"]): v for k, v in mirrors.numbers(line).items()}
    return found


def test_numbers_are_named_by_their_path():
    line = {"step": 3, "loss": 2.5, "samples": "c0de", "skipped": True, "grad_norm": None}
    line |= {"by": {"web": {"up": 1}, "code": math.nan}, "expert_load": [1.0, 2.0]}
    assert mirrors.numbers(line) == {
        "loss": 2.5, "by/web/up": 1, "expert_load/0": 1.0, "expert_load/1": 2.0
    }  # fmt: skip


def dies_at(monkeypatch, folder, recipe, step):  # noqa: F811
    real = loop.factor

    def dies(n, settings):
        if n == step:
            raise KeyboardInterrupt
        return real(n, settings)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "factor", dies)
        with pytest.raises(KeyboardInterrupt):
            train(folder, recipe)


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_the_records_each_step_once(folder, tmp_path, monkeypatch):  # noqa: F811
    """Killed at step 7, resumed from 4: the event files are read back by TensorBoard itself."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    more = ("train.mirrors=['tensorboard']", "train.norms_every=2")
    recipe = tiny_recipe(tmp_path / "c", *more)
    dies_at(monkeypatch, folder, recipe, 7)
    train(folder, recipe)
    events = EventAccumulator(str(folder / "train" / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    shown = [(n, e.step, e.value) for n in events.Tags()["scalars"] for e in events.Scalars(n)]
    expected = recorded(folder)
    assert sorted((n, s) for n, s, _ in shown) == sorted(expected)
    for name, step, value in shown:
        assert value == pytest.approx(expected[name, step], rel=1e-6)


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_replaces_what_a_rollback_took_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with mirrors.Mirrors(("tensorboard",), None, tmp_path, Log(quiet=True)) as open_:
        for step, loss in [(1, 9.0), (2, 8.0), (3, 99.0), (2, 7.0), (3, 6.0)]:
            open_.write(step, {"loss": loss})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 9.0), (2, 7.0), (3, 6.0)]


class Fake(types.ModuleType):
    """Stands for wandb: keeps what it is told, and fails where it is asked to."""

    def __init__(self, fails_at=None):
        super().__init__("wandb")
        self.__spec__ = importlib.util.spec_from_loader("wandb", None)
        self.told, self.ids, self.n_finished, self.fails_at = [], set(), 0, fails_at
        self.Settings = dict

    def _fail(self, where):
        if where == self.fails_at:
            raise ConnectionError("the network is gone\nTraceback …")

    def init(self, **options):
        self._fail("init")
        self.ids.add((options["id"], options["name"], options["resume"]))
        return self

    def log(self, values, step):
        self._fail(step)
        self.told.append((step, values))

    def finish(self):
        self._fail("finish")
        self.n_finished += 1


def test_a_resumed_run_goes_on_in_the_same_place(folder, tmp_path, monkeypatch):  # noqa: F811
    straight = tmp_path / "straight"
    shutil.copytree(folder, straight)
    train(straight, tiny_recipe(tmp_path / "c"))
    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    recipe = tiny_recipe(tmp_path / "c", "train.mirrors=['wandb']")
    dies_at(monkeypatch, folder, recipe, 7)
    train(folder, recipe)
    assert [step for step, _ in fake.told] == list(range(1, 13))
    assert len(fake.ids) == 1  # of both attempts
    assert fake.n_finished == 2
    clocks = {*recorded_names(folder, "speed")}
    told = {(k, step): v for step, values in fake.told for k, v in values.items()}
    expected = recorded(folder)
    assert told.keys() == expected.keys()
    assert all(told[key] == expected[key] for key in told if key[0] not in clocks)
    assert final(folder) == final(straight)  # a mirror changes no byte


@pytest.mark.parametrize("where", ["init", 3, "finish"])
def test_a_mirror_that_fails_is_said_once_and_training_goes_on(
    folder, tmp_path, monkeypatch, where  # noqa: F811
):  # fmt: skip
    fake = Fake(fails_at=where)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    log = Log(tmp_path, quiet=True)
    recipe = tiny_recipe(tmp_path / "c", "train.mirrors=['wandb']")
    assert loop.train(World(0, 1), recipe, folder, log, "k")["steps"] == 12
    said = [e["message"] for e in store.read_lines(tmp_path / "events.jsonl") if "message" in e]
    expected = "mirror wandb is given up, training goes on: the network is gone"
    assert [m for m in said if "mirror" in m] == [expected]
    assert len(fake.told) == {"init": 0, 3: 2, "finish": 12}[where]


def recorded_names(folder, name):  # noqa: F811
    lines = store.read_lines(folder / "train" / f"{name}.jsonl")
    return {key for line in lines for key in mirrors.numbers(line)}


def leveldb_records(log, begin):
    """Records of a LevelDB log: blocks of 32 KiB; checksum, length, type of each piece."""
    record, at = b"", begin
    while at + 7 <= len(log):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, n_bytes, kind = struct.unpack_from("<IHB", log, at)
        record += log[at + 7 : at + 7 + n_bytes]
        at += 7 + n_bytes
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_has_the_records(folder, tmp_path, monkeypatch):  # noqa: F811
    """Read back from the file that `wandb sync` would send."""
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    train(folder, tiny_recipe(tmp_path / "c", "train.mirrors=['wandb']"))
    (path,) = (folder / "train").glob("wandb/offline-run-*/*.wandb")
    told = {}
    for data in leveldb_records(path.read_bytes(), 7):
        record = Record()
        record.ParseFromString(data)
        items = record.history.item
        row = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
        told |= {(k, row["_step"]): v for k, v in row.items() if not k.startswith("_")}
    assert told == pytest.approx(recorded(folder))


@needs("trackio")
@pytest.mark.filterwarnings("ignore")
def test_trackio_has_the_records_each_step_once(folder, tmp_path, monkeypatch):  # noqa: F811
    """In its local store, killed at step 7 and resumed from 4."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from trackio.sqlite_storage import SQLiteStorage

    recipe = tiny_recipe(tmp_path / "c", "train.mirrors=['trackio']")
    dies_at(monkeypatch, folder, recipe, 7)
    train(folder, recipe)
    (name,) = SQLiteStorage.get_runs("pretrain")
    rows = SQLiteStorage.get_logs("pretrain", name)
    assert [row["step"] for row in rows] == list(range(1, 13))
    expected, clocks = recorded(folder), recorded_names(folder, "speed")
    for row in rows:
        for key, value in row.items():
            if key not in clocks | {"step", "timestamp"}:
                assert value == pytest.approx(expected[key, row["step"]])


def test_a_missing_package_is_an_error_before_training(folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(mirrors.importlib.util, "find_spec", lambda name: None)
    recipe = tiny_recipe(tmp_path / "c", "train.mirrors=['trackio']")
    with pytest.raises(RecipeError, match=r"pip install 'pretrain\[trackio\]'"):
        train(folder, recipe)
    assert not (folder / "train").exists()
