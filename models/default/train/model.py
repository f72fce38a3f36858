"""The model: a llama-family decoder (RMSNorm, RoPE, grouped-query attention, SwiGLU, tied embeddings),
with the rounding of the shipped file as an option of its weights ("fake quantization").

Not here: data, optimizers, file formats.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class Config:
    vocab: int = 8192
    dim: int = 256
    layers: int = 8
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 768
    context: int = 512
    rope_theta: float = 10000.0
    eps: float = 1e-5


CONFIGS = {
    "tiny": Config(dim=64, layers=2, heads=2, kv_heads=1, head_dim=32, ffn=128),  # for trying the program
    "small": Config(),  # 8.4 million parameters: two CPU cores train it in hours
    "large": Config(dim=384, layers=9, heads=6, kv_heads=2, ffn=1024),  # 17.3 million: for a GPU
}


def q4_0(weight):
    """What Q4_0 keeps of a matrix, [rows, cols]: per 32 values, d = (the value of largest magnitude, with its sign)
    / -8, q = floor(x / d + 8.5) in 0..15, value d * (q - 8) with d rounded to half precision (GGML's Q4_0)."""
    block = weight.float().reshape(-1, 32)
    top = block.gather(1, block.abs().argmax(1, keepdim=True))
    d = top / -8
    inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)
    q = (block * inverse + 8.5).floor().clamp(0, 15)
    return ((q - 8) * d.half().float()).reshape(weight.shape)


def q8_0(weight):
    """What Q8_0 keeps: per 32 values, d = max |x| / 127, q = round(x / d)."""
    block = weight.float().reshape(-1, 32)
    d = block.abs().amax(1, keepdim=True) / 127
    inverse = torch.where(d == 0, torch.zeros_like(d), 1 / d)
    return ((block * inverse).round() * d.half().float()).reshape(weight.shape)


def rounded(weight, rounding):
    """The rounded weight in the forward pass, the identity in the backward pass (straight-through)."""
    return weight + (rounding(weight) - weight).detach()


class Norm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.attn_norm, self.ffn_norm = Norm(c.dim, c.eps), Norm(c.dim, c.eps)
        self.attn_q = nn.Parameter(torch.empty(c.heads * c.head_dim, c.dim))
        self.attn_k = nn.Parameter(torch.empty(c.kv_heads * c.head_dim, c.dim))
        self.attn_v = nn.Parameter(torch.empty(c.kv_heads * c.head_dim, c.dim))
        self.attn_output = nn.Parameter(torch.empty(c.dim, c.heads * c.head_dim))
        self.ffn_gate = nn.Parameter(torch.empty(c.ffn, c.dim))
        self.ffn_up = nn.Parameter(torch.empty(c.ffn, c.dim))
        self.ffn_down = nn.Parameter(torch.empty(c.dim, c.ffn))

    def forward(self, x, cos, sin, mask, w):  # x [batch, tokens, dim]; w: name → matrix, rounded or not
        c, (b, t, _) = self.config, x.shape
        h = self.attn_norm(x)
        # One product for q, k and v, one for gate and up: fewer, larger matrix products.
        qkv = F.linear(h, torch.cat((w["attn_q"], w["attn_k"], w["attn_v"])))
        qkv = qkv.view(b, t, c.heads + 2 * c.kv_heads, c.head_dim).transpose(1, 2)
        qk, v = qkv[:, : c.heads + c.kv_heads], qkv[:, c.heads + c.kv_heads :]
        first, second = qk.chunk(2, -1)
        qk = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
        q, k = qk[:, : c.heads], qk[:, c.heads :]
        k, v = (y.repeat_interleave(c.heads // c.kv_heads, 1) for y in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + F.linear(y.transpose(1, 2).reshape(b, t, -1), w["attn_output"])
        gate, up = F.linear(self.ffn_norm(x), torch.cat((w["ffn_gate"], w["ffn_up"]))).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, w["ffn_down"])


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = c = config
        self.token_embd = nn.Parameter(torch.empty(c.vocab, c.dim))
        self.blk = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.output_norm = Norm(c.dim, c.eps)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = (2 * c.layers) ** -0.5 if name.endswith(("attn_output", "ffn_down")) else 1
                nn.init.normal_(p, std=0.02 if name == "token_embd" else scale * c.dim**-0.5 * 0.6)
        angles = torch.outer(torch.arange(c.context), c.rope_theta ** (-torch.arange(0, c.head_dim, 2) / c.head_dim))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def weights(self, quantized):
        """Every matrix by name, as the forward pass uses it."""
        matrices = {n: p for n, p in self.named_parameters() if p.dim() == 2}
        if not quantized:
            return matrices
        return {n: rounded(p, q8_0 if n == "token_embd" else q4_0) for n, p in matrices.items()}

    def forward(self, tokens, weights, targets=None, mask=None, dtype=torch.float32, last=None, scripts=None):
        """Logits [batch, tokens, vocab]; of one position a row, [batch, vocab], with `last` [batch]; or with targets
        the mean loss (targets of -1 do not count). With `scripts` [vocab, 2], which tokens belong to which of two
        scripts, also the mean of -log(1 - probability of the script that the target is not of)."""
        w = {n: p.to(dtype) for n, p in weights.items()}
        t = tokens.shape[1]
        cos, sin = self.cos[:t].to(dtype), self.sin[:t].to(dtype)
        x = F.embedding(tokens, w["token_embd"])
        for i, layer in enumerate(self.blk):
            prefix = f"blk.{i}."
            x = layer(x, cos, sin, mask, {n[len(prefix) :]: p for n, p in w.items() if n.startswith(prefix)})
        x = self.output_norm(x)
        if last is not None:
            x = x[torch.arange(len(x), device=x.device), last]
        logits = F.linear(x, w["token_embd"])
        if targets is None:
            return logits
        logits, targets = logits.float().view(-1, logits.shape[-1]), targets.reshape(-1)
        loss = F.cross_entropy(logits, targets, ignore_index=-1)
        if scripts is None:
            return loss
        shares = logits.softmax(-1) @ scripts  # [tokens, 2]
        wrong = (shares * scripts[targets].flip(1)).sum(1)
        return loss, -torch.log1p(-wrong.clamp(max=0.9999)).mean()


def document_mask(tokens, end):
    """True where a token may look: its own document, not later. [batch, 1, tokens, tokens]"""
    document = (tokens == end).cumsum(1)
    same = document[:, :, None] == document[:, None, :]
    return same.tril()[:, None]
