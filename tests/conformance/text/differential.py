#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`peftbench tokenize` against the Hugging Face library `tokenizers`, on made-up strings and on every character.

differential.py PROGRAM TOKENIZERS [--strings 100000] [--seed 1] [--only NAME …] [--every-character]

For every folder of TOKENIZERS that holds a tokenizer of type BPE: ids without and with special tokens, and the text that
they decode to. --every-character adds each code point between two letters. Prints a line per tokenizer and the first
differences; ends with 1 when there is one, with 77 when the library is not there."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import tokenizers
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
except ImportError:
    print("the Python package tokenizers is not there")
    sys.exit(77)

WORDS = """the of and Question: answer don't I'll WE'RE it's he'd They've isn't can't y'all def return lambda x: for i in
range(10): print(f"{x}") if __name__ == '__main__': import os, sys </div> <p class="a"> https://example.org/a?b=c&d=%20
café naïve Straße ﬁn ǅ İstanbul ıſ 'ſ 'S 'LL ½ ² ١٢٣ ४५६ Ⅷ ㊿ 1234567 3.14159 0x1F 1,000,000 2024-01-02 -- ... !? &&
|| >>= :: -> #include <stdio.h> \\n \\t \u200b\u200d ©®™ §¶ €£¥ “quoted” ‘x’ — – … 中文分词 日本語の文章 ひらがな
カタカナ 한국어 문장 हिन्दी நன்றி ไทย العربية עברית Ελληνικά Русский текст ქართული አማርኛ 👍 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ☺️ 🤷🏽‍♀️
ẛ̣ a\u0301 e\u0308\u0323 \u1100\u1161\u11a8 \u0e33 ﷺ ﬃ ℌ Å \ufffd \ufeff \u00ad \u2028 \u2029 \u0085 \u00a0 \u3000 ▁
▁▁ ▁a a▁ <0x0A> <0xE4> <unk> Ġ Ġthe Ċ""".split(" ")
SPACES = [" ", "  ", "   ", " " * 7, "\n", "\n\n", "\r\n", "\t", "\t\t", " \n ", "\u00a0", "\u3000", "\v", "\f", "\r", "\u2003"]
BLOCKS = [(0x20, 0x7E), (0xA1, 0x17F), (0x300, 0x36F), (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0xD7F), (0xE00, 0xEFF),
          (0x1100, 0x11FF), (0x1E00, 0x20CF), (0x2100, 0x27BF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3),
          (0xF900, 0xFDFF), (0xFE00, 0xFFFD), (0x10300, 0x1034A), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2FA1D)]


def fragment(rng, specials):
    """One part of a string; every kind of text that tokenizers treat on its own has its share."""
    kind = rng.randrange(16)
    if kind < 6:
        return rng.choice(WORDS)
    if kind < 9:
        return rng.choice(SPACES)
    if kind == 9:
        return "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 12)))
    if kind == 10:
        low, high = rng.choice(BLOCKS)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randrange(1, 8)))
    if kind == 11:
        return "".join(rng.choice("abcdeghinorstuABCST") for _ in range(rng.randrange(1, 14)))
    if kind == 12:
        return chr(rng.randrange(0x20)) if rng.randrange(2) else chr(rng.randrange(0x80, 0xA0))
    if kind == 13:
        return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randrange(1, 6)))
    if kind == 14 and specials:
        text = rng.choice(specials)
        return text if rng.randrange(2) else text[rng.randrange(len(text)):rng.randrange(len(text)) + 1]
    code = rng.randrange(0x20, 0x30000)
    return chr(code) if not 0xD800 <= code <= 0xDFFF else rng.choice(WORDS)


def make_strings(count, seed, specials):
    rng = random.Random(seed)
    strings = []
    for _ in range(count):
        parts = rng.randrange(1, 24) if rng.randrange(50) else rng.randrange(100, 400)
        glue = " " if rng.randrange(2) else ""
        strings.append(glue.join(fragment(rng, specials) for _ in range(parts)))
    return strings


def every_character():
    return [f"a{chr(c)}b {chr(c)}" for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def load(folder):
    """The library's tokenizer of a folder, None when its type is none that the program reads."""
    path = os.path.join(folder, "tokenizer.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            kind = json.load(file)["model"].get("type", "BPE")
        if kind != "BPE":
            return None
        tokenizer = tokenizers.Tokenizer.from_file(path)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    vocab, merges = (os.path.join(folder, name) for name in ("vocab.json", "merges.txt"))
    tokenizer = tokenizers.Tokenizer(models.BPE.from_file(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False, special=True)])
    return tokenizer


def run(program, folder, rows, *options):
    """The program's answer to each row."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        for row in rows:
            source.write(json.dumps(row).encode() + b"\n")
        source.seek(0)
        result = subprocess.run([program, "tokenize", "--model", folder, *options], stdin=source, stdout=sink, check=False)
        if result.returncode != 0:
            sys.exit(f"{folder}: the program ended with {result.returncode}")
        sink.seek(0)
        return [json.loads(line) for line in sink]


def report(name, what, strings, expected, found, shown=5):
    wrong = [i for i, (a, b) in enumerate(zip(expected, found)) if a != b]
    for i in wrong[:shown]:
        print(f"  {name}: {what} of {strings[i]!r}\n    expected {expected[i]!r}\n    found    {found[i]!r}")
    return len(wrong) + abs(len(expected) - len(found))


def compare(program, folder, arguments):
    name = os.path.basename(folder)
    tokenizer = load(folder)
    if tokenizer is None:
        return None
    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    strings = make_strings(arguments.strings, arguments.seed, specials)
    if arguments.every_character:
        strings += every_character()
    rows = [{"text": text} for text in strings]
    plain = [e.ids for e in tokenizer.encode_batch_fast(strings, add_special_tokens=False)]
    special = [e.ids for e in tokenizer.encode_batch_fast(strings, add_special_tokens=True)]
    wrong = report(name, "ids", strings, plain, [row["ids"] for row in run(program, folder, rows)])
    wrong += report(name, "ids with special tokens", strings, special,
                    [row["ids"] for row in run(program, folder, rows, "--special")])
    texts = tokenizer.decode_batch(plain, skip_special_tokens=False)
    found = run(program, folder, [{"ids": ids} for ids in plain], "--decode")
    wrong += report(name, "decoded text", strings, texts, [row["text"] for row in found])
    print(f"{name}: {len(strings)} strings, {sum(map(len, plain))} ids, {wrong} differences", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--strings", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--every-character", action="store_true")
    arguments = parser.parse_args()
    total = 0
    done = 0
    for name in sorted(arguments.only or os.listdir(arguments.folder)):
        folder = os.path.join(arguments.folder, name)
        if os.path.isdir(folder):
            wrong = compare(arguments.program, folder, arguments)
            done += wrong is not None
            total += wrong or 0
    print(f"{done} tokenizers, {total} differences")
    return 1 if total > 0 or done == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
