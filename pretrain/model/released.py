"""A released folder, checked before anything of it is used; nothing in it is ever executed.

    config.json · model.safetensors, or its shards with model.safetensors.index.json · SHA256SUMS

Refused: `auto_map` (code of the folder), pickles, links that leave the folder, checksums and an
index that disagree with the files, a cut file, tensors that are missing, extra, of another shape or
not finite. Tensors that another tensor must equal (a tied head) are compared, not trusted.
"""

import contextlib
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pretrain import store
from pretrain.errors import DataError
from pretrain.model import hf, mapping
from pretrain.model.settings import Shape

INDEX = "model.safetensors.index.json"
SUMS = "SHA256SUMS"
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
_DTYPES = {"F32", "F16", "BF16"}
# Written by some versions and of no use here: computed buffers, and heads of other tasks.
_IGNORED = re.compile(
    r".*\.(rotary_emb\.inv_freq|attn\.(masked_)?bias|position_ids)|"
    r"bert\.pooler\..*|cls\.seq_relationship\..*"
)
# Written twice by some versions; must equal the one named here.
_COPIES = {
    "llama": {"lm_head.weight": "model.embed_tokens.weight"},
    "gpt2": {"lm_head.weight": "transformer.wte.weight"},
    "bert": {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    "modernbert": {"decoder.weight": "model.embeddings.tok_embeddings.weight"},
    "t5": {
        "encoder.embed_tokens.weight": "shared.weight",
        "decoder.embed_tokens.weight": "shared.weight",
        "lm_head.weight": "shared.weight",
    },
    "marian": {
        "lm_head.weight": "model.shared.weight",
        "model.encoder.embed_tokens.weight": "model.shared.weight",
        "model.decoder.embed_tokens.weight": "model.shared.weight",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Released:
    """A folder that was checked: what it says of itself, and which file holds which tensor."""

    folder: Path
    config: dict[str, Any]
    shape: Shape
    files: dict[str, Path]  # by the name in the file
    names: dict[str, str]  # name of `transformers` now -> name in the file

    @property
    def sequence_length(self) -> int:
        """Positions the model was made for, as its config says; 0 where it says nothing."""
        keys = ("max_position_embeddings", "n_positions", "n_ctx")
        return next((int(self.config[key]) for key in keys if self.config.get(key)), 0)


def read(folder: Path) -> Released:
    """Check a folder up to its tensors' names. Raises: DataError that names what is wrong."""
    _check_files(folder)
    config = _json(folder, "config.json")
    _check_code(folder, config)
    check_sums(folder)
    shape = hf.shape_of(config)
    files = _tensor_files(folder)
    return Released(folder, config, shape, files, _names(folder, shape, files))


def tensors(released: Released) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of ours by name, fp32, read one after another and checked.

    Raises: DataError for another shape or dtype, a number that is not finite, an unequal copy.
    """
    with torch.device("meta"):
        from pretrain.model.transformer import Transformer

        wanted = {n: tuple(t.shape) for n, t in Transformer(released.shape).state_dict().items()}
    with contextlib.ExitStack() as opened:
        open_files = {
            path: opened.enter_context(_open(path)) for path in set(released.files.values())
        }

        def get(name: str) -> Tensor:
            there = released.names[name]
            tensor = _finite(released, there, open_files[released.files[there]])
            return tensor if there == name else tensor.clone()  # two names must not share memory

        for copy, name in _copies(released.shape).items():
            if copy in released.names and not torch.equal(get(copy), get(name)):
                raise DataError(
                    f"import: {released.folder}: {copy} differs from {name}; must be equal, since "
                    "config.json ties them (tie_word_embeddings)"
                )
        for name, tensor in mapping.each_of_ours(hf.entries(released.shape), get):
            if tuple(tensor.shape) != wanted[name]:
                raise DataError(
                    f"import: {released.folder}: what becomes {name} has shape "
                    f"{tuple(tensor.shape)}; config.json asks for {wanted[name]}"
                )
            yield name, tensor


def inputs(folder: Path) -> dict[str, str]:
    """File name -> hash of what a model is read from, for the key of what is made of it."""
    found = [*sorted(folder.glob("*.safetensors")), folder / "config.json", folder / INDEX]
    return {path.name: store.hash_file(path) for path in found if path.is_file()}


def check_sums(folder: Path) -> int:
    """Compare every file that SHA256SUMS lists; returns how many, 0 without that file."""
    listed = folder / SUMS
    if not listed.is_file():
        return 0
    rows = listed.read_text(encoding="utf-8", errors="replace").splitlines()
    for row in rows:
        digest, _, name = row.partition("  ")
        if not re.fullmatch("[0-9a-f]{64}", digest) or not name:
            raise DataError(f"import: {listed} has the line {row[:80]!r}; must be 'SHA256  NAME'")
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"import: {listed} names {name!r}, which is not in the folder")
        if not path.is_file():
            raise DataError(f"import: {path} is missing; {SUMS} lists it")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            raise DataError(
                f"import: {path} does not have the checksum that {SUMS} lists: it was changed or "
                "damaged; must be fetched again"
            )
    return len(rows)


def _check_files(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"import: {folder} is not a folder; must be one with a config.json")
    whole = folder.resolve()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink() and not path.resolve().is_relative_to(whole):
            raise DataError(
                f"import: {name} is a link to {path.resolve()}, outside {folder}; must be a file "
                "of the folder (cp -rL copies what links lead to)"
            )
        if path.suffix.lower() in _PICKLES:
            raise DataError(
                f"import: {folder} holds {name}, a pickle, which can run code when it is read; "
                "must hold its weights as .safetensors alone: convert, or remove the file"
            )


def _json(folder: Path, name: str) -> dict[str, Any]:
    found = store.read_json_or_none(folder / name)
    if not isinstance(found, dict):
        state = "no JSON table" if (folder / name).is_file() else "missing"
        raise DataError(f"import: {folder / name} is {state}; a released folder must have it")
    return found


def _check_code(folder: Path, config: dict[str, Any]) -> None:
    tables = {"config.json": config}
    for path in sorted(folder.glob("*config.json")):
        tables[path.name] = store.read_json_or_none(path) or {}
    for name, table in tables.items():
        if isinstance(table, dict) and "auto_map" in table:
            raise DataError(
                f"import: {folder / name} names code of its own to run (auto_map); must be a "
                "family of transformers that needs none"
            )


def _tensor_files(folder: Path) -> dict[str, Path]:
    """Which file holds which tensor, by the files' own headers, compared with the index."""
    single = folder / "model.safetensors"
    if single.is_file():
        return dict.fromkeys(_header(single), single)
    if not (folder / INDEX).is_file():
        raise DataError(f"import: {folder} has neither model.safetensors nor {INDEX}")
    told = _json(folder, INDEX).get("weight_map")
    if not isinstance(told, dict) or not all(isinstance(f, str) for f in told.values()):
        raise DataError(f"import: {folder / INDEX} has no table weight_map of names to files")
    for file in sorted(set(told.values())):
        if Path(file).name != file or not file.endswith(".safetensors"):
            raise DataError(f"import: {folder / INDEX} names {file!r}; must be a file beside it")
        if not (folder / file).is_file():
            n = sum(f == file for f in told.values())
            raise DataError(f"import: {folder / file} is missing; the index puts {n} tensors there")
    found = {n: file for file in sorted(set(told.values())) for n in _header(folder / file)}
    wrong = sorted(n for n in found.keys() | told.keys() if found.get(n) != told.get(n))
    if wrong:
        name = wrong[0]
        raise DataError(
            f"import: {folder / INDEX} puts {name} into {told.get(name, 'no file')}, the shards "
            f"hold it in {found.get(name, 'none')} ({len(wrong)} such names)"
        )
    return {name: folder / file for name, file in found.items()}


def _open(path: Path) -> Any:
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"import: {path} is cut or no safetensors file ({error}); must be fetched again"
        ) from error


def _header(path: Path) -> list[str]:
    with _open(path) as file:
        names: list[str] = list(file.keys())
        return names


def _finite(released: Released, name: str, file: Any) -> Tensor:
    kind = file.get_slice(name).get_dtype()
    if kind not in _DTYPES:
        raise DataError(
            f"import: {released.folder}: {name} is of type {kind}; must be one of "
            f"{', '.join(sorted(_DTYPES))}"
        )
    tensor: Tensor = file.get_tensor(name)
    if not math.isfinite(float(tensor.float().sum())) and not bool(tensor.isfinite().all()):
        n = int((~tensor.isfinite()).sum())
        raise DataError(
            f"import: {released.folder}: {name} holds {n:,} numbers that are not finite"
        )
    return tensor


def _copies(shape: Shape) -> dict[str, str]:
    kind = hf.kind_of(shape)
    copies = _COPIES.get(kind, _COPIES["llama"])
    own = {entry.theirs for entry in hf.entries(shape)}
    return {copy: name for copy, name in copies.items() if copy not in own}


def _names(folder: Path, shape: Shape, files: dict[str, Path]) -> dict[str, str]:
    """Today's names -> the file's, old spellings read; DataError for missing and extra ones."""
    entries = hf.entries(shape)
    known = {entry.theirs for entry in entries} | _copies(shape).keys()
    names, extra = {}, []
    for name in files:
        new = _renamed(name, hf.kind_of(shape))
        if new in known:
            names[new] = name
        elif not _IGNORED.fullmatch(new):
            extra.append(name)
    if shape.encoder_layers and "shared.weight" in names and not shape.tied:
        # transformers 5 ties a head that it does not scale, and then writes it once.
        names.setdefault("lm_head.weight", names["shared.weight"])
    missing = mapping.missing_of(entries, names)
    for what, wrong in (("lacks", missing), ("also holds", extra)):
        if wrong:
            raise DataError(
                f"import: {folder} {what} {', '.join(wrong[:3])} ({len(wrong)} tensors in all); "
                "must hold what config.json describes"
            )
    return names


def _renamed(name: str, kind: str) -> str:
    """Spellings of the first releases: GPT-2 without its prefix, BERT's norms by Greek letters."""
    if kind == "gpt2" and name.startswith(("wte.", "wpe.", "h.", "ln_f.")):
        return f"transformer.{name}"
    if kind == "bert":
        return re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name).replace(
            "LayerNorm.beta", "LayerNorm.bias"
        )
    return name
