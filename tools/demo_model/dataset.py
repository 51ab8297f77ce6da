"""Turns the corpus into rows of tokens with a weight each."""

import gzip
import multiprocessing
import random

import numpy as np
from tokenizers import Tokenizer

import corpus
from learn_tokenizer import END_OF_TEXT

ROW = 1024  # tokens that a row predicts
ROWS_PER_SEED, SEEDS = 2200, 48
LEARNED, CONTEXT = 10, 1  # what the assistant says, and the rest, in tenths


def read_prose():
    return gzip.open("text.txt.gz", "rt").read()


def fill_row(texts, length, is_cut):
    """`length` ids and weights from an iterator of (ids, weights). A text that doesn't fit is cut if `is_cut()`, else
    left out and the row filled with padding, which has no weight."""
    ids, weights = [], []
    while len(ids) < length:
        text_ids, text_weights = next(texts)
        if ids and len(ids) + len(text_ids) > length and not is_cut():
            padding = length - len(ids)
            return ids + [END_OF_TEXT] * padding, weights + [0] * padding
        ids += text_ids
        weights += text_weights
    return ids[:length], weights[:length]


def tokens_of(segments, tokenizer):
    """Ids and weights of a text, tokenized as a whole: a token belongs to the segment that it begins in."""
    encoding = tokenizer.encode("".join(text for text, _ in segments), add_special_tokens=False)
    ends = np.cumsum([len(text) for text, _ in segments])
    weights = []
    for begin, _ in encoding.offsets:
        segment = min(int(np.searchsorted(ends, begin, side="right")), len(segments) - 1)
        weights.append(LEARNED if segments[segment][1] else CONTEXT)
    return encoding.ids, weights


def make_rows(seed):
    """ROWS_PER_SEED rows as ids u16 and weights u8, [rows, ROW + 1]: 6 % of the texts are prose, the rest chats."""
    tokenizer = Tokenizer.from_file("tokenizer.json")
    prose = read_prose()
    of_texts, of_rows = random.Random(seed), random.Random(seed)

    def texts():
        while True:
            is_prose = of_rows.random() < 0.06
            yield tokens_of(corpus.passage(of_texts, prose) if is_prose else corpus.chat(of_texts), tokenizer)

    ids = np.zeros((ROWS_PER_SEED, ROW + 1), np.uint16)
    weights = np.zeros((ROWS_PER_SEED, ROW + 1), np.uint8)
    stream = texts()
    for row in range(ROWS_PER_SEED):
        ids[row], weights[row] = fill_row(stream, ROW + 1, lambda: of_rows.random() >= 0.7)
    return ids, weights


def write_dataset(path):
    """Makes all rows, on 16 processes, and writes them to `path`."""
    with multiprocessing.Pool(16) as pool:
        parts = pool.map(make_rows, range(SEEDS))
    np.savez(path, ids=np.concatenate([ids for ids, _ in parts]), wt=np.concatenate([weights for _, weights in parts]))
