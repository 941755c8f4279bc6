#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`peftbench tokenize` against the Hugging Face library `tokenizers`, on synthetic strings and on every character.

differential.py PROGRAM TOKENIZERS [--strings 100000] [--seed 1] [--only NAME …] [--every-character] [--made 0]

For every folder of TOKENIZERS with a tokenizer of type BPE: ids without and with special tokens, and the text that
they decode to. --every-character adds each code point between two letters. --made N makes N tokenizers out of random
components, trains each on its strings, and compares it on 1000 others. Prints a line per tokenizer and the first
differences; exits with 1 if there is one, with 77 if the library is missing."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import tokenizers
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
except ImportError:
    print("the Python package tokenizers is missing")
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
    """One part of a string; every kind of text that tokenizers treat specially has its share."""
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
    """The library's tokenizer of a folder, None if the program does not read its type."""
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


# Valid reasons to refuse a random tokenizer: combinations whose result in the library is accidental.
REFUSALS = ["prepend_scheme \"first\" beside", "an expression that may match nothing", "its normalised text is also that of"]


class Refused(Exception):
    """The program refuses a tokenizer."""


def run(program, folder, rows, *options):
    """The program's answer to each row."""
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
        for row in rows:
            source.write(json.dumps(row).encode() + b"\n")
        source.seek(0)
        result = subprocess.run([program, "tokenize", "--model", folder, *options], stdin=source, stdout=sink,
                                stderr=subprocess.PIPE, check=False)
        if result.returncode != 0:
            raise Refused(result.stderr.decode().strip())
        sink.seek(0)
        return [json.loads(line) for line in sink]


def report(name, what, strings, expected, found, shown=5):
    wrong = [i for i, (a, b) in enumerate(zip(expected, found)) if a != b]
    for i in wrong[:shown]:
        print(f"  {name}: {what} of {strings[i]!r}")
        if isinstance(expected[i], list):
            at = next((k for k, (a, b) in enumerate(zip(expected[i], found[i])) if a != b), 0)
            print(f"    id {at} on: expected {expected[i][at:at + 12]}\n    found {found[i][at:at + 12]}")
        else:
            print(f"    expected {expected[i]!r}\n    found    {found[i]!r}")
    return len(wrong) + abs(len(expected) - len(found))


def compare(program, folder, name, strings):
    """The number of differences between the program and the library on a folder's tokenizer."""
    tokenizer = load(folder)
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


def compare_folder(program, folder, arguments):
    tokenizer = load(folder)
    if tokenizer is None:
        return None
    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    strings = make_strings(arguments.strings, arguments.seed, specials)
    if arguments.every_character:
        strings += every_character()
    return compare(program, folder, os.path.basename(folder), strings)


BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
EXPRESSIONS = [r"\s+", r"\p{L}+", r"\d", r"[aeiou]\p{M}*", r"\w+|[^\w\s]+", r"(?i:the|d\w)", r"\p{Lu}|\p{P}\p{S}?", r" ?[^\s]+",
               r"x*", r"(?<=a)b|c(?!d)", r"[\r\n]+|\p{N}{2,}", r"'(?:s|t)| ?\p{L}+|\P{L}"]
CONTENTS = ["the", " ", "<x>", "a", "▁", "def ", "\n", "12", "ǅ", "é", "e\u0301", "lambda", "  "]


def make_normalizer(rng, depth=0):
    kind = rng.randrange(13 if depth == 0 else 11)
    plain = [normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD, normalizers.Lowercase]
    if kind < 5:
        return plain[kind]()
    if kind == 5:
        return normalizers.Strip(left=rng.random() < 0.5, right=rng.random() < 0.5)
    if kind in (6, 7):
        return normalizers.Replace(rng.choice([" ", "a", "th", "\n"]), rng.choice(["▁", "", "xyz", "_"]))
    if kind in (8, 9):
        return normalizers.Replace(Regex(rng.choice(EXPRESSIONS)), rng.choice([" ", "", "#"]))
    if kind == 10:
        return normalizers.Prepend(rng.choice(["▁", "x"]))
    return normalizers.Sequence([make_normalizer(rng, 1) for _ in range(rng.randrange(1, 4))])


