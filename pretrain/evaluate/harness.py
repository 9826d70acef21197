"""EleutherAI's lm-evaluation-harness over a model of ours, and its YAML tasks from here.

    python -m pretrain.evaluate.harness run --model pretrain --model_args path=RUN_OR_FOLDER,… \
        --tasks NAMES --include_path FOLDER

takes what the command `lm_eval` takes; lm-eval knows no plug-ins, so the model `pretrain` must be
registered by a program of ours. From Python `run_harness` does the same. Needs the extra `harness`.

model_args: path, a run's folder or a published one; window, tokens that the model reads at most;
batch_tokens; prefixed, whether the separator stands before every context (lm-eval's `hf` does so
where the tokenizer adds it) or only where there is no other.
"""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretrain.errors import DataError, PretrainError, UsageError
from pretrain.evaluate import statistics
from pretrain.evaluate.ask import Request, answers
from pretrain.evaluate.encode_pair import pair_encoder
from pretrain.model.generate import continuations
from pretrain.model.sampling import Sampling
from pretrain.model.transformer import Transformer
from pretrain.ranks.world import device_of
from pretrain.tokenize.encode import Encoder
from pretrain.train.load import load, window_of

WINDOW = 2048  # of a model whose positions have no end, where nothing says better
MOST_NEW_TOKENS = 256  # lm-eval's own where a task does not say


class Model:
    """What lm-eval asks of a model, on tokens: its three kinds of requests, in their order."""

    def __init__(
        self, model: Transformer, encoder: Encoder, window: int, batch_tokens: int = 8192,
        prefixed: bool = True,
    ) -> None:  # fmt: skip
        self.model, self.encoder = model, encoder
        self.window, self.batch_tokens = window, batch_tokens
        self.encode = pair_encoder(encoder, window, prefixed)
        self.prefixed = prefixed

    def log_probabilities(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """(nats of the continuation, whether it is the likeliest) of (context, continuation)."""
        requests = [self.encode(context, continuation)[0] for context, continuation in pairs]
        found = answers(self.model, requests, self.batch_tokens)
        return [(answer.log_probability, bool(answer.greedy)) for answer in found]

    def texts(self, texts: Sequence[str]) -> list[float]:
        """Nats of whole texts: every token predicted once, in windows with as much context as fits.

        The first window begins with the separator, the last one is full.
        """
        requests, owner = [], []
        for i, text in enumerate(texts):
            windows = rolling(self.encoder.encode(text), self.encoder.end_of_text, self.window)
            requests += windows
            owner += [i] * len(windows)
        total = [0.0] * len(texts)
        for i, answer in zip(owner, answers(self.model, requests, self.batch_tokens), strict=True):
            total[i] += answer.log_probability
        return total

    def generate(self, asked: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
        """What follows each context, up to the first of its `until`, which is left out."""
        result = [""] * len(asked)
        for settings, chosen in _alike([settings for _, settings in asked]):
            stops, most, sampling = _generation(settings)
            if most >= self.window:
                raise UsageError(
                    f"harness: max_gen_toks is {most}; must be less than the window, {self.window}"
                )
            prompts = [self._prompt(asked[i][0], self.window - most) for i in chosen]

            def done(_: int, tokens: list[int], stops: list[str] = stops) -> bool:
                text = self.encoder.decode(tokens)
                return any(stop in text for stop in stops)

            end = (self.encoder.end_of_text,)
            found = continuations(self.model, prompts, most, end, done, sampling)
            for i, tokens in zip(chosen, found, strict=True):
                text = self.encoder.decode(tokens)
                result[i] = text[: min([text.find(s) for s in stops if s in text], default=None)]
        return result

    def _prompt(self, context: str, most: int) -> list[int]:
        tokens = self.encoder.encode(context)
        if self.prefixed or not tokens:
            tokens = [self.encoder.end_of_text, *tokens]
        return tokens[-most:]


def rolling(tokens: Sequence[int], prefix: int, window: int) -> list[Request]:
    """Windows in which each token is predicted once, from at least one before it.

    All but the last begin where the one before ended; the last one reaches back as far as fits.
    """
    row = (prefix, *tokens)
    requests = []
    for done in range(1, len(row), window):
        end = min(done + window, len(row))
        begin = max(0, end - window - 1)
        requests.append(Request(row[begin:done], row[done:end]))
    return requests


def _generation(settings: dict[str, Any]) -> tuple[list[str], int, Sampling]:
    """(stop texts, most new tokens, sampling) of lm-eval's generation settings."""
    until = settings.get("until") or []
    stops = [until] if isinstance(until, str) else [stop for stop in until if stop]
    names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    most = next((settings[name] for name in names if settings.get(name)), MOST_NEW_TOKENS)
    samples = settings.get("do_sample", bool(settings.get("temperature")))
    temperature = float(settings.get("temperature", 1.0)) if samples else 0.0
    top_k, top_p = int(settings.get("top_k") or 0), float(settings.get("top_p") or 1.0)
    return stops, int(most), Sampling(temperature, top_k, top_p)


def _alike(settings: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], list[int]]]:
    """Equal settings, and where they are."""
    groups: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for i, one in enumerate(settings):
        groups.setdefault(repr(sorted(one.items())), (one, []))[1].append(i)
    return list(groups.values())


