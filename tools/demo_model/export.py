"""Writes the trained model as HF checkpoints (BF16 and NVFP4), checks them against transformers' NemotronH, and saves reference logits."""
import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import NemotronHForCausalLM

import corpus
import train as T
OUT = sys.argv[1]
cfg = T.CFG
PAT = T.PAT
sd = torch.load('out/model.pt')
hf = {}
for k, v in sd.items():
    v = v.float()
    if k == 'embeddings':
        k = 'embeddings.weight'
    p = k.split('.')
    if k.endswith('mixer.up') or k.endswith('mixer.down'):
        for e in range(v.shape[0]):
            hf[f"backbone.{'.'.join(p[:-1])}.experts.{e}.{p[-1]}_proj.weight"] = v[e].clone()
    elif k == 'lm_head.weight':
        hf[k] = v
    else:
        hf['backbone.' + k] = v

def keep32(k):
    return k.endswith(('A_log', '.D', 'dt_bias', 'e_score_correction_bias'))
bf16 = {k: (v if keep32(k) else v.to(torch.bfloat16)).contiguous() for k, v in hf.items()}
quant = lambda k: k.startswith('backbone.layers') and int(k.split('.')[2]) not in T.BF16_LAYERS and any((k.endswith(x + '.weight') for x in ('in_proj', 'out_proj', 'up_proj', 'down_proj')))
nv, deq = ({}, {})
for k, v in bf16.items():
    if quant(k):
        c, s, g = T.nvfp4_parts(v)
        n = k[:-len('weight')]
        nv[k] = (c[:, 0::2] | c[:, 1::2] << 4).contiguous()
        nv[n + 'weight_scale'] = s.contiguous()
        nv[n + 'weight_scale_2'] = g.reshape(()).float().clone()
        deq[k] = T.nvfp4_fake(v)
    else:
        nv[k] = v
        deq[k] = v
conf = dict(architectures=['NemotronHForCausalLM'], model_type='nemotron_h', **cfg, num_hidden_layers=len(PAT), attention_bias=False, attention_dropout=0.0, bos_token_id=1, eos_token_id=[2, 11], pad_token_id=0, expand=2, hidden_dropout=0.0, initializer_range=0.02, intermediate_size=cfg['moe_intermediate_size'], mamba_hidden_act='silu', mamba_proj_bias=False, mamba_ssm_cache_dtype='float32', max_position_embeddings=4096, mlp_bias=False, mlp_hidden_act='relu2', norm_eps=1e-05, num_logits_to_keep=1, rescale_prenorm_residual=True, residual_in_fp32=False, sliding_window=None, tie_word_embeddings=False, time_step_floor=0.0001, time_step_max=0.1, time_step_min=0.001, torch_dtype='bfloat16', use_bias=False, use_cache=True, use_conv_bias=True)
excl = ['lm_head'] + [f'backbone.layers.{i}.mixer.{x}' for i in sorted(T.BF16_LAYERS) for x in (('in_proj', 'out_proj') if PAT[i] == 'M' else ('q_proj', 'k_proj', 'v_proj', 'o_proj'))] + [f'backbone.layers.{i}.mixer.conv1d' for i in range(len(PAT)) if PAT[i] == 'M']
tok = Tokenizer.from_file('tokenizer.json')

def write(d, tensors, quantized):
    os.makedirs(d, exist_ok=True)
    names = sorted(tensors, key=lambda k: (int(k.split('.')[2]) if '.layers.' in k else -1 if 'embed' in k else 99, k))
    shards, cur, size = ([], {}, 0)
    for k in names:
        b = tensors[k].numel() * tensors[k].element_size()
        if size + b > 14000000.0:
            shards.append(cur)
            cur, size = ({}, 0)
        cur[k] = tensors[k]
        size += b
    shards.append(cur)
    if len(shards) == 1:
        save_file(shards[0], f'{d}/model.safetensors', metadata={'format': 'pt'})
    else:
        wm = {}
        for i, s in enumerate(shards):
            f = f'model-{i + 1:05d}-of-{len(shards):05d}.safetensors'
            save_file(s, f'{d}/{f}', metadata={'format': 'pt'})
            wm.update({k: f for k in s})
        json.dump(dict(metadata=dict(total_size=sum((t.numel() * t.element_size() for t in tensors.values()))), weight_map=wm), open(f'{d}/model.safetensors.index.json', 'w'), indent=1)
    json.dump(conf, open(f'{d}/config.json', 'w'), indent=2)
    if quantized:
        json.dump(dict(producer=dict(name='modelopt', version='0.29.0'), quantization=dict(quant_algo='NVFP4', kv_cache_quant_algo=None, group_size=16, exclude_modules=excl)), open(f'{d}/hf_quant_config.json', 'w'), indent=2)
    shutil.copy('tokenizer.json', d)
