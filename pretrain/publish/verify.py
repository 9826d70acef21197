"""The published folder, loaded by `transformers` and compared with our own model."""

from pathlib import Path
from typing import Any

import torch

from pretrain.errors import DataError
from pretrain.model.transformer import Transformer
from pretrain.tokenize.encode import Encoder

# Equal up to the order of fp32 sums; a published bf16 file is compared by its own rounding.
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.1}
_PROBE = "def main():\n    print('Grüße, 世界', 3.14159)\n\nThe quick brown fox — isn’t it?\t\n"


def compare(folder: Path, model: Transformer, encoder: Encoder, dtype: str) -> dict[str, Any]:
    """Largest difference of logits on a probe, and whether token ids are equal.

    Returns {"transformers": None} where the library is not installed; raises DataError where the
    folder loads as something else than what was trained.
    """
    try:
        import transformers
    except ImportError:
        return {"transformers": None}
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()  # a run's console is ours: no bar, no hint about lengths
    logging.disable_progress_bar()

    theirs, report = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, local_files_only=True, dtype=torch.float32
    )
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise DataError(f"publish: transformers finds other weights than were written: {wrong[:4]}")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = encoder.encode(_PROBE)
    if tokenizer.encode(_PROBE, add_special_tokens=False) != ids:
        raise DataError("publish: transformers' tokenizer gives other ids than were trained on")
    generator = torch.Generator().manual_seed(0)
    random = torch.randint(0, encoder.vocab_size, (2, 64), generator=generator)
    tokens = torch.cat([random, torch.tensor([(ids * 64)[:64]])])
    with torch.inference_mode():
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
