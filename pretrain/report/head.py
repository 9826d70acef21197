"""The head of the page: what the run is in one sentence, and its stages from left to right."""

import time
from typing import Any

from pretrain.flow import STAGES
from pretrain.report.evaluation import beaten
from pretrain.report.formats import NONE, count, n_bytes, seconds, short, significant, some
from pretrain.report.markup import Child, Markup, element, join
from pretrain.report.records import Records
from pretrain.report.tables import bar


def head(records: Records) -> Markup:
    return element(
        "header",
        element("p", _dates(records), class_="date"),
        element("h1", records.recipe.get("name") or records.folder.name),
        element("p", sentence(records), class_="lead"),
        element("ol", [_stage(records, s) for s in STAGES], class_="flow", aria_label="stages"),
        _time(records),
    )


def sentence(records: Records) -> Markup:
    """Parameters, tokens, held-out bits per byte, and which baselines that beats."""
    trained = records.counts("train")
    plan = records.forecast or {}
    n_parameters = trained.get("parameters") or plan.get("parameters")
    n_tokens = trained.get("tokens") or (records.steps[-1]["tokens"] if records.steps else None)
    if not n_parameters:
        return join([f"A run of which {_done(records)} so far."])
    parts: list[Child] = ["A model of ", element("strong", short(n_parameters)), " parameters"]
    if n_tokens:
        state = "trained on" if trained else "in training, so far on"
        parts += [f", {state} ", element("strong", short(n_tokens)), " tokens"]
        parts.append(f" ({significant(n_tokens / n_parameters)} per parameter).")
    else:
        parts.append("; training has not begun.")
    overall = (records.scores or {}).get("held_out", {}).get("all")
    if overall and "hidden" in overall:
        right = element("strong", f"{100 * overall['accuracy']:.1f} %")
        bits = f"{overall['bits_per_byte']:.3f} bits per byte"
        parts += [" Of hidden held-out text it tells ", right, f" of the tokens, at {bits}."]
    elif overall:
        parts += [" On held-out text it needs ",
                  element("strong", f"{overall['bits_per_byte']:.3f} bits per byte"),
                  f"{_against(overall)}."]  # fmt: skip
    elif records.looks:
        last = records.looks[-1]
        parts += [" On a sample of held-out text it needs ",
                  element("strong", f"{last['bits_per_byte']:.3f} bits per byte"),
                  f" at step {last['step']:,}."]  # fmt: skip
    return join(parts)


def _against(row: dict[str, Any]) -> str:
    figures = {"xz -9e": row.get("xz"), "zstd with a dictionary": row.get("zstd")}
    won, lost = ([f"{n} ({figures[n]:.3f})" for n in names] for names in beaten(row))
    texts = [f"less than {' and '.join(won)}"] if won else []
    texts += [f"more than {' and '.join(lost)}"] if lost else []
    return f", {', but '.join(texts)}" if texts else ""


def _stage(records: Records, stage: str) -> Markup:
    name = element("span", stage, class_="name")
    if stage not in records.manifests:
        training = stage == "train" and records.steps
        state = "begun" if stage in records.begun else "not begun"
        last = f"step {records.steps[-1]['step']:,}" if training else state
        return element("li", name, element("span", last, class_="none"), class_="open")
    main, unit, sub = _amounts(records, stage)
    took = seconds(records.seconds[stage]) if stage in records.seconds else NONE
    return element(
        "li",
        name,
        element("strong", main),
        element("span", unit, class_="unit"),
        element("span", sub, class_="sub") if sub else None,
        element("span", took, class_="took"),
    )


def _amounts(records: Records, stage: str) -> tuple[str, str, str]:
    """(what comes out, of what, what went in)."""
    n = records.counts(stage)
    match stage:
        case "plan":
            return seconds(n["seconds"]), "to train, forecast", f"in {n_bytes(n['bytes'])}"
        case "collect":
            return short(n["documents"]), "documents", f"from {count(n['records_in'])} records"
        case "curate":
            return short(n["documents"]), "documents", f"of {count(n['documents_in'])}"
        case "tokenize":
            return short(n["tokens"]), "tokens", f"of {n_bytes(n['n_bytes'])}"
        case "mix":
            held = f"{short(n['held_out_tokens'])} tokens held out"
            return short(n["windows"]), "windows", held
        case "train":
            return short(n["tokens"]), "tokens", f"in {count(n['steps'])} steps"
        case "evaluate":
            bits = n["bits_per_byte"]
            text = NONE if bits is None else f"{bits:.3f}"
            return (
                text,
                "bits per byte",
                f"of {n_bytes(n['held_out_bytes'])}, {some(n['tasks'], 'task')}",
            )
    files = n.get("files")
    return count(files), "files", f"{short(n.get('parameters'))} parameters"


def _time(records: Records) -> Markup | None:
    """One bar of the seconds of all stages."""
    found = [(s, records.seconds[s]) for s in STAGES if s in records.seconds]
    whole = sum(v for _, v in found)
    if not found or whole <= 0:
        return None
    parts = [(v, f"t{i % 2}", f"{s} {seconds(v)}") for i, (s, v) in enumerate(found)]
    at, labels = 0.0, []
    for stage, value in found:
        if value / whole >= 0.09:
            labels.append(element("text", stage, x=f"{100 * at / whole:.2f}%", y=13))
        at += value
    names = element("svg", labels, width="100%", height=18, aria_hidden="true", class_="timenames")
    caption = element("figcaption", f"Time of all stages: {seconds(whole)}")
    return element("figure", caption, bar(parts, whole), names, class_="timebar")


def _dates(records: Records) -> str:
    times = [t for e in records.events if isinstance(t := e.get("time"), int | float)]
    if not times:
        return "pretrain run report"
    day = "%-d %B %Y, %H:%M"
    return f"pretrain run report · {time.strftime(day, time.gmtime(times[-1]))} UTC"


def _done(records: Records) -> str:
    done = [s for s in STAGES if s in records.manifests]
    return (
        f"{', '.join(done)} {'is' if len(done) == 1 else 'are'} done" if done else "nothing is done"
    )
