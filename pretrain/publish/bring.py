"""`pretrain import`: a released folder, checked to the last number, copied to where runs find it.

Only data is copied: weights, configuration, tokenizer, texts. What could be code stays behind, and
nothing is executed. The copy has SHA256SUMS, so that a later change of a byte is noticed.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from pretrain import store
from pretrain.errors import DataError, UsageError
from pretrain.model import count, hf, released
from pretrain.publish import folder as folders
from pretrain.tokenize.encode import Encoder

_DATA = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|config\.json|"
    r"generation_config\.json|tokenizer(_config)?\.json|special_tokens_map\.json|added_tokens\.json|"
    r"vocab\.(txt|json)|merges\.txt|chat_template\.jinja|LICENSE(\.txt|\.md)?|README\.md|"
    r"CITATION\.cff"
)


def bring(source: Path, target: Path) -> dict[str, Any]:
    """Check a folder and copy what is data in it to `target`; returns what it is.

    Raises: DataError as model/released.py says; nothing is written then.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", target.name):
        raise UsageError(f"import: the name {target.name!r} must be letters, digits, . _ -")
    if target.exists():
        raise UsageError(f"import: {target} is there already; must be a new name")
    found = released.read(source)
    facts = look(found)
    weights = set(found.files.values())
    with store.atomic_folder(target) as temporary:
        left = []
        for path in sorted(p for p in source.rglob("*") if p.is_file()):
            name = path.relative_to(source).as_posix()
            if _DATA.fullmatch(name) and (path.suffix != ".safetensors" or path in weights):
                shutil.copyfile(path, temporary / name)
            elif name != released.SUMS:
                left.append(name)
        folders.write_sums(temporary)
    return facts | {"left_behind": left}


def look(found: released.Released) -> dict[str, Any]:
    """Read every tensor and the tokenizer of a folder; what it is, in a few numbers."""
    path = found.folder / "tokenizer.json"
    if not path.is_file():
        raise DataError(f"import: {path} is missing; AutoTokenizer.save_pretrained writes it")
    encoder = Encoder(path)
    n_tensors = sum(1 for _ in released.tensors(found))
    return {
        "kind": hf.kind_of(found.shape),
        "parameters": count.n_parameters(found.shape),
        "tensors": n_tensors,
        "tokens": encoder.vocab_size,
        "rows": found.shape.vocab_size,
        "sequence_length": found.sequence_length,
        "separator": encoder.separator,
    }


def render(facts: dict[str, Any], target: Path) -> str:
    """What was brought, and the lines of a recipe that go on from it."""
    left = facts["left_behind"]
    lines = [
        f"{target}: {facts['kind']}, {facts['parameters']:,} parameters in {facts['tensors']:,} "
        f"tensors, {facts['tokens']:,} tokens ({facts['separator']} ends a document), "
        f"{facts['sequence_length']:,} positions",
    ]
    if left:
        lines.append(f"left behind: {', '.join(left[:8])}" + (" …" if len(left) > 8 else ""))
    lines += ["", "In a recipe, to train on from it:", "", "[model]", f'start = "{target}"']
    return "\n".join(lines)
