"""How ranks share the work: one size for each way of dividing it, `[train.layout]` of a recipe.

    pipeline    blocks in a row over ranks, in `virtual` stages each
    replicate   whole copies; what the other sizes leave of the world
    shard       parameters, gradients and moments, gathered block by block (FSDP2, HSDP)
    context     each row's tokens; keys and values are gathered
    tensor      heads, hidden units and vocabulary; between them each rank keeps some tokens
    expert      a layer's experts, over this many of the `shard` ranks

    world = pipeline x replicate x shard x context x tensor          outermost first (mesh.py)

Data ranks (replicate x shard) divide a batch's rows; the ranks of the other axes share theirs.
Nothing here imports torch: a recipe is checked before anything is started.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pretrain.errors import recipe_error
from pretrain.model.settings import Shape
from pretrain.settings import setting

Problem = tuple[str, str, str]  # key, what it is, what it must be

_INTERLEAVED = ("interleaved_1f1b", "interleaved_zero_bubble")
V_SHAPED = ("zbv_zero_bubble", "dualpipev")


@dataclass(frozen=True)
class Layout:
    shard: int = setting(
        1, "ranks over which parameters and moments are sharded; 0: all that are left", low=0
    )
    tensor: int = setting(1, "ranks that share each matrix", low=1)
    pipeline: int = setting(1, "ranks over which blocks are laid in a row", low=1)
    virtual: int = setting(1, "pipeline: stages of each rank", low=1)
    schedule: Literal[
        "gpipe", "1f1b", "interleaved_1f1b", "interleaved_zero_bubble", "zbv_zero_bubble",
        "dualpipev",
    ] = setting("1f1b", "pipeline: order of the micro-batches' passes")  # fmt: skip
    context: int = setting(1, "ranks that share each row's tokens", low=1)
    expert: int = setting(1, "of the shard ranks: over how many experts are laid out", low=1)
    recompute: Literal["none", "selective", "full"] = setting(
        "none", "of activations in the backward pass. selective: all but matrix products and "
        "attention; full: each block from its input",
    )  # fmt: skip

    def problems(self) -> Iterator[Problem]:
        if self.shard and self.shard % self.expert:
            what = f"{self.expert} expert ranks of {self.shard} shard ranks"
            yield "expert", what, "a divisor of train.layout.shard"
        stages = self.virtual
        if self.schedule in _INTERLEAVED and self.pipeline > 1 and stages < 2:
            what = f"schedule is '{self.schedule}' with one stage a rank"
            yield "virtual", what, "2 or more"
        if self.schedule in V_SHAPED and self.pipeline > 1 and stages != 2:
            what = f"schedule is '{self.schedule}' with {stages} stages a rank"
            yield "virtual", what, "2: one on the way down, one on the way back"
        if self.schedule in ("gpipe", "1f1b") and stages > 1:
            what = f"{stages} stages a rank with schedule = '{self.schedule}'"
            yield "virtual", what, "1, or a schedule for several (train.layout.schedule)"
        if self.pipeline == 1 and stages > 1:
            yield "virtual", f"{stages} stages a rank without a pipeline", "1"

    def misfit(self, shape: Shape) -> Problem | None:
        """Where a network cannot be divided so."""
        sizes = {"heads": shape.heads, "kv_heads": shape.kv_heads, "hidden": shape.hidden}
        if shape.experts:
            sizes |= {"expert_hidden": shape.expert_hidden, "shared_hidden": shape.shared_hidden}
        for name, size in sizes.items():
            if size % self.tensor:
                what = f"{self.tensor} tensor ranks share {size} {name}"
                return "tensor", what, f"a divisor of model.{name}"
        if self.tensor > 1 and shape.shared_hidden and shape.biased:
            return "tensor", "tensor ranks share a layer of experts with biases", "1"
        if self.context > 1 and shape.encoder_layers:
            return "context", "ranks share the tokens of an encoder's and a decoder's rows", "1"
        if self.context > 1 and shape.ahead:
            return "context", "ranks share a row's tokens with model.ahead", "1"
        if self.expert > 1 and (not shape.experts or shape.experts % self.expert):
            what = f"{self.expert} expert ranks for {shape.experts} experts"
            return "expert", what, "a divisor of model.experts; 1 without experts"
        if self.pipeline > 1 and shape.encoder_layers:
            return "pipeline", "a pipeline for an encoder and a decoder", "1"
        if self.pipeline > 1 and shape.ahead:
            return "pipeline", "a pipeline with model.ahead", "1"
        if self.pipeline > 1 and shape.tied and self.shard != 1 and self.schedule in V_SHAPED:
            what = f"schedule is '{self.schedule}', whose first rank has both ends of a tied matrix"
            return "schedule", what, "one without a V, or shard = 1, or model.tied = false"
        if self.stages > shape.layers:
            what = f"{self.stages} stages for {shape.layers} layers"
            return "pipeline", what, "at most one stage a layer (pipeline x virtual)"
        return None

    @property
    def stages(self) -> int:
        return self.pipeline * self.virtual

    def sizes(self, world: int) -> dict[str, int]:
        """Ranks along each axis, outermost first; RecipeError where the world does not divide."""
        inner = self.pipeline * self.context * self.tensor
        fixed = inner * (self.shard or self.expert)
        if world % fixed:
            named = {"pipeline": self.pipeline, "shard": self.shard or self.expert,
                     "context": self.context, "tensor": self.tensor}  # fmt: skip
            product = " x ".join(f"{name} {n}" for name, n in named.items() if n > 1)
            raise recipe_error(
                "train.layout",
                f"{product} = {fixed} ranks do not divide a world of {world}",
                f"a world of {fixed}, {2 * fixed}, {3 * fixed} … ranks, or a smaller layout",
            )
        shard = self.shard or world // inner
        return {
            "pipeline": self.pipeline,
            "replicate": world // (inner * shard),
            "shard": shard,
            "context": self.context,
            "tensor": self.tensor,
        }
