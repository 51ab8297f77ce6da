"""Trains the demo model: `python3 train.py SECONDS`.

Reads text.txt.gz; makes tokenizer.json and out/data.npz unless they are there; writes out/model.pt. Needs a CUDA GPU.
"""

import os
import sys
import time

import numpy as np
import torch

from dataset import END_OF_TEXT, LEARNED, ROW, read_prose, write_dataset
from learn_tokenizer import learn_tokenizer
from model import BF16_LAYERS, CONFIG, Model, Moe, train_with_nvfp4

BATCH = 64
LEARNING_RATE = 0.003
WARM_UP_STEPS = 200
# Parts of the training time from which on the learning rate falls, weights are rounded to NVFP4, and the selection
# biases rest, so that the last steps see the router that is shipped.
DECAY_FROM, NVFP4_FROM, BIASES_UNTIL = 0.5, 0.7, 0.9
BIAS_STEP = 0.001


def learning_rate(step, done):
    """After a linear warm-up constant, then falling linearly to a hundredth. `done`: the part of the time passed."""
    warm_up = min(1, (step + 1) / WARM_UP_STEPS)
    return LEARNING_RATE * warm_up * (1 if done < DECAY_FROM else max(0.01, (1 - done) / (1 - DECAY_FROM)))


def make_optimizer(model):
    """AdamW; norms, biases, decays and convolutions have no weight decay."""
    decays = {name: p.ndim >= 2 and "conv" not in name for name, p in model.named_parameters()}
    groups = [
        {"params": [p for name, p in model.named_parameters() if decays[name]], "weight_decay": 0.1},
        {"params": [p for name, p in model.named_parameters() if not decays[name]], "weight_decay": 0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95), fused=True)


def load_data(started):
    """ids i32 and weights u8, [rows, ROW + 1], on the GPU."""
    if not os.path.exists("tokenizer.json"):
        learn_tokenizer(read_prose(), "tokenizer.json")
        print("tokenizer", time.time() - started, flush=True)
    if not os.path.exists("out/data.npz"):
        write_dataset("out/data.npz")
    data = np.load("out/data.npz")
    ids = torch.from_numpy(data["ids"].astype(np.int32)).cuda()
    weights = torch.from_numpy(data["wt"]).cuda()
    padding = (ids == END_OF_TEXT).float().mean().item()
    print("data", ids.shape, "padding", padding, time.time() - started, flush=True)
    return ids, weights


def loss_weights(weights):
    """Of what the data says in tenths: the assistant's words 1, the rest a twentieth."""
    weights = weights.float() / LEARNED
    return torch.where(weights < 0.5, weights * 0.5, weights)


@torch.no_grad()
def balance_experts(mixtures):
    """Moves each expert's selection bias against its load, in place of a loss (Wang et al. 2024, arXiv:2408.15664)."""
    fair = CONFIG["num_experts_per_tok"] / CONFIG["n_routed_experts"]
    for mixture in mixtures:
        mixture.gate.e_score_correction_bias += BIAS_STEP * torch.sign(fair - mixture.load)


def train(seconds):
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    ids, weights = load_data(time.time())
    model = Model().cuda()
    print("params", sum(p.numel() for p in model.parameters()), "bf16 layers", sorted(BF16_LAYERS))
    optimizer = make_optimizer(model)
    mixtures = [block.mixer for block in model.layers if isinstance(block.mixer, Moe)]
    model.train()
    compiled = torch.compile(model)
    step, done, rounds_weights = 0, 0.0, False
    started = None  # at the end of the first step, which compiles
    reported = time.time()
    while done < 1:
        done = (time.time() - started) / seconds if started else 0.0
        if done > NVFP4_FROM and not rounds_weights:
            rounds_weights = True
            train_with_nvfp4(model)
            torch._dynamo.reset()
            compiled = torch.compile(model)
            print("NVFP4 weights from step", step, flush=True)
        rate = learning_rate(step, done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = torch.randint(0, ids.shape[0], (BATCH,), device="cuda")
        batch = ids[rows].long()
        loss = compiled(batch[:, :-1], batch[:, 1:], loss_weights(weights[rows])[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if done < BIASES_UNTIL:
            balance_experts(mixtures)
        step += 1
        if started is None:
            torch.cuda.synchronize()
            started = time.time()
        if step % 200 == 0:
            now = time.time()
            speed = 200 * BATCH * ROW / (now - reported) / 1e6
            print(f"{step} loss {loss.item():.4f} lr {rate:.5f} done {done:.3f} {speed:.2f} Mtok/s", flush=True)
            reported = now
    torch.save(model.state_dict(), "out/model.pt")
    print("saved", step)


if __name__ == "__main__":
    os.makedirs("out", exist_ok=True)
    train(float(sys.argv[1]))
