"""The published folder, loaded by `transformers` and compared with our own model.

`pretrain verify FOLDER` does so for any released folder, with its checksums and vLLM's rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from pretrain.errors import DataError
from pretrain.model import hf, released
from pretrain.model.transformer import Transformer
from pretrain.publish import serving
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import load_published

# Equal up to the order of fp32 sums; a published bf16 file is compared by its own rounding.
TOLERANCE = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.1}
_PROBE = "def main():\n    print('Grüße, 世界', 3.14159)\n\nThe quick brown fox — isn’t it?\t\n"


@dataclass(frozen=True)
class Check:
    """One thing looked at: ok, a note (loads, with a limit that is told), or a fault."""

    name: str
    state: Literal["ok", "note", "fault"]
    detail: str


def checks(folder: Path) -> Iterator[Check]:
    """Everything about a released folder that can be checked without its run, one by one."""
    n_sums = released.check_sums(folder)
    listed = f"{n_sums} files have the sums that are listed" if n_sums else "no SHA256SUMS"
    yield Check("checksums", "ok" if n_sums else "note", listed)
    found = released.read(folder)
    model, encoder = load_published(folder)
    n = sum(p.numel() for p in model.parameters())
    yield Check("tensors", "ok", f"{len(found.names)} tensors, {n:,} parameters, all finite")
    equal = compare(folder, model, encoder, "float32")
    if equal["transformers"]:
        yield Check(
            "transformers",
            "ok",
            f"{equal['class']} of {equal['transformers']}: no tensor missing or left over, token "
            f"ids equal, logits differ by at most {equal['largest_logit_difference']:.1e}",
        )
    else:
        yield Check("transformers", "note", "not installed: pip install 'pretrain[hf]'")
    wrong = serving.faults(found, encoder)
    yield from (Check("vLLM", "note", fault) for fault in wrong)
    if not wrong:
        yield Check("vLLM", "ok", "every rule of its layout holds (vLLM was not run)")


def compare(folder: Path, model: Transformer, encoder: Encoder, dtype: str) -> dict[str, Any]:
    """Largest difference of logits on a probe, and whether token ids are equal.

    Returns {"transformers": None} where the library is not installed; raises DataError where the
    folder loads as something else than what was trained.
    """
    try:
        import transformers
    except ImportError:
        return {"transformers": None}
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # a run's console is ours: no bar, no hint about lengths
    logging.disable_progress_bar()

    theirs, report = getattr(transformers, hf.auto_class(model.shape)).from_pretrained(
        folder, output_loading_info=True, local_files_only=True, dtype=torch.float32
    )
    # A head that is the embedding is in the file once.
    missing = set(report["missing_keys"]) - set(theirs._tied_weights_keys or ())
    wrong = [*sorted(missing), *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise DataError(f"publish: transformers finds other weights than were written: {wrong[:4]}")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = encoder.encode(_PROBE)
    if tokenizer.encode(_PROBE, add_special_tokens=False) != ids:
        raise DataError("publish: transformers' tokenizer gives other ids than were trained on")
    generator = torch.Generator().manual_seed(0)
    random = torch.randint(0, encoder.vocab_size, (2, 64), generator=generator)
    tokens = torch.cat([random, torch.tensor([(ids * 64)[:64]])])[:, : model.shape.max_length or 64]
    with torch.inference_mode():
        if model.shape.encoder_layers:
            source = tokens.flip(0)
            ours_BTV = model.cpu()(tokens, source_BS=source)
            theirs_BTV = theirs(input_ids=source, decoder_input_ids=tokens).logits
        else:
            ours_BTV = model.cpu()(tokens)
            theirs_BTV = theirs(tokens).logits
    difference = float((ours_BTV - theirs_BTV).abs().max())
    if not difference <= TOLERANCE[dtype]:
        raise DataError(
            f"publish: logits differ by {difference:.2e} from transformers "
            f"{transformers.__version__}; must be at most {TOLERANCE[dtype]:g}"
        )
    return {
        "transformers": transformers.__version__,
        "class": type(theirs).__name__,
        "largest_logit_difference": difference,
        "token_ids_equal": True,
    }
