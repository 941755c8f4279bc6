#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes what the demo is trained and tested on, from a seed and nothing else.

    make_demo.py text OUT        pre-training documents as JSON {"text": ...}, two lines each: prompt, answer
    make_demo.py tokenizer OUT   tokenizer.json, trained on the same documents
    make_demo.py model OUT       config.json and random weights, model.safetensors
    make_demo.py data OUT        pairs, single, numbers: train.jsonl and test.jsonl each
    make_demo.py rows IDS OUT    tokenised documents -> training rows {"input_ids", "labels"}

The little world: things are good or bad, people like what is good; small numbers are added and taken away. The
documents tell this world as plain sentences. They also hold the three tasks' formats: after the line MARK with the
right answer, without it with one drawn at random. So the pre-trained model knows answers but, asked plainly, is near
chance: fine-tuning has to bring out what is there. Only easy rows follow MARK, without negation and without
subtraction: the others have to be learned, and methods differ in how far they get. No test row is in a document. Only the standard library is used.
"""
import collections
import json
import math
import os
import random
import re
import struct
import sys

SEED = 20261124
DOCUMENTS = 60000
SIZES = {"train": 400, "test": 100}
VOCABULARY = 512
SPECIALS = ["<pad>", "<s>", "</s>"]
SHAPE = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 6,
         "num_key_value_heads": 3, "max_position_embeddings": 512, "vocab_size": VOCABULARY}

PEOPLE = ["tom", "anna", "ben", "lily", "max", "sara", "paul", "nora", "sam", "emma"]
COUNTED = ["coins", "cards", "shells", "stones", "nuts", "stamps"]
TOPICS = ["soup", "film", "song", "story", "room", "party", "cake", "game", "tea", "day", "trip", "house", "bread",
          "garden", "show", "lesson"]
GOOD = ["good", "great", "sweet", "lovely", "bright", "warm", "fine", "nice"]
BAD = ["bad", "awful", "sour", "ugly", "dark", "cold", "poor", "dull"]
LIKED = ["liked", "loved", "enjoyed", "praised"]
HATED = ["hated", "disliked", "left", "regretted"]
VERBS = ["was", "is", "seemed", "looks"]
DEGREES = ["", "very ", "really ", "quite ", "so "]
MARK = "the wise one says:"
INSTRUCTIONS = {"pairs": "Does it follow?", "single": "Good or bad?", "numbers": "How many?"}
HARD = [" not ", " loses "]  # words of rows that never follow MARK
LABELS = {"pairs": ["entailment", "not_entailment"], "single": ["negative", "positive"]}


def opinion(r):
    """sentence, label index: negations turn the judgement round."""
    good = r.random() < 0.5
    negated = r.random() < 0.3
    word = r.choice(GOOD if good != negated else BAD)
    topic, verb, degree = r.choice(TOPICS), r.choice(VERBS), r.choice(DEGREES)
    return f"the {topic} {verb} {'not ' if negated else ''}{degree}{word}.", int(good)


def pair(r):
    """sentence1, sentence2, label index: people like what is good, so does the second follow from the first?"""
    first, good = opinion(r)
    liked = r.random() < 0.5
    return first, f"{r.choice(PEOPLE)} {r.choice(LIKED if liked else HATED)} it.", int(liked != bool(good))


def sum_question(r):
    """question, worked answer with the number after ####."""
    who, what = r.choice(PEOPLE), r.choice(COUNTED)
    a, b = r.randrange(1, 10), r.randrange(1, 10)
    if r.random() < 0.5 or a <= b:
        text, line, result = f"{who} has {a} {what} and finds {b} more.", f"{a} + {b} = {a + b}", a + b
    else:
        text, line, result = f"{who} has {a} {what} and loses {b}.", f"{a} - {b} = {a - b}", a - b
    return text, f"{line}\n#### {result}", who, what, line, result


def example(r, task):
    """body, right answer, the row in the columns of the real set."""
    if task == "pairs":
        first, second, label = pair(r)
        return f"{first}\n{second}", LABELS[task][label], {"sentence1": first, "sentence2": second, "label": label}
    if task == "single":
        text, label = opinion(r)
        return text, LABELS[task][label], {"sentence": text, "label": label}
    text, answer = sum_question(r)[:2]
    return text, answer, {"question": text, "answer": answer}


def random_answer(r, task):
    if task != "numbers":
        return r.choice(LABELS[task])
    a, b, c = r.randrange(1, 10), r.randrange(1, 10), r.randrange(1, 19)
    return f"{a} {r.choice('+-')} {b} = {c}\n#### {c}"


def story(r):
    if r.random() < 0.5:
        text, good = opinion(r)
        return f"{text} {r.choice(PEOPLE)} {r.choice(LIKED if good else HATED)} it."
    text, _, who, what, line, result = sum_question(r)
    return f"{text} {line}. now {who} has {result} {what}."


