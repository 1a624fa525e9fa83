"""A Llama small enough to train on two cores, in plain PyTorch.

The modules carry the names Hugging Face gives to the same weights, so the state dictionary can be
stored as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of the network; the defaults make about 0.87 million parameters."""

    vocabulary: int = 1024
    hidden: int = 128
    intermediate: int = 352
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    context: int = 2048
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head_size(self) -> int:
        """The width of one attention head."""
        return self.hidden // self.heads


class Linear(nn.Linear):
    """A linear layer without bias that can carry a low-rank adapter beside its weight."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)
        nn.init.normal_(self.weight, std=0.02)
        self.lora_a: nn.Parameter | None = None
        self.lora_b: nn.Parameter | None = None
        self.scale = 0.0

    def adapt(self, rank: int, alpha: float) -> None:
        """Freeze the weight and start an adapter that does nothing yet (its B is zero)."""
        self.weight.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, self.in_features))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        """Apply the weight, and the adapter if there is one."""
        y = functional.linear(x, self.weight)
        if self.lora_a is not None and self.lora_b is not None:
            low = functional.linear(x, self.lora_a)
            y = y + functional.linear(low, self.lora_b) * self.scale
        return y


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return functional.rms_norm(x, (x.shape[-1],), self.weight, self.epsilon)


def rotary_tables(length: int, shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding, of size ``(length, 1, head_size)``."""
    steps = torch.arange(0, shape.head_size, 2, dtype=torch.float32)
    frequencies = shape.rope_theta ** (-steps / shape.head_size)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn every head by its position, pairing the first half of a head with its second."""
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((-second, first), dim=-1) * sines


class Attention(nn.Module):
    """Causal attention in which several query heads share a key and value head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        kv_size = shape.kv_heads * shape.head_size
        self.shape = shape
        self.q_proj = Linear(shape.hidden, shape.hidden)
        self.k_proj = Linear(shape.hidden, kv_size)
        self.v_proj = Linear(shape.hidden, kv_size)
        self.o_proj = Linear(shape.hidden, shape.hidden)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Attend from every position to itself and the ones before."""
        batch, length, hidden = x.shape
        size, group = self.shape.head_size, self.shape.heads // self.shape.kv_heads

        def heads(y: Tensor) -> Tensor:
            return y.view(batch, length, -1, size)

        queries = rotate(heads(self.q_proj(x)), cosines, sines).transpose(1, 2)
        keys = rotate(heads(self.k_proj(x)), cosines, sines).transpose(1, 2)
        values = heads(self.v_proj(x)).transpose(1, 2)
        keys = keys.repeat_interleave(group, dim=1)
        values = values.repeat_interleave(group, dim=1)
        # Rows are padded on the right only, so the causal mask is all that is needed.
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        output: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, length, hidden))
        return output


class FeedForward(nn.Module):
    """The gated feed-forward part of a layer."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.hidden, shape.intermediate)
        self.up_proj = Linear(shape.hidden, shape.intermediate)
        self.down_proj = Linear(shape.intermediate, shape.hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the gate and both projections."""
        output: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return output


class Layer(nn.Module):
    """One layer: attention, then feed-forward, each added to its input."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_epsilon)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_epsilon)
        self.mlp = FeedForward(shape)

    def forward(self, x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
        """Run the layer."""
        x = x + self.self_attn(self.input_layernorm(x), cosines, sines)
        output: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return output


class Body(nn.Module):
    """Embeddings, layers and the last norm: what Hugging Face calls ``model``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_epsilon)


class TinyLlama(nn.Module):
    """The whole network; the output projection is the embedding itself."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Body(shape)

    def forward(self, ids: Tensor) -> Tensor:
        """Turn token ids ``(batch, length)`` into hidden states of the same length."""
        x: Tensor = self.model.embed_tokens(ids)
        cosines, sines = rotary_tables(ids.shape[1], self.shape)
        for layer in self.model.layers:
            x = layer(x, cosines, sines)
        output: Tensor = self.model.norm(x)
        return output

    def logits(self, states: Tensor) -> Tensor:
        """Scores of every token of the vocabulary for some hidden states."""
        return functional.linear(states, self.model.embed_tokens.weight)

    def linears(self) -> list[tuple[str, Linear]]:
        """Every adaptable layer with its name."""
        return [(name, module) for name, module in self.named_modules()
                if isinstance(module, Linear)]  # fmt: skip

    def adapt(self, rank: int, alpha: float) -> list[nn.Parameter]:
        """Freeze everything and return the parameters of a fresh adapter on all linear layers."""
        self.requires_grad_(False)
        fresh: list[nn.Parameter] = []
        for _, layer in self.linears():
            layer.adapt(rank, alpha)
            fresh += [p for p in (layer.lora_a, layer.lora_b) if p is not None]
        return fresh
