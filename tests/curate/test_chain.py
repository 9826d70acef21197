"""A chain's steps run in order, leave no outputs, and are not walked when its end is there."""

from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.curate.chain import Chain


def step(folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
    store.append_line(folder / "ran", str(arguments))
    store.write_bytes(folder / f"work/{arguments.get('number', 0):05d}.bin", b"x")
    return {"n": 7}


def test_steps_are_passing_and_follow_from_one_basis(stage: Any) -> None:
    made = stage()
    chain = Chain(made, "work", {"a": 1})
    assert chain.one(step, {}, "00000.bin") == {"n": 7}
    chain.each(step, 2, {"more": 1}, "{}.bin")
    assert made.outputs == {}
    assert len((made.folder / "ran").read_text().splitlines()) == 3
    Chain(made, "work", {"a": 1}).each(step, 2, {"more": 1}, "{}.bin")
    assert len((made.folder / "ran").read_text().splitlines()) == 3
    Chain(made, "work", {"a": 2}).each(step, 2, {"more": 1}, "{}.bin")
    assert len((made.folder / "ran").read_text().splitlines()) == 5
