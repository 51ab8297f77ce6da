"""Trains the demo model: a Nemotron-H hybrid (Mamba2 + MoE + attention) of about twelve million parameters."""
import gzip
import math
import multiprocessing as mp
import os
import random
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import corpus
CFG = dict(vocab_size=4096, hidden_size=256, hybrid_override_pattern='MEM*EMEMEM*E', mamba_num_heads=8, mamba_head_dim=64, n_groups=2, ssm_state_size=64, conv_kernel=4, num_attention_heads=8, num_key_value_heads=2, head_dim=64, n_routed_experts=16, num_experts_per_tok=4, n_shared_experts=1, moe_intermediate_size=160, moe_shared_expert_intermediate_size=320, routed_scaling_factor=2.5, norm_topk_prob=True, n_group=1, topk_group=1, layer_norm_epsilon=1e-05, chunk_size=64)
EPS = CFG['layer_norm_epsilon']
PAT = CFG['hybrid_override_pattern']
# Stay BF16 in the NVFP4 checkpoint: attention, and the Mamba2 block in front of each attention block.
BF16_LAYERS = {i for i, c in enumerate(PAT) if c == '*'} | {max((j for j in range(i) if PAT[j] == 'M')) for i, c in enumerate(PAT) if c == '*'}

def nvfp4_parts(w):
    """w [..., out, in] -> (codes uint8 [..., out, in], block scales e4m3 [..., out, in/16], global scale f32 [..., 1, 1])."""
    w = w.float()
    i = w.shape[-1]
    g = w.abs().amax((-2, -1), keepdim=True) / (6 * 448)
    b = w.reshape(*w.shape[:-1], i // 16, 16)
    s = (b.abs().amax(-1) / 6 / g).clamp(max=448).to(torch.float8_e4m3fn)
    q = b / (s.float() * g).clamp(min=1e-30)[..., None]
    mag = q.abs()
    code = (mag > 0.25).to(torch.uint8)
    for m in (0.75, 1.25, 1.75, 2.5, 3.5, 5.0):
        code = code + (mag > m).to(torch.uint8)
    return ((code + (q < 0).to(torch.uint8) * 8).reshape(w.shape), s, g)

def e2m1(code):
    m = (code & 7).float()
    v = torch.where(m < 4, m * 0.5, torch.where(m < 6, m - 2, m * 2 - 8))
    return torch.where(code >= 8, -v, v)

def nvfp4_fake(w):
    with torch.no_grad():
        c, s, g = nvfp4_parts(w)
        i = w.shape[-1]
        return (e2m1(c).reshape(*w.shape[:-1], i // 16, 16) * (s.float() * g)[..., None]).reshape(w.shape)

class Q(torch.autograd.Function):

    @staticmethod
    def forward(ctx, w):
        return nvfp4_fake(w)

    @staticmethod
    def backward(ctx, g):
        return g
QAT = False

class Lin(nn.Module):

    def __init__(self, i, o, q=False, std=None):
        super().__init__()
        self.q = q
        self.weight = nn.Parameter(torch.randn(o, i) * (std or i ** (-0.5)))

    def w(self):
        return (Q.apply(self.weight) if QAT and self.q else self.weight).to(torch.bfloat16)

    def forward(self, x):
        return F.linear(x, self.w())

class RMS(nn.Module):

    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        x = x.float()
        return (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * self.weight).to(torch.bfloat16)

class GRMS(nn.Module):

    def __init__(self, d, g):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.g = g

    def forward(self, x, z):
        x = x.float() * F.silu(z.float())
        s = x.shape
        x = x.view(*s[:-1], self.g, -1)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS)
        return (x.view(s) * self.weight).to(torch.bfloat16)

class Conv(nn.Module):

    def __init__(self, d, k):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d, 1, k) * k ** (-0.5))
        self.bias = nn.Parameter(torch.zeros(d))

