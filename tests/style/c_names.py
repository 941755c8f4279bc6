# SPDX-License-Identifier: Apache-2.0
"""The names of a C file, found without a compiler."""

import re

# A function or a constant table that other files can use.
DEFINITION = r"^(?!static\b|typedef\b|extern\b|return\b)[a-z][\w \t*]*?\b(\w+)(?:\([^;{}]*\)\n\{|(?:\[\w*\])* = )"


def without_comments_and_texts(text):
    """The code of a C file: comments, strings and characters blanked, line breaks kept."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m[0]), text, flags=re.S)


def declared(text):
    """The names that a header declares at file scope: functions, types, objects, enumerators and macros."""
    code = without_comments_and_texts(text)
    names = set(re.findall(r"^#\s*define\s+(\w+)", code, re.M))
    for body in re.findall(r"\benum\b[^{;]*\{([^}]*)\}", code):
        names |= {word.split("=")[0].strip() for word in body.split(",") if "#" not in word}
    code = re.sub(r"^#(?:\\\n|.)*", "", code, flags=re.M)
    names |= set(re.findall(r"\b(?:struct|union|enum) (\w+)\s*\{", code))
    while "{" in code and re.search(r"\{[^{}]*\}", code):
        code = re.sub(r"\{[^{}]*\}", "\x00", code)
    for text in re.split(r"[;\x00]\s*(?=[a-z_\s])|[;\x00]", re.sub(r"PB_(MUST_USE|PRINTF\([^)]*\))", "", code)):
        text = " ".join(text.split())
        if re.fullmatch(r"(struct|union|enum)( \w+)?", text):  # foreign, or without a name
            continue
        match = re.search(r"\(\*(\w+)\)\(", text) if text.startswith("typedef") else None
        match = match or re.match(r"[\w\s*]*?\b(\w+) ?\(", text) or re.search(r"\b(\w+)(?:\[[^\]]*\])*(?: =.*)?$", text)
        if match:
            names.add(match[1])
    return {name for name in names if re.fullmatch(r"[A-Za-z_]\w+", name)}
