"""What `train_speed.py` is measured beside, each in a process of its own that steps when told to.

    transformers   its Llama, eager, as its Trainer runs it
    litgpt         its GPT, compiled, loss in chunks of its own, as its `pretrain` command runs it
    plain          a Llama of plain modules, compiled, all logits at once: nanoGPT's way

All: AdamW (PyTorch's fused kernel), clipped gradients, one pass over the whole batch, fp32 or bf16
autocast, whichever a trial of 2 rows finds faster. Talks in lines of JSON; needs no `pretrain`.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.norm = nn.RMSNorm(width, 1e-5), nn.RMSNorm(width, 1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, d = x.shape
        parts = self.qkv(self.attention_norm(x)).split(d, dim=-1)
        q, k, v = (p.view(b, t, self.heads, -1).transpose(1, 2) for p in parts)
        q, k = (_rotate(p, cos, sin) for p in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, t, d))
        h = self.norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1).to(x.dtype)


class Plain(nn.Module):
    def __init__(self, s: dict[str, int]) -> None:
        super().__init__()
        c = s["width"] // s["heads"]
        self.embed = nn.Embedding(s["vocab_size"], s["width"])
        self.blocks = nn.ModuleList(
            _Block(s["width"], s["heads"], s["hidden"]) for _ in range(s["layers"])
        )
        self.norm = nn.RMSNorm(s["width"], 1e-5)
        angle = torch.outer(torch.arange(s["length"]), 10_000.0 ** (-torch.arange(0, c, 2) / c))
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.norm(x), self.embed.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def _plain(s: dict[str, int]) -> tuple[nn.Module, Loss, Loss]:
    model = Plain(s)
    return model, model, torch.compile(model)


def _transformers(s: dict[str, int]) -> tuple[nn.Module, Loss, Loss]:
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=s["vocab_size"], hidden_size=s["width"], intermediate_size=s["hidden"],
        num_hidden_layers=s["layers"], num_attention_heads=s["heads"], rms_norm_eps=1e-5,
        max_position_embeddings=s["length"], tie_word_embeddings=True,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config)

    def loss(tokens: Tensor, targets: Tensor) -> Tensor:
        logits = model(tokens, use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    return model, loss, loss


def _litgpt(s: dict[str, int]) -> tuple[nn.Module, Loss, Loss]:
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    config = Config(
        block_size=s["length"], n_layer=s["layers"], n_embd=s["width"], n_head=s["heads"],
        vocab_size=s["vocab_size"], padded_vocab_size=s["vocab_size"], bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", intermediate_size=s["hidden"],
        rotary_percentage=1.0, parallel_residual=False,
    )  # fmt: skip
    model = GPT(config)
    model.lm_head.weight = model.transformer.wte.weight  # its option train.tie_embeddings
    for p in model.parameters():
        if p.ndim > 1:
            nn.init.normal_(p, std=0.02)
    compiled = torch.compile(model)

    def of(net: Any) -> Loss:
        return lambda tokens, targets: chunked_cross_entropy(net(tokens), targets)

    return model, of(model), of(compiled)


def say(**what: Any) -> None:
    print("@" + json.dumps(what), flush=True)


def main() -> None:
    shape, name = json.loads(sys.argv[1]), sys.argv[2]
    rows = torch.from_numpy(np.load(sys.argv[3]).astype(np.int64))
    torch.set_num_threads(shape["threads"])
    torch.manual_seed(0)
    make = {"transformers": _transformers, "litgpt": _litgpt, "plain": _plain}[name]
    model, eager, loss = make(shape)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    began, trial = time.perf_counter(), {}
    for dtype in (torch.float32, torch.bfloat16):
        for _ in range(2):
            start = time.perf_counter()
            with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
                value = eager(rows[0, :2, :-1], rows[0, :2, 1:])
            value.backward()
            model.zero_grad(set_to_none=True)
            trial[str(dtype)[6:]] = 2 * shape["length"] / (time.perf_counter() - start)
    precision = max(trial, key=lambda d: trial[d])
    say(trial=trial, precision=precision, trial_seconds=time.perf_counter() - began,
        parameters=sum(p.numel() for p in model.parameters()),
        torch=torch.__version__)  # fmt: skip
    for step, _ in enumerate(sys.stdin):
        start = time.perf_counter()
        batch = rows[step % len(rows)]
        use = {"dtype": torch.bfloat16, "enabled": precision == "bfloat16"}
        with torch.autocast("cpu", **use):
            value = loss(batch[:, :-1], batch[:, 1:])
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        say(loss=value.item(), seconds=time.perf_counter() - start,
            peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)  # fmt: skip


if __name__ == "__main__":
    main()