class Mamba(nn.Module):

    def __init__(self, q):
        super().__init__()
        c = CFG
        self.h, self.p, self.g, self.n = (c['mamba_num_heads'], c['mamba_head_dim'], c['n_groups'], c['ssm_state_size'])
        self.di = self.h * self.p
        self.dc = self.di + 2 * self.g * self.n
        self.in_proj = Lin(c['hidden_size'], self.di + self.dc + self.h, q)
        self.out_proj = Lin(self.di, c['hidden_size'], q, std=self.di ** (-0.5) / math.sqrt(2 * len(PAT)))
        self.conv1d = Conv(self.dc, c['conv_kernel'])
        dt = torch.exp(torch.rand(self.h) * (math.log(0.1) - math.log(0.001)) + math.log(0.001))
        self.dt_bias = nn.Parameter(dt + torch.log(-torch.expm1(-dt)))
        self.A_log = nn.Parameter(torch.log(torch.rand(self.h) * 15 + 1))
        self.D = nn.Parameter(torch.ones(self.h))
        self.norm = GRMS(self.di, self.g)

    def forward(self, u):
        b, l, _ = u.shape
        h, p, g, n = (self.h, self.p, self.g, self.n)
        Lc = CFG['chunk_size']
        c = l // Lc
        z, xbc, dt = self.in_proj(u).split([self.di, self.dc, h], -1)
        xbc = F.silu(F.conv1d(F.pad(xbc.transpose(1, 2), (3, 0)), self.conv1d.weight.to(xbc.dtype), self.conv1d.bias.to(xbc.dtype), groups=self.dc)).transpose(1, 2)
        x, B, C = xbc.split([self.di, g * n, g * n], -1)
        dt = F.softplus(dt.float() + self.dt_bias)
        A = -torch.exp(self.A_log)
        x = x.reshape(b, c, Lc, g, h // g, p)
        B = B.reshape(b, c, Lc, g, n)
        C = C.reshape(b, c, Lc, g, n)
        dt = dt.view(b, c, Lc, g, h // g)
        cum = torch.cumsum(dt * A.view(g, h // g), 2)
        seg = cum[:, :, :, None] - cum[:, :, None]
        mask = torch.ones(Lc, Lc, dtype=torch.bool, device=u.device).tril()[None, None, :, :, None, None]
        Lm = torch.exp(torch.where(mask, seg, -torch.inf))
        xd = (x * dt[..., None]).to(torch.bfloat16)
        G = torch.einsum('bclgn,bcsgn->bclsg', C, B)
        Y = torch.einsum('bclsge,bcsgep->bclgep', (G[..., None] * Lm).to(torch.bfloat16), xd)
        dec = torch.exp(cum[:, :, -1:] - cum)
        S = torch.einsum('bcsgn,bcsgep->bcgepn', B, (xd * dec[..., None]).to(torch.bfloat16)).float()
        cd = torch.exp(cum[:, :, -1])[..., None, None]
        st = torch.zeros_like(S[:, 0])
        prev = []
        for i in range(c):
            prev.append(st)
            st = st * cd[:, i] + S[:, i]
        P = torch.stack(prev, 1)
        Y = Y + torch.einsum('bclgn,bcgepn->bclgep', C, P.to(torch.bfloat16)) * torch.exp(cum)[..., None]
        Y = Y + x * self.D.view(g, h // g, 1)
        return self.out_proj(self.norm(Y.reshape(b, l, -1), z))

class Attn(nn.Module):

    def __init__(self, q):
        super().__init__()
        c = CFG
        self.h, self.kv, self.d = (c['num_attention_heads'], c['num_key_value_heads'], c['head_dim'])
        D = c['hidden_size']
        self.q_proj = Lin(D, self.h * self.d, q)
        self.k_proj = Lin(D, self.kv * self.d, q)
        self.v_proj = Lin(D, self.kv * self.d, q)
        self.o_proj = Lin(self.h * self.d, D, q, std=(self.h * self.d) ** (-0.5) / math.sqrt(2 * len(PAT)))

    def forward(self, x):
        b, l, _ = x.shape
        f = lambda y, n: y.view(b, l, n, self.d).transpose(1, 2)
        o = F.scaled_dot_product_attention(f(self.q_proj(x), self.h), f(self.k_proj(x), self.kv), f(self.v_proj(x), self.kv), is_causal=True, enable_gqa=True)
        return self.o_proj(o.transpose(1, 2).reshape(b, l, -1))

class MLP(nn.Module):

    def __init__(self, i, q):
        super().__init__()
        self.up_proj = Lin(CFG['hidden_size'], i, q)
        self.down_proj = Lin(i, CFG['hidden_size'], q, std=i ** (-0.5) / math.sqrt(2 * len(PAT)))

    def forward(self, x):
        return self.down_proj(F.relu(self.up_proj(x)).square())

class Gate(nn.Module):

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CFG['n_routed_experts'], CFG['hidden_size']) * 0.02)
        self.register_buffer('e_score_correction_bias', torch.zeros(CFG['n_routed_experts']))

class MoE(nn.Module):

    def __init__(self, q):
        super().__init__()
        c = CFG
        self.E, self.I, D = (c['n_routed_experts'], c['moe_intermediate_size'], c['hidden_size'])
        self.q = q
        self.gate = Gate()
        self.up = nn.Parameter(torch.randn(self.E, self.I, D) * D ** (-0.5))
        self.down = nn.Parameter(torch.randn(self.E, D, self.I) * self.I ** (-0.5) / math.sqrt(2 * len(PAT)))
        self.shared_experts = MLP(c['moe_shared_expert_intermediate_size'], q)
        self.register_buffer('load', torch.zeros(self.E), persistent=False)

    def qw(self, w):
        return Q.apply(w) if QAT and self.q else w

    def forward(self, x):
        b, l, d = x.shape
        t = x.reshape(-1, d)
        s = F.linear(t.float(), self.gate.weight.float()).sigmoid()
        idx = (s + self.gate.e_score_correction_bias).topk(CFG['num_experts_per_tok'], -1)[1]
        w = s.gather(1, idx)
        w = w / (w.sum(-1, keepdim=True) + 1e-20) * CFG['routed_scaling_factor']
        full = torch.zeros_like(s).scatter(1, idx, w)
        if self.training:
            self.load.copy_((full > 0).float().mean(0))
        h = F.relu(F.linear(t, self.qw(self.up).reshape(-1, d).to(torch.bfloat16))).square()
        h = (h.view(-1, self.E, self.I) * full[..., None].to(torch.bfloat16)).view(-1, self.E * self.I)
        o = F.linear(h, self.qw(self.down).permute(1, 0, 2).reshape(d, -1).to(torch.bfloat16))
        return o.view(b, l, d) + self.shared_experts(x)

class Block(nn.Module):

    def __init__(self, i):
        super().__init__()
        q = i not in BF16_LAYERS
        self.norm = RMS(CFG['hidden_size'])
        self.mixer = {'M': lambda: Mamba(q), 'E': lambda: MoE(q), '*': lambda: Attn(q)}[PAT[i]]()

    def forward(self, x):
        return x + self.mixer(self.norm(x))

class Model(nn.Module):

    def __init__(self):
        super().__init__()
        D = CFG['hidden_size']
        self.embeddings = nn.Parameter(torch.randn(CFG['vocab_size'], D) * 0.02 * 10)
        self.layers = nn.ModuleList((Block(i) for i in range(len(PAT))))
        self.norm_f = RMS(D)
        self.lm_head = Lin(D, CFG['vocab_size'])

    def forward(self, ids, labels, wt):
        x = F.embedding(ids, self.embeddings).to(torch.bfloat16)
        for b in self.layers:
            x = b(x)
        lo = self.lm_head(self.norm_f(x)).float()
        ce = F.cross_entropy(lo.reshape(-1, lo.shape[-1]), labels.reshape(-1), reduction='none')
        return (ce * wt.reshape(-1)).sum() / wt.sum().clamp(min=1)
REGEX = '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
SPECIALS = ['<unk>', '<s>', '</s>'] + [f'<SPECIAL_{i}>' for i in range(3, 10)] + ['<|im_start|>', '<|im_end|>', '<think>', '</think>', '<tool_call>', '</tool_call>', '<tool_response>', '</tool_response>'] + [f'<SPECIAL_{i}>' for i in range(18, 32)]

def make_tokenizer(text):
    from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers, Regex, AddedToken
    corpus.R.seed(7)
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(REGEX), 'isolated'), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    tr = trainers.BpeTrainer(vocab_size=CFG['vocab_size'], special_tokens=[AddedToken(s, special=True) for s in SPECIALS], initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    it = [''.join((s for s, _ in corpus.sample())) for _ in range(60000)] + [text[i:i + 5000] for i in range(0, len(text), 15000)]
    t.train_from_iterator(it, tr)
    t.save('tokenizer.json')
    return t
L = 1024

def worker(a):
    seed, rows = a
    from tokenizers import Tokenizer
    tok = Tokenizer.from_file('tokenizer.json')
    text = gzip.open('text.txt.gz', 'rt').read()
    corpus.R.seed(seed)
    r = random.Random(seed)
    ids = np.zeros((rows, L + 1), np.uint16)
    wt = np.zeros((rows, L + 1), np.uint8)
    for i in range(rows):
        a, w = ([], [])
        while len(a) < L + 1:
            segs = corpus.text_sample(text) if r.random() < 0.06 else corpus.sample()
            full = ''.join((s for s, _ in segs))
            enc = tok.encode(full, add_special_tokens=False)
            ends = np.cumsum([len(s) for s, _ in segs])
            fl = [f for _, f in segs]
            if len(a) and len(a) + len(enc.ids) > L + 1 and (r.random() < 0.7):
                pad = L + 1 - len(a)
                a += [2] * pad
                w += [0] * pad
                break
            for t, (s, e) in zip(enc.ids, enc.offsets):
                a.append(t)
                w.append(10 if fl[min(int(np.searchsorted(ends, s, side='right')), len(fl) - 1)] else 1)
        ids[i] = a[:L + 1]
        wt[i] = w[:L + 1]
    return (ids, wt)

def main(seconds):
    global QAT
    torch.manual_seed(0)
    torch.set_float32_matmul_precision('high')
    dev = 'cuda'
    t0 = time.time()
    if not os.path.exists('tokenizer.json'):
        make_tokenizer(gzip.open('text.txt.gz', 'rt').read())
        print('tokenizer', time.time() - t0, flush=True)
    if not os.path.exists('out/data.npz'):
        with mp.Pool(16) as p:
            parts = p.map(worker, [(s, 2200) for s in range(48)])
        ids = np.concatenate([a for a, _ in parts])
        wt = np.concatenate([b for _, b in parts])
        np.savez('out/data.npz', ids=ids, wt=wt)
    d = np.load('out/data.npz')
    ids = torch.from_numpy(d['ids'].astype(np.int32)).to(dev)
    wt = torch.from_numpy(d['wt']).to(dev)
    print('data', ids.shape, 'padding', (ids == 2).float().mean().item(), time.time() - t0, flush=True)
    m = Model().to(dev)
    np_ = sum((p.numel() for p in m.parameters()))
    print('params', np_, 'bf16 layers', sorted(BF16_LAYERS))
    mats = [p for n, p in m.named_parameters() if p.ndim >= 2 and 'conv' not in n]
    rest = [p for n, p in m.named_parameters() if p.ndim < 2 or 'conv' in n]
    opt = torch.optim.AdamW([dict(params=mats, weight_decay=0.1), dict(params=rest, weight_decay=0)], lr=0.003, betas=(0.9, 0.95), fused=True)
    bs = 64
    step = 0
    start = None
    last = time.time()
    m.train()
    cm = torch.compile(m)
    moes = [b.mixer for b in m.layers if isinstance(b.mixer, MoE)]
    while True:
        frac = (time.time() - start) / seconds if start else 0.0
        if frac > 0.7 and (not QAT):
            QAT = True
            torch._dynamo.reset()
            cm = torch.compile(m)
            print('NVFP4 weights from step', step, flush=True)
        lr = 0.003 * min(1, (step + 1) / 200) * (1 if frac < 0.5 else max(0.01, 2 * (1 - frac)))
        for g in opt.param_groups:
            g['lr'] = lr
        j = torch.randint(0, ids.shape[0], (bs,), device=dev)
        x = ids[j].long()
        w = wt[j].float() / 10
        w = torch.where(w < 0.5, w * 0.5, w)
        loss = cm(x[:, :-1], x[:, 1:], w[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        with torch.no_grad():
            for e in moes:
                e.gate.e_score_correction_bias += 0.001 * torch.sign(CFG['num_experts_per_tok'] / CFG['n_routed_experts'] - e.load) * (1 if frac < 0.9 else 0)
        step += 1
        if start is None:
            torch.cuda.synchronize()
            start = time.time()
        if step % 200 == 0:
            now = time.time()
            print(f'{step} loss {loss.item():.4f} lr {lr:.5f} done {frac:.3f} {200 * bs * L / (now - last) / 1000000.0:.2f} Mtok/s', flush=True)
            last = now
        if frac >= 1:
            break
    torch.save(m.state_dict(), 'out/model.pt')
    print('saved', step)
if __name__ == '__main__':
    os.makedirs('out', exist_ok=True)
    main(float(sys.argv[1]))