def documents():
    """Pairs of prompt and answer; a story is an answer without a prompt."""
    r, tests = random.Random(SEED), {body for task in INSTRUCTIONS for body, _ in splits(task)["test"]}
    out = []
    while len(out) < DOCUMENTS:
        kind, task = r.random(), r.choice(list(INSTRUCTIONS))
        if kind < 0.3:
            out.append(("", story(r)))
            continue
        body, answer, _ = example(r, task)
        if body in tests:
            continue
        if kind < 0.75:
            if any(word in body for word in HARD):
                continue
            out.append((f"{MARK}\n{INSTRUCTIONS[task]}\n{body}\n", answer))
        else:
            out.append((f"{INSTRUCTIONS[task]}\n{body}\n", random_answer(r, task)))
    return out


def splits(task):
    """Rows of a task, (body, row): training and test rows never share a body."""
    r, seen, out = random.Random(f"{SEED} {task}"), set(), {}
    for split, size in SIZES.items():
        rows = []
        while len(rows) < size:
            body, _, row = example(r, task)
            if body not in seen:
                seen.add(body)
                rows.append((body, row))
        out[split] = rows
    return out


def write_lines(path, rows):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row) + "\n")


def make_data(out):
    for task in INSTRUCTIONS:
        for split, rows in splits(task).items():
            lines = [row if task == "numbers" else {**row, "idx": n} for n, (_, row) in enumerate(rows)]
            write_lines(f"{out}/{task}/{split}.jsonl", lines)


# ---------------------------------------------------------------- tokenizer

WORD = re.compile(r" ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+|\s")


def byte_letters():
    """The printable letter that stands for each byte in byte-level BPE (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + extra)
            extra += 1
    return table


def train_merges(texts, letters, count):
    words = collections.Counter(w for t in texts for w in WORD.findall(t))
    splits = {w: [letters[b] for b in w.encode()] for w in words}
    merges = []
    while len(merges) < count:
        pairs = collections.Counter()
        for w, parts in splits.items():
            for a, b in zip(parts, parts[1:]):
                pairs[a, b] += words[w]
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w, parts in splits.items():
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i:i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            splits[w] = merged
    return merges


def make_tokenizer(out):
    letters = byte_letters()
    room = VOCABULARY - len(SPECIALS) - 256
    merges = train_merges([prompt + answer for prompt, answer in documents()], letters, room)
    tokens = SPECIALS + [letters[b] for b in range(256)] + [a + b for a, b in merges]
    vocabulary = {t: i for i, t in enumerate(tokens)}
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, t in enumerate(SPECIALS)]
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORD.pattern}, "behavior": "Isolated", "invert": False}, level]},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocabulary, "merges": [f"{a} {b}" for a, b in merges]},
    }
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/tokenizer.json", "w", encoding="utf-8") as f:
        json.dump(tokenizer, f, indent=1)
        f.write("\n")
    with open(f"{out}/tokenizer_config.json", "w", encoding="utf-8") as f:
        json.dump({"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
                   "tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}, f, indent=1)
        f.write("\n")


# ---------------------------------------------------------------- model

def tensors():
    """Name and shape of every weight; a tied head has none of its own."""
    d, f, v = SHAPE["hidden_size"], SHAPE["intermediate_size"], SHAPE["vocab_size"]
    kv = d // SHAPE["num_attention_heads"] * SHAPE["num_key_value_heads"]
    yield "model.embed_tokens.weight", (v, d)
    for n in range(SHAPE["num_hidden_layers"]):
        p = f"model.layers.{n}."
        yield p + "input_layernorm.weight", (d,)
        for name, out, width in (("q", d, d), ("k", kv, d), ("v", kv, d), ("o", d, d)):
            yield p + f"self_attn.{name}_proj.weight", (out, width)
        yield p + "post_attention_layernorm.weight", (d,)
        for name, out, width in (("gate", f, d), ("up", f, d), ("down", d, f)):
            yield p + f"mlp.{name}_proj.weight", (out, width)
    yield "model.norm.weight", (d,)


def make_model(out):
    r = random.Random(SEED)
    header, data = {}, bytearray()
    for name, shape in tensors():
        count, begin = math.prod(shape), len(data)
        values = [1.0] * count if len(shape) == 1 else [r.gauss(0.0, 0.05) for _ in range(count)]
        data += struct.pack(f"<{count}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5,
              "rope_theta": 10000.0, "rope_scaling": None, "attention_bias": False, "mlp_bias": False,
              "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32", **SHAPE}
    with open(f"{out}/config.json", "w", encoding="utf-8") as f:
        json.dump(config, f, indent=1)
        f.write("\n")


def make_rows(ids, out):
    """Documents between <s> and </s>; the tokens of the answer and </s> are labels."""
    with open(ids, encoding="utf-8") as f:
        parts = [json.loads(line)["ids"] for line in f]
    write_lines(out, ({"input_ids": [1, *prompt, *answer, 2], "labels": [-100] * (1 + len(prompt)) + [*answer, 2]}
                      for prompt, answer in zip(parts[::2], parts[1::2])))


def main(arguments):
    makers = {"tokenizer": make_tokenizer, "model": make_model, "data": make_data,
              "text": lambda out: write_lines(out, ({"text": t} for document in documents() for t in document)), "rows": make_rows}
    if len(arguments) < 2 or arguments[0] not in makers:
        sys.exit(__doc__)
    makers[arguments[0]](*arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
