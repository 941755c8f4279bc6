# SPDX-License-Identifier: Apache-2.0
"""Origins as the configurations give them: the group model of configs/model/*.cfg, configs/dataset/sources.json."""
import json
import os
import re

from fetch.files import Failure

TOKEN = re.compile(r'(?:\s|#[^\n]*|//[^\n]*|/\*.*?\*/)*("(?:[^"\\]|\\.)*"|[{}()\[\]=:;,]|[^\s{}()\[\]=:;,"#]+)', re.S)


def read_cfg(path):
    """A libconfig file as dictionaries, lists and texts; numbers stay texts."""
    with open(path, encoding="utf-8") as file:
        tokens = [m[1] for m in TOKEN.finditer(file.read())]
    place = 0

    def take(*wanted):
        nonlocal place
        if place >= len(tokens) or wanted and tokens[place] not in wanted:
            raise Failure(f"{path}: not understood near '{' '.join(tokens[max(place - 3, 0):place + 1])}'")
        place += 1
        return tokens[place - 1]

    def group(end):
        out = {}
        while place < len(tokens) and tokens[place] != end:
            name = take()
            take("=", ":")
            out[name] = value()
            if place < len(tokens) and tokens[place] in ";,":
                take()
        return out

    def value():
        first = take()
        if first == "{":
            out = group("}")
            take("}")
        elif first in "([":
            out, end = [], {"(": ")", "[": "]"}[first]
            while tokens[place:place + 1] != [end]:
                out.append(value())
                if tokens[place:place + 1] != [end]:
                    take(",")
            take(end)
        elif first[0] == '"':
            out = json.loads(first)
            while place < len(tokens) and tokens[place][0] == '"':
                out += json.loads(take())
        else:
            out = first
        return out

    return group("")


def read_models(folder):
    """Name → group model, of the files that name a repository of the hub."""
    models = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".cfg"):
            model = read_cfg(os.path.join(folder, name)).get("model", {})
            if model.get("hub"):
                model["file"] = os.path.join(folder, name)
                model["sha256"] = dict(slot.rsplit(":", 1) for slot in model.get("sha256", []) if slot)
                models[name[:-len(".cfg")]] = model
    return models


def read_sources(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