def make_pre_tokenizer(rng, depth=0):
    kind = rng.randrange(11 if depth == 0 else 9)
    if kind == 0:
        return rng.choice([pre_tokenizers.Whitespace, pre_tokenizers.WhitespaceSplit])()
    if kind == 1:
        return pre_tokenizers.Digits(individual_digits=rng.random() < 0.5)
    if kind == 2:
        return pre_tokenizers.Punctuation(rng.choice(BEHAVIORS))
    if kind in (3, 4):
        return pre_tokenizers.Metaspace(replacement=rng.choice("▁▁_"), prepend_scheme=rng.choice(["always", "first", "never"]),
                                        split=rng.random() < 0.5)
    if kind in (5, 6, 7):
        return pre_tokenizers.Split(Regex(rng.choice(EXPRESSIONS)), rng.choice(BEHAVIORS), invert=rng.random() < 0.3)
    if kind == 8:
        return pre_tokenizers.Split(rng.choice([" ", "a", "12"]), rng.choice(BEHAVIORS), invert=rng.random() < 0.3)
    return pre_tokenizers.Sequence([make_pre_tokenizer(rng, 1) for _ in range(rng.randrange(1, 4))])


def make_decoder(rng, by_bytes):
    if by_bytes:
        return decoders.ByteLevel()
    return rng.choice([None, decoders.Metaspace(prepend_scheme=rng.choice(["always", "first", "never"])),
                       decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                          decoders.Strip(content=" ", left=rng.randrange(3))])])


def make_tokenizer(rng, folder, strings):
    """Writes a tokenizer of random components, trained on the strings, into the folder."""
    by_bytes = rng.random() < 0.4
    tokenizer = Tokenizer(models.BPE(unk_token=None if by_bytes else "<unk>", fuse_unk=rng.random() < 0.5,
                                     ignore_merges=rng.random() < 0.3))
    if rng.random() < 0.6:
        tokenizer.normalizer = make_normalizer(rng)
    before = [make_pre_tokenizer(rng)] if rng.random() < 0.8 else []
    if by_bytes:
        before.append(pre_tokenizers.ByteLevel(add_prefix_space=rng.random() < 0.5, use_regex=rng.random() < 0.5))
    if before:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(before) if len(before) > 1 else before[0]
    decoder = make_decoder(rng, by_bytes)
    if decoder is not None:
        tokenizer.decoder = decoder
    trainer = trainers.BpeTrainer(vocab_size=rng.randrange(300, 1200), special_tokens=["<unk>", "<s>", "</s>"],
                                  show_progress=False, limit_alphabet=rng.randrange(40, 400))
    tokenizer.train_from_iterator(strings, trainer)
    if not by_bytes and rng.random() < 0.5:
        root = json.loads(tokenizer.to_str())
        vocab = root["model"]["vocab"]
        for byte in range(256):
            vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
        root["model"]["byte_fallback"] = True
        tokenizer = Tokenizer.from_str(json.dumps(root))
    tokenizer.add_tokens([AddedToken(text, single_word=rng.random() < 0.3, lstrip=rng.random() < 0.3, rstrip=rng.random() < 0.3,
                                     normalized=rng.random() < 0.5, special=rng.random() < 0.3)
                          for text in rng.sample(CONTENTS, rng.randrange(4))])
    if rng.random() < 0.5:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("<s>", "</s>")])
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    root = json.loads(tokenizer.to_str())
    return {key: root[key] for key in ("normalizer", "pre_tokenizer", "decoder", "added_tokens")}


def compare_made(program, number, seed):
    rng = random.Random(seed * 100003 + number)
    # The program's JSON reader does not accept U+0000 in a key, so such a vocabulary is refused.
    strings = [text.replace("\0", "") for text in make_strings(1400, seed * 7919 + number, CONTENTS)]
    with tempfile.TemporaryDirectory() as folder:
        stages = make_tokenizer(rng, folder, strings[:400])
        try:
            wrong = compare(program, folder, f"made {number}", strings[400:])
        except Refused as error:
            print(f"made {number}: refused: {error}")
            return 0 if any(reason in str(error) for reason in REFUSALS) else 1
        except BaseException as error:  # a panic of the library is not an Exception
            if type(error).__name__ != "PanicException":
                raise
            print(f"made {number}: the library panics: {error}")
            return 0
    if wrong:
        print(f"  made {number}: {json.dumps(stages, ensure_ascii=False)}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--strings", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--every-character", action="store_true")
    parser.add_argument("--made", type=int, default=0)
    arguments = parser.parse_args()
    total = 0
    done = 0
    for name in sorted(os.listdir(arguments.folder) if arguments.only is None else arguments.only):
        folder = os.path.join(arguments.folder, name)
        if os.path.isdir(folder):
            wrong = compare_folder(arguments.program, folder, arguments)
            done += wrong is not None
            total += wrong or 0
    for number in range(arguments.made):
        total += compare_made(arguments.program, number, arguments.seed)
        done += 1
    print(f"{done} tokenizers, {total} differences")
    return 1 if total > 0 or done == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