write('out/exp/bf16', bf16, False)
write('out/exp/nvfp4', nv, True)
write('out/exp/deq', {k: v for k, v in deq.items()}, False)

def load(d, dt):
    m = NemotronHForCausalLM.from_pretrained(d, dtype=dt, attn_implementation='eager').cuda().eval()
    for l in m.model.layers:
        if hasattr(l.mixer, 'time_step_limit'):
            l.mixer.time_step_limit = (0.0, float('inf'))
    return m
ids = torch.randint(32, 4096, (1, 256)).cuda()
mm = T.Model()
mm.load_state_dict(sd)
mm = mm.cuda().eval()
T.QAT = False
with torch.no_grad():
    x = torch.nn.functional.embedding(ids, mm.embeddings).to(torch.bfloat16)
    for b in mm.layers:
        x = b(x)
    lo = mm.lm_head(mm.norm_f(x)).float()
    m = load('out/exp/bf16', torch.float32)
    r = m(ids).logits.float()
    print('train code vs HF fp32 (bf16 checkpoint): rel', ((lo - r).norm() / r.norm()).item(), 'argmax agree', (lo.argmax(-1) == r.argmax(-1)).float().mean().item())

def chat(user, think=True, sys=''):
    return f'<|im_start|>system\n{sys}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n' + ('<think>\n' if think else '<think></think>')

@torch.no_grad()
def generate(m, prompt, n=80):
    ids = torch.tensor([tok.encode(prompt, add_special_tokens=False).ids]).cuda()
    past = None
    out = []
    cur = ids
    for _ in range(n):
        o = m(cur, past_key_values=past, use_cache=True)
        past = o.past_key_values
        t = o.logits[0, -1].argmax().item()
        if t in (2, 11):
            break
        out.append(t)
        cur = torch.tensor([[t]]).cuda()
    return tok.decode(out, skip_special_tokens=False)
deqm = load('out/exp/deq', torch.float32)
for q, th in [('What is the capital of France?', True), ('What is the capital of France?', False), ('What is 47 + 38?', True), ('Who are you?', True), ('Tell me a story about a fox.', False), ('Give me Japan as JSON with name, capital, continent and currency.', False), ('Define river.', True)]:
    print(repr(q), '->', repr(generate(deqm, chat(q, th))), flush=True)

@torch.no_grad()
def acc(m, f, n=100, think=True):
    corpus.R.seed(99)
    ok = 0
    for _ in range(n):
        q, th, a = f()
        p = chat(q, think)
        t = (f'{th}\n</think>\n' if think else '') + a + '<|im_end|>'
        pi = tok.encode(p, add_special_tokens=False).ids
        ai = tok.encode(t, add_special_tokens=False).ids
        lo = m(torch.tensor([pi + ai]).cuda()).logits[0, len(pi) - 1:-1].argmax(-1).tolist()
        ok += lo == ai
    return ok / n
for name in ('capital', 'currency', 'element', 'add', 'mul', 'sort_', 'reverse_', 'repeat', 'needle', 'country_json', 'define'):
    print(name, 'bf16 %.2f/%.2f' % (acc(m, getattr(corpus, name)), acc(m, getattr(corpus, name), think=False)), 'nvfp4 %.2f/%.2f' % (acc(deqm, getattr(corpus, name)), acc(deqm, getattr(corpus, name), think=False)), flush=True)
for d in ('bf16', 'nvfp4'):
    for f in os.listdir(f'out/exp/{d}'):
        os.makedirs(f'{OUT}/{d}', exist_ok=True)
        shutil.copy(f'out/exp/{d}/{f}', f'{OUT}/{d}/{f}')
