"""Do rates transfer? RMS of what five steps change in every layer's output, over the width.

    python benchmarks/coordinate_check.py [--over layers] [--optimizer muon] [--out folder]

Flat lines: the same learning rate does the same at every size (Tensor Programs V, section 4.1).
Writes coordinate_check.json and .svg: one panel a parametrisation, one line a layer. Over depth the
residual stream is what must stay: a branch of l times as many changes 1/l as much.
"""

import argparse
import json
import math
from pathlib import Path

import torch

from pretrain.model.init import build
from pretrain.model.loss import cross_entropy_sum
from pretrain.model.settings import Shape
from pretrain.model.transformer import Transformer
from pretrain.train import optimizers, transfer
from pretrain.train.settings import Settings

WIDTHS, LAYERS = (64, 128, 256, 512), (2, 4, 8, 16)
BASE = Shape(layers=2, width=64, heads=2, kv_heads=1, hidden=192, vocab_size=256)
STEPS = 5


def sized(width: int = BASE.width, layers: int = BASE.layers, **more: bool) -> Shape:
    """The base made wider, with more heads of its dim and its proportions, or deeper."""
    n = width // BASE.width
    return Shape(layers, width, BASE.heads * n, BASE.kv_heads * n, BASE.hidden * n, 256, **more)


def batch(n_rows: int = 2, length: int = 16) -> torch.Tensor:
    """Tokens of which half follow from the one before: something to learn, for every size alike.

    Fewer than the smallest width: an update of Adam is then aligned with what it will meet, the
    case that the rules are made for. With 256 tokens noise shared the smaller widths' updates.
    """
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(256, (n_rows, length + 1), generator=generator)
    known = torch.rand(tokens.shape, generator=generator) < 0.5
    for t in range(1, length + 1):
        tokens[:, t] = torch.where(known[:, t], (tokens[:, t - 1] * 5 + 3) % 256, tokens[:, t])
    return tokens


def changes(shape: Shape, settings: Settings, seed: int = 0) -> dict[str, float]:
    """RMS by layer of the change in its output that STEPS steps on one batch bring about."""
    model = build(shape, seed)
    parameters = dict(model.named_parameters())
    factors = transfer.factors(parameters, shape, settings)
    transfer.scale(parameters, factors)
    optimizer = optimizers.build(parameters, settings, factors)
    tokens = batch()
    before = outputs(model, tokens[:, :-1])
    for step in range(STEPS):
        model.zero_grad(set_to_none=True)
        hidden = model.hidden(tokens[:, :-1]).flatten(0, 1)
        loss = cross_entropy_sum(hidden, model.head_weight, tokens[:, 1:].flatten())
        (loss / tokens[:, 1:].numel()).backward()
        optimizer.step(step, 1.0)
    after = outputs(model, tokens[:, :-1])
    return {name: float((after[name] - before[name]).square().mean().sqrt()) for name in after}


@torch.no_grad()
def outputs(model: Transformer, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """What every layer puts out: embedding, each block's two branches, stream, logits."""
    kept: dict[str, torch.Tensor] = {}
    layers = {"embed": model.embed, "stream": model.blocks[-1]}
    for i, block in enumerate(model.blocks):
        layers |= {f"attention {i}": block.attention, f"feed_forward {i}": block.feed_forward}
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: kept.update({name: out.clone()}))
        for name, layer in layers.items()
    ]
    kept["logits"] = model(tokens)
    for hook in hooks:
        hook.remove()
    return kept


def slope(sizes: tuple[int, ...], values: list[float]) -> float:
    """Of the least-squares line through log value over log size."""
    x, y = [math.log(s) for s in sizes], [math.log(v) for v in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    rise = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return rise / sum((a - mean_x) ** 2 for a in x)


def check(over: str, sizes: tuple[int, ...], settings: Settings, seeds: int = 4) -> dict[str, dict]:
    """Values over the sizes and their slope, by layer; geometric mean of the seeds."""
    runs = [[changes(sized(**{over: size}), settings, s) for s in range(seeds)] for size in sizes]
    lines = {}
    for name in [n for n in runs[0][0] if over == "width" or n in ("embed", "stream", "logits")]:
        rms = [math.prod(run[name] for run in of_size) ** (1 / seeds) for of_size in runs]
        lines[name] = {"rms": rms, "slope": slope(sizes, rms)}
    return lines


def svg(over: str, sizes: tuple[int, ...], panels: dict[str, dict[str, dict]]) -> str:
    """The lines of each parametrisation beside each other, both axes logarithmic."""
    every = [v for lines in panels.values() for line in lines.values() for v in line["rms"]]
    low, high = math.log10(min(every)) - 0.1, math.log10(max(every)) + 0.1
    colours = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {330 * len(panels)} 300" '
        'font-family="sans-serif" font-size="11">'
    ]
    for i, (title, lines) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({330 * i + 50} 30)"><text y="-12">{title}</text>')
        parts.append('<path d="M0 0V220H200" fill="none" stroke="#888"/>')
        for power in range(math.ceil(low), math.floor(high) + 1):
            y = 220 * (high - power) / (high - low)
            parts.append(f'<text x="-6" y="{y:.0f}" text-anchor="end">1e{power}</text>')
        for j, size in enumerate(sizes):
            x = 200 * j / (len(sizes) - 1)
            parts.append(f'<text x="{x:.0f}" y="236" text-anchor="middle">{size}</text>')
        parts.append(f'<text x="100" y="254" text-anchor="middle">{over}</text>')
        for j, (name, line) in enumerate(lines.items()):
            points = " ".join(
                f"{200 * k / (len(sizes) - 1):.0f},"
                f"{220 * (high - math.log10(v)) / (high - low):.1f}"
                for k, v in enumerate(line["rms"])
            )
            colour = colours[j % len(colours)]
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
            parts.append(
                f'<text x="206" y="{10 + 13 * j}" fill="{colour}">{name} '
                f"{line['slope']:+.2f}</text>"
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--over", choices=["width", "layers"], default="width")
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw")
    parser.add_argument("--out", type=Path, default=Path("build/coordinate_check"))
    arguments = parser.parse_args()
    sizes = WIDTHS if arguments.over == "width" else LAYERS
    panels = {}
    for name in ("none", "mup") if arguments.over == "width" else ("none", "mup", "completep"):
        settings = Settings(
            optimizer=arguments.optimizer, lr=0.001, transfer=name, base_width=BASE.width,
            base_layers=BASE.layers,
        )  # fmt: skip
        panels[name] = check(arguments.over, sizes, settings)
        for layer, line in panels[name].items():
            values = " ".join(f"{v:9.2e}" for v in line["rms"])
            print(f"{name:10} {layer:20} {values}  slope {line['slope']:+.2f}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = {"over": arguments.over, "optimizer": arguments.optimizer, "sizes": sizes}
    (arguments.out / "coordinate_check.json").write_text(json.dumps(record | {"lines": panels}))
    (arguments.out / "coordinate_check.svg").write_text(svg(arguments.over, sizes, panels))


if __name__ == "__main__":
    main()