def open_model(path: Path) -> tuple[Transformer, Encoder, int]:
    """Model, encoder and window of a run's folder or of a released one."""
    model, encoder = load(path, device_of())
    return model, encoder, model.shape.max_length or window_of(path)


def register() -> Any:
    """The class of the model `pretrain`, known to lm-eval from now on."""
    LM, registry = _lm_eval()

    class PretrainLM(LM):  # type: ignore[misc, valid-type]
        """lm-eval's contract; what it does is in `Model`."""

        def __init__(
            self, path: str = "", window: int = 0, batch_tokens: int = 8192,
            prefixed: bool = True, asks: Model | None = None, **ignored: Any,
        ) -> None:  # fmt: skip
            """ignored: lm-eval's own, as device and batch_size."""
            super().__init__()
            if asks is None:
                model, encoder, longest = open_model(Path(path))
                asks = Model(model, encoder, int(window) or longest, int(batch_tokens), prefixed)
            self.asks = asks

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return self.asks.log_probabilities([request.args for request in requests])

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return self.asks.texts([request.args[0] for request in requests])

        def generate_until(self, requests: list[Any]) -> list[str]:
            return self.asks.generate([request.args for request in requests])

    if "pretrain" not in registry.model_registry:
        registry.register_model("pretrain")(PretrainLM)
    return PretrainLM


def run_harness(
    model: Transformer,
    encoder: Encoder,
    tasks: Sequence[str],
    include_path: Path | Sequence[Path] | None = None,
    limit: int | None = None,
    window: int | None = None,
    batch_tokens: int = 8192,
    shots: int | None = None,
    prefixed: bool = True,
    manager: Any = None,
) -> dict[str, Any]:
    """lm-eval's own results, with its samples, of its tasks by name or those of a folder.

    include_path: folders of YAML tasks, known by their names besides lm-eval's own. limit: items
    of each task; shots: solved examples in place of what the task says; prefixed: see the module.
    manager: of `manager_of`, to spare a second reading of all of lm-eval's tasks.

    Raises: DataError where a task is not known or lm-eval fails, UsageError without the package.
    """
    PretrainLM = register()
    from lm_eval import simple_evaluate

    manager = manager or manager_of(tasks, include_path)
    longest = window or model.shape.max_length or WINDOW
    asks = Model(model, encoder, longest, batch_tokens, prefixed)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found: dict[str, Any] = simple_evaluate(
                model=PretrainLM(asks=asks), tasks=list(tasks), task_manager=manager, limit=limit,
                num_fewshot=shots, bootstrap_iters=0,
            )  # fmt: skip
    except PretrainError:
        raise
    except Exception as error:  # a task may do anything: its errors have no common kind
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"harness: lm-eval failed on {', '.join(tasks)}: {what}") from error
    return found


def manager_of(tasks: Sequence[str], include_path: Path | Sequence[Path] | None = None) -> Any:
    """lm-eval's own list of tasks. Raises: DataError where one of `tasks` is not in it."""
    _lm_eval()
    from lm_eval.tasks import TaskManager

    folders = [include_path] if isinstance(include_path, Path) else include_path or ()
    manager = TaskManager(include_path=[str(folder) for folder in folders] or None)
    unknown = [name for name in tasks if name not in manager.all_tasks]
    if unknown or not tasks:
        what = f"no task '{unknown[0]}'" if unknown else "no task"
        raise DataError(f"harness: {what}; must be known to lm-eval, or in a folder that is given")
    return manager


def summary(found: dict[str, Any], prefixed: bool) -> dict[str, Any]:
    """What scores.json keeps of lm-eval's results.

    scores: by metric and filter, [value, standard error]. The error is s / sqrt(n) over items where
    the value is their mean; of a metric that is none (perplexity), and of a group, it is None.
    """
    samples = found.get("samples", {})
    rows = {}
    for name, row in found["results"].items():
        scores = {}
        for key, value in row.items():
            metric, comma, kept = key.partition(",")
            if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
                own = [s for s in samples.get(name, ()) if s.get("filter") == kept]
                scores[key] = [float(value), _error(value, [s.get(metric) for s in own])]
        rows[name] = {
            "scores": scores,
            "version": found.get("versions", {}).get(name),
            "shots": found.get("n-shot", {}).get(name),
            "items": found.get("n-samples", {}).get(name, {}).get("effective"),
        }
    return {"lm_eval": found.get("lm_eval_version"), "prefixed": prefixed, "tasks": rows}


def _error(value: float, items: Sequence[Any]) -> float | None:
    if not items or not all(isinstance(x, int | float) for x in items):
        return None
    mean, error = statistics.mean(items)
    return error if abs(mean - value) < 1e-9 * max(1.0, abs(value)) else None


def _lm_eval() -> tuple[Any, Any]:
    try:
        from lm_eval.api import registry
        from lm_eval.api.model import LM
    except ImportError as error:
        raise UsageError(
            "harness: lm-eval is not installed; install it: pip install 'pretrain[harness]'"
        ) from error
    return LM, registry


def main() -> None:
    """lm-eval's own command, which knows the model `pretrain` as well."""
    register()
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
