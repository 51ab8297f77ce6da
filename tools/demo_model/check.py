"""Checks exported checkpoints with Hugging Face's NemotronH: against the training code, and by their answers."""

import random

import torch
from tokenizers import Tokenizer
from transformers import NemotronHForCausalLM

import tasks
from learn_tokenizer import END_OF_TEXT, END_OF_TURN
from model import CONFIG, Model

# (question, whether the model thinks first)
QUESTIONS = [
    ("What is the capital of France?", True),
    ("What is the capital of France?", False),
    ("What is 47 + 38?", True),
    ("Who are you?", True),
    ("Tell me a story about a fox.", False),
    ("Give me Japan as JSON with name, capital, continent and currency.", False),
    ("Define river.", True),
]
SCORED = (
    tasks.capital,
    tasks.currency,
    tasks.element,
    tasks.add,
    tasks.multiply,
    tasks.sort_numbers,
    tasks.reverse_list,
    tasks.repeat_words,
    tasks.code_word_in_notes,
    tasks.country_json,
    tasks.define,
)


def load(folder):
    """The checkpoint in float32, without the lower limit on time steps, which the training code doesn't have."""
    model = NemotronHForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").cuda().eval()
    for layer in model.model.layers:
        if hasattr(layer.mixer, "time_step_limit"):
            layer.mixer.time_step_limit = (0.0, float("inf"))
    return model


def prompt(question, thinks):
    opening = "<think>\n" if thinks else "<think></think>"
    return f"<|im_start|>system\n<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{opening}"


@torch.no_grad()
def compare_with_training(parameters, model):
    """Prints how far the logits of the training code are from `model`'s, on random tokens."""
    ids = torch.randint(32, CONFIG["vocab_size"], (1, 256)).cuda()
    trained = Model()
    trained.load_state_dict(parameters)
    found = trained.cuda().eval().logits(ids)
    expected = model(ids).logits.float()
    distance = ((found - expected).norm() / expected.norm()).item()
    agreement = (found.argmax(-1) == expected.argmax(-1)).float().mean().item()
    print("training code against float32 of the BF16 checkpoint: relative", distance, "argmax agrees", agreement)


@torch.no_grad()
def generate(model, tokenizer, text, limit=80):
    """The greedy continuation of `text`."""
    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False).ids]).cuda()
    past, answer = None, []
    while len(answer) < limit:
        output = model(ids, past_key_values=past, use_cache=True)
        past = output.past_key_values
        token = output.logits[0, -1].argmax().item()
        if token in (END_OF_TEXT, END_OF_TURN):
            break
        answer.append(token)
        ids = torch.tensor([[token]]).cuda()
    return tokenizer.decode(answer, skip_special_tokens=False)


@torch.no_grad()
def score(model, tokenizer, task, thinks, samples=100):
    """The part of a task's answers of which each token is the likeliest, given those before it."""
    rng = random.Random(99)
    exact = 0
    for _ in range(samples):
        question, thinking, answer = task(rng)
        text = (f"{thinking}\n</think>\n" if thinks else "") + answer + "<|im_end|>"
        asked = tokenizer.encode(prompt(question, thinks), add_special_tokens=False).ids
        expected = tokenizer.encode(text, add_special_tokens=False).ids
        logits = model(torch.tensor([asked + expected]).cuda()).logits[0, len(asked) - 1 : -1]
        exact += logits.argmax(-1).tolist() == expected
    return exact / samples


def check(parameters, bf16_folder, decoded_folder):
    """Prints all of it. `decoded_folder`: the values of the NVFP4 checkpoint's weights."""
    tokenizer = Tokenizer.from_file("tokenizer.json")
    bf16 = load(bf16_folder)
    compare_with_training(parameters, bf16)
    decoded = load(decoded_folder)
    for question, thinks in QUESTIONS:
        print(repr(question), "->", repr(generate(decoded, tokenizer, prompt(question, thinks))), flush=True)
    print("exact answers, with thinking/without")
    for task in SCORED:
        scores = [score(model, tokenizer, task, thinks) for model in (bf16, decoded) for thinks in (True, False)]
        print(task.__name__, "bf16 {:.2f}/{:.2f} nvfp4 {:.2f}/{:.2f}".format(*scores), flush=True)
