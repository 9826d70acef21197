"""The table of sizes: shapes by name, real ones from the papers and small ones to learn with.

1m … 405b           Llama 3 (Grattafiori et al. 2024, arXiv 2407.21783, table 3); the small ones
                    keep its proportions: heads of 32 to 128, hidden about 8/3 of the width
llama-1-7b, llama-2-70b       Touvron et al. 2023 (2302.13971, table 2; 2307.09288)
mistral-7b          Jiang et al. 2023 (2310.06825): windows of 4,096
qwen3-0.6b, qwen3-8b          Qwen Team 2025 (2505.09388, table 1)
gpt2-124m … -1558m  Radford et al. 2019, table 2
bert-base, bert-large         Devlin et al. 2018 (1810.04805)
modernbert-base, -large       Warner et al. 2024 (2412.13663, table 4)
transformer-base, -big        Vaswani et al. 2017 (1706.03762, table 3), as encoder and decoder
t5-small, t5-base   Raffel et al. 2020 (1910.10683); t5-v1.1-base: its gated successor
mixtral-8x7b        Jiang et al. 2024 (2401.04088, table 1)
qwen3-30b-a3b       Qwen Team 2025, table 2
dots1-142b          Huo et al. 2025 (2506.05767): shared experts, balance without a loss
"""

from dataclasses import replace

from pretrain.model.settings import Shape

_GPT2 = Shape(
    12, 768, 12, 12, 3072, positions="learned", max_length=1024, norm="layer",
    activation="gelu_tanh", gated=False, biased=True, tied=True,
)  # fmt: skip
_BERT = Shape(
    12, 768, 12, 12, 3072, positions="learned", max_length=512, norm="layer", norm_place="after",
    norm_epsilon=1e-12, activation="gelu", gated=False, biased=True, tied=True, causal=False,
    input_norm=True, n_segments=2, head_transform=True,
)  # fmt: skip
_MODERNBERT = Shape(
    22, 768, 12, 12, 1152, rope_theta=160_000.0, local_theta=10_000.0, window=128, global_every=3,
    norm="layer", first_norm=False, activation="gelu", tied=True, causal=False, input_norm=True,
    head_transform=True,
)  # fmt: skip
_TRANSFORMER = Shape(
    6, 512, 8, 8, 2048, positions="sinusoidal", norm="layer", norm_place="after",
    activation="relu", gated=False, biased=True, tied=True, embedding_scale=512**0.5,
    encoder_layers=6,
)  # fmt: skip
_T5 = Shape(
    6, 512, 8, 8, 2048, head_dim=64, positions="relative", norm_epsilon=1e-6, activation="relu",
    gated=False, tied=True, logit_scale=512**-0.5, encoder_layers=6,
)  # fmt: skip

SIZES = {
    "1m": Shape(4, 128, 4, 2, 384),
    "3m": Shape(4, 256, 4, 2, 704),
    "5m": Shape(6, 256, 4, 2, 704),
    "13m": Shape(6, 384, 6, 3, 1024),
    "30m": Shape(8, 512, 8, 4, 1408),
    "124m": Shape(12, 768, 12, 12, 2048),
    "350m": Shape(24, 1024, 16, 8, 2816),
    "1b": Shape(16, 2048, 32, 8, 8192, rope_theta=500_000.0, tied=True),  # Llama 3.2 1B
    "3b": Shape(28, 3072, 24, 8, 8192, rope_theta=500_000.0, tied=True),  # Llama 3.2 3B
    "8b": Shape(32, 4096, 32, 8, 14336, rope_theta=500_000.0),
    "70b": Shape(80, 8192, 64, 8, 28672, rope_theta=500_000.0),
    "405b": Shape(126, 16384, 128, 8, 53248, rope_theta=500_000.0),
    "llama-1-7b": Shape(32, 4096, 32, 32, 11008, norm_epsilon=1e-6),
    "llama-2-70b": Shape(80, 8192, 64, 8, 28672),
    "mistral-7b": Shape(32, 4096, 32, 8, 14336, window=4096),
    "qwen3-0.6b": Shape(
        28, 1024, 16, 8, 3072, head_dim=128, rope_theta=1e6, norm_epsilon=1e-6, qk_norm=True,
        tied=True,
    ),
    "qwen3-8b": Shape(
        36, 4096, 32, 8, 12288, head_dim=128, rope_theta=1e6, norm_epsilon=1e-6, qk_norm=True
    ),
    "gpt2-124m": _GPT2,
    "gpt2-355m": replace(_GPT2, layers=24, width=1024, heads=16, kv_heads=16, hidden=4096),
    "gpt2-774m": replace(_GPT2, layers=36, width=1280, heads=20, kv_heads=20, hidden=5120),
    "gpt2-1558m": replace(_GPT2, layers=48, width=1600, heads=25, kv_heads=25, hidden=6400),
    "bert-base": _BERT,
    "bert-large": replace(_BERT, layers=24, width=1024, heads=16, kv_heads=16, hidden=4096),
    "modernbert-base": _MODERNBERT,
    "modernbert-large": replace(
        _MODERNBERT, layers=28, width=1024, heads=16, kv_heads=16, hidden=2624
    ),
    "transformer-base": _TRANSFORMER,
    "transformer-big": replace(
        _TRANSFORMER, width=1024, heads=16, kv_heads=16, hidden=4096, embedding_scale=32.0
    ),
    "t5-small": _T5,
    "t5-base": replace(
        _T5, layers=12, encoder_layers=12, width=768, heads=12, kv_heads=12, hidden=3072,
        logit_scale=768**-0.5,
    ),
    "t5-v1.1-base": replace(
        _T5, layers=12, encoder_layers=12, width=768, heads=12, kv_heads=12, hidden=2048,
        activation="gelu_tanh", gated=True, tied=False, logit_scale=1.0,
    ),
    "mixtral-8x7b": Shape(
        32, 4096, 32, 8, 14336, rope_theta=1e6, experts=8, expert_hidden=14336
    ),
    "qwen3-30b-a3b": Shape(
        48, 2048, 32, 4, 6144, head_dim=128, rope_theta=1e6, norm_epsilon=1e-6, qk_norm=True,
        experts=128, experts_per_token=8, expert_hidden=768,
    ),
    "dots1-142b": Shape(
        62, 4096, 32, 32, 10944, head_dim=128, rope_theta=1e7, qk_norm=True, experts=128,
        experts_per_token=6, expert_hidden=1408, shared_hidden=2816, dense_layers=1,
        router="sigmoid", expert_scale=2.5,
    ),
}  # fmt: skip
