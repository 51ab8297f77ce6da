"""The demo model for training: a Nemotron-H hybrid with the parameter names of its checkpoints.

Every block is x + mixer(norm(x)), with a mixer per letter of the pattern: M is Mamba2, E a mixture of experts, * is
attention. Parameters are float32, products bfloat16.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

import nvfp4

CONFIG = {
    "vocab_size": 4096,
    "hidden_size": 256,
    "hybrid_override_pattern": "MEM*EMEMEM*E",
    "mamba_num_heads": 8,
    "mamba_head_dim": 64,
    "n_groups": 2,
    "ssm_state_size": 64,
    "conv_kernel": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "moe_intermediate_size": 160,
    "moe_shared_expert_intermediate_size": 320,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "n_group": 1,
    "topk_group": 1,
    "layer_norm_epsilon": 1e-05,
    "chunk_size": 64,
}
EPSILON = CONFIG["layer_norm_epsilon"]
HIDDEN = CONFIG["hidden_size"]
PATTERN = CONFIG["hybrid_override_pattern"]


def find_bf16_layers():
    """What NVFP4 checkpoints keep in BF16, as the releases do: attention, and the Mamba2 block in front of it."""
    attention = [layer for layer, kind in enumerate(PATTERN) if kind == "*"]
    return {*attention, *(PATTERN.rindex("M", 0, layer) for layer in attention)}


BF16_LAYERS = find_bf16_layers()
# What blocks add to the residual begins so much smaller, so that depth doesn't blow it up.
DEPTH_DIVISOR = math.sqrt(2 * len(PATTERN))


class Linear(nn.Module):
    """A linear layer without bias. `is_nvfp4`: stored as NVFP4; see train_with_nvfp4."""

    def __init__(self, inputs, outputs, is_nvfp4=False, divisor=1.0):
        super().__init__()
        self.is_nvfp4 = is_nvfp4
        self.is_rounded = False
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * (inputs**-0.5 / divisor))

    def forward(self, x):
        weight = nvfp4.RoundedWeight.apply(self.weight) if self.is_rounded else self.weight
        return F.linear(x, weight.to(torch.bfloat16))


class RmsNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        x = x.float()
        return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON) * self.weight).to(torch.bfloat16)


class GatedRmsNorm(nn.Module):
    """RMS norm of x * silu(gate), over each of `groups` parts by itself."""

    def __init__(self, size, groups):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.groups = groups

    def forward(self, x, gate):
        x = x.float() * F.silu(gate.float())
        shape = x.shape
        x = x.view(*shape[:-1], self.groups, -1)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPSILON)
        return (x.view(shape) * self.weight).to(torch.bfloat16)


class DepthwiseConv(nn.Module):
    """Weight [channels, 1, width] and bias of Mamba2's causal convolution."""

    def __init__(self, channels, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, 1, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        """x [batch, tokens, channels]."""
        width = self.weight.shape[-1]
        padded = F.pad(x.transpose(1, 2), (width - 1, 0))
        out = F.conv1d(padded, self.weight.to(x.dtype), self.bias.to(x.dtype), groups=x.shape[-1])
        return out.transpose(1, 2)


class Mamba2(nn.Module):
    def __init__(self, is_nvfp4):
        super().__init__()
        self.heads, self.head_dim = CONFIG["mamba_num_heads"], CONFIG["mamba_head_dim"]
        self.groups, self.state = CONFIG["n_groups"], CONFIG["ssm_state_size"]
        self.inner = self.heads * self.head_dim
        self.channels = self.inner + 2 * self.groups * self.state
        self.in_proj = Linear(HIDDEN, self.inner + self.channels + self.heads, is_nvfp4)
        self.out_proj = Linear(self.inner, HIDDEN, is_nvfp4, DEPTH_DIVISOR)
        self.conv1d = DepthwiseConv(self.channels, CONFIG["conv_kernel"])
        # Time steps begin log-uniform in [0.001, 0.1], the bias being softplus's inverse; decays uniform in [1, 16].
        step = torch.exp(torch.rand(self.heads) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.A_log = nn.Parameter(torch.log(torch.rand(self.heads) * 15 + 1))
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = GatedRmsNorm(self.inner, self.groups)

    def forward(self, hidden):
        """hidden [batch, tokens, HIDDEN], the tokens a multiple of the chunk size."""
        batch, tokens, _ = hidden.shape
        gate, conv_input, step = self.in_proj(hidden).split([self.inner, self.channels, self.heads], -1)
        conv_output = F.silu(self.conv1d(conv_input))
        x, B, C = conv_output.split([self.inner, self.groups * self.state, self.groups * self.state], -1)
        step = F.softplus(step.float() + self.dt_bias)
        y = self.scan(x, B, C, step)
        return self.out_proj(self.norm(y.reshape(batch, tokens, -1), gate))

    def scan(self, x, B, C, step):
        """The state-space recurrence in chunks (SSD; Dao & Gu 2024, arXiv:2405.21060).

        Letters of the products: b batch, c chunk, l and s tokens of a chunk, g group, e head of a group, p the head's
        dimension, n the state's.
        """
        batch, tokens, _ = x.shape
        length, heads = CONFIG["chunk_size"], self.heads // self.groups
        chunks = tokens // length
        x = x.reshape(batch, chunks, length, self.groups, heads, self.head_dim)
        B = B.reshape(batch, chunks, length, self.groups, self.state)
        C = C.reshape(batch, chunks, length, self.groups, self.state)
        step = step.view(batch, chunks, length, self.groups, heads)
        A = -torch.exp(self.A_log)
        log_decay = torch.cumsum(step * A.view(self.groups, heads), 2)  # from the chunk's beginning
        x_step = (x * step[..., None]).to(torch.bfloat16)

        # Within a chunk: as attention, with a decay from s to l.
        between = log_decay[:, :, :, None] - log_decay[:, :, None]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()[None, None, :, :, None, None]
        decay = torch.exp(torch.where(causal, between, -torch.inf))
        scores = torch.einsum("bclgn,bcsgn->bclsg", C, B)
        y = torch.einsum("bclsge,bcsgep->bclgep", (scores[..., None] * decay).to(torch.bfloat16), x_step)

        # Between chunks: the state at each one's beginning.
        to_end = torch.exp(log_decay[:, :, -1:] - log_decay)
        added = torch.einsum("bcsgn,bcsgep->bcgepn", B, (x_step * to_end[..., None]).to(torch.bfloat16)).float()
        chunk_decay = torch.exp(log_decay[:, :, -1])[..., None, None]
        state = torch.zeros_like(added[:, 0])
        states = []
        for chunk in range(chunks):
            states.append(state)
            state = state * chunk_decay[:, chunk] + added[:, chunk]
        states = torch.stack(states, 1).to(torch.bfloat16)
        y = y + torch.einsum("bclgn,bcgepn->bclgep", C, states) * torch.exp(log_decay)[..., None]
        return y + x * self.D.view(self.groups, heads, 1)


class Attention(nn.Module):
    """Causal attention with shared keys and values, and no positions: the Mamba2 blocks know the order."""

    def __init__(self, is_nvfp4):
        super().__init__()
        self.heads, self.kv_heads = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"]
        self.head_dim = CONFIG["head_dim"]
        self.q_proj = Linear(HIDDEN, self.heads * self.head_dim, is_nvfp4)
        self.k_proj = Linear(HIDDEN, self.kv_heads * self.head_dim, is_nvfp4)
        self.v_proj = Linear(HIDDEN, self.kv_heads * self.head_dim, is_nvfp4)
        self.o_proj = Linear(self.heads * self.head_dim, HIDDEN, is_nvfp4, DEPTH_DIVISOR)

    def forward(self, x):
        batch, tokens, _ = x.shape
        q = self.q_proj(x).view(batch, tokens, self.heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(batch, tokens, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(batch, tokens, self.kv_heads, self.head_dim).transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).reshape(batch, tokens, -1))


class Mlp(nn.Module):
    def __init__(self, width, is_nvfp4):
        super().__init__()
        self.up_proj = Linear(HIDDEN, width, is_nvfp4)
        self.down_proj = Linear(width, HIDDEN, is_nvfp4, DEPTH_DIVISOR)

    def forward(self, x):
        return self.down_proj(F.relu(self.up_proj(x)).square())


class Gate(nn.Module):
    """The router's weight, and the bias by which training balances the choice of experts."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CONFIG["n_routed_experts"], HIDDEN) * 0.02)
        self.register_buffer("e_score_correction_bias", torch.zeros(CONFIG["n_routed_experts"]))


class Moe(nn.Module):
    """A mixture of experts beside a shared one. Every expert computes every token, which is fast at this size."""

    def __init__(self, is_nvfp4):
        super().__init__()
        self.experts, self.width = CONFIG["n_routed_experts"], CONFIG["moe_intermediate_size"]
        self.is_nvfp4 = is_nvfp4
        self.is_rounded = False
        self.gate = Gate()
        self.up = nn.Parameter(torch.randn(self.experts, self.width, HIDDEN) * HIDDEN**-0.5)
        self.down = nn.Parameter(torch.randn(self.experts, HIDDEN, self.width) * self.width**-0.5 / DEPTH_DIVISOR)
        self.shared_experts = Mlp(CONFIG["moe_shared_expert_intermediate_size"], is_nvfp4)
        # The part of the last batch's tokens that chose each expert; the checkpoint doesn't keep it.
        self.register_buffer("load", torch.zeros(self.experts), persistent=False)

    def forward(self, x):
        batch, tokens, _ = x.shape
        flat = x.reshape(-1, HIDDEN)
        scores = F.linear(flat.float(), self.gate.weight.float()).sigmoid()
        chosen = (scores + self.gate.e_score_correction_bias).topk(CONFIG["num_experts_per_tok"], -1)[1]
        weights = scores.gather(1, chosen)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * CONFIG["routed_scaling_factor"]
        weights = torch.zeros_like(scores).scatter(1, chosen, weights)
        if self.training:
            self.load.copy_((weights > 0).float().mean(0))
        up = nvfp4.RoundedWeight.apply(self.up) if self.is_rounded else self.up
        down = nvfp4.RoundedWeight.apply(self.down) if self.is_rounded else self.down
        inner = F.relu(F.linear(flat, up.reshape(-1, HIDDEN).to(torch.bfloat16))).square()
        inner = inner.view(-1, self.experts, self.width) * weights[..., None].to(torch.bfloat16)
        out = F.linear(inner.view(len(flat), -1), down.permute(1, 0, 2).reshape(HIDDEN, -1).to(torch.bfloat16))
        return out.view(batch, tokens, HIDDEN) + self.shared_experts(x)


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        mixer = {"M": Mamba2, "E": Moe, "*": Attention}[PATTERN[layer]]
        self.norm = RmsNorm(HIDDEN)
        self.mixer = mixer(layer not in BF16_LAYERS)

    def forward(self, x):
        return x + self.mixer(self.norm(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = nn.Parameter(torch.randn(CONFIG["vocab_size"], HIDDEN) * 0.02 * 10)  # ten times the usual
        self.layers = nn.ModuleList(Block(layer) for layer in range(len(PATTERN)))
        self.norm_f = RmsNorm(HIDDEN)
        self.lm_head = Linear(HIDDEN, CONFIG["vocab_size"])

    def logits(self, ids):
        """f32 [batch, tokens, vocab]."""
        x = F.embedding(ids, self.embeddings).to(torch.bfloat16)
        for block in self.layers:
            x = block(x)
        return self.lm_head(self.norm_f(x)).float()

    def forward(self, ids, labels, weights):
        """The mean loss of `labels`, each counting as its weight says."""
        logits = self.logits(ids)
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), reduction="none")
        return (loss * weights.reshape(-1)).sum() / weights.sum().clamp(min=1)


def train_with_nvfp4(model):
    """From now on, weights that are stored as NVFP4 are rounded to it in the forward pass."""
    for module in model.modules():
        if getattr(module, "is_nvfp4", False):
            module.is_rounded = True
