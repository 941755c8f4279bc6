#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches checkpoints and data sets for the configurations here, on a machine with internet (a login node).

A model NAME is a file configs/model/NAME.cfg with the key hub: its *.safetensors, *.json, tokenizer.model, merges.txt
and vocab.json go to the folder of its key path, $PB_MODELS/NAME. A data set NAME is an entry of
configs/dataset/sources.json: its splits become $PB_DATA/NAME/train.jsonl and test.jsonl, JSON lines with the columns
of the hub, class labels as integers, -1 where there is none. 'models' stands for all models, 'datasets' for the 27
sets of the benchmark; mnli_test, mrpc_test and mmlu_test are further test splits.

Every folder keeps a manifest, fetch.json: where each file came from (repository, commit), its bytes and its SHA-256.
The same command again verifies what is there by these hashes and fetches only what is missing, from the same commit;
a file that is there under its own name is complete, also after a kill. The commit and the hashes are those of the
slots revision and sha256 (models: in the .cfg; data sets: in sources.json), and a difference is an error. An empty
slot takes what the hub has now; --print-hashes prints what to write into the slots.

--from-local DIR converts data files that were downloaded in another way, without network: parquet, JSON lines, JSON,
CSV (with quotes) and TSV (without), each also .gz. For NAME it looks for DIR/NAME/SPLIT.EXT, and for the layout of
the hub (CONFIG/SPLIT-00000-of-00002.parquet, CONFIG/SPLIT/0000.parquet) in DIR/NAME, DIR/OWNER/REPOSITORY and
DIR/REPOSITORY; for a single NAME the files may also lie in DIR itself. SPLIT is the name on the hub or, where that is
missing, train or test: --dry-run says which file it takes. In CSV and TSV a label is a class name or its index, and
columns that no prompt reads stay text.
"""
EPILOG = """\
examples:
  export PB_MODELS=$SCRATCH/models PB_DATA=$SCRATCH/data
  jobs/fetch_data.py --list
  jobs/fetch_data.py qwen3-1.7b rte sst2
  HF_TOKEN=hf_... jobs/fetch_data.py llama-3.2-1b-instruct      (licence accepted on the model's page before)
  jobs/fetch_data.py datasets --from-local ~/downloads
  jobs/fetch_data.py --print-hashes qwen3-1.7b rte

environment: PB_MODELS, PB_DATA: where things go; HF_TOKEN: access token for gated models; HF_ENDPOINT: a mirror of the
hub; HTTPS_PROXY. Needs Python 3.9, the package huggingface_hub for downloads, and pyarrow for parquet files.
exit codes: 0 everything is there; 1 something failed, the rest was done; 2 bad usage.
"""
import argparse
import difflib
import json
import os
import sys

from fetch import configuration, datasets, models
from fetch.files import Failure, Folder
from fetch.hub import Hub

CONFIGS = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "configs"))


def say(text):
    print(text, file=sys.stderr, flush=True)


class Job:
    """The models and data sets named on the command line, and their folders."""

    def __init__(self, arguments):
        self.arguments, self.hub = arguments, Hub()
        self.models = configuration.read_models(os.path.join(arguments.configs, "model"))
        self.sources = configuration.read_sources(os.path.join(arguments.configs, "dataset", "sources.json"))
        words = {"models": list(self.models),
                 "datasets": [name for name, entry in self.sources["sets"].items() if "train" in entry]}
        known = [*self.models, *self.sources["sets"], *words]
        self.names = []
        for word in arguments.names:
            if word not in known:
                near = difflib.get_close_matches(word, known, 1)
                raise Failure(f"unknown name '{word}'; " + (f"did you mean '{near[0]}'?" if near else "--list has all"))
            self.names += [name for name in words.get(word, [word]) if name not in self.names]

    def open(self, name):
        """The model or data set of a name, with fetch, plan and slots."""
        arguments = self.arguments
        is_model = name in self.models
        root, variable = (arguments.models, "PB_MODELS") if is_model else (arguments.data, "PB_DATA")
        if not root:
            raise Failure(f"{name}: where does it go? Set {variable}, or give --{variable[3:].lower()} DIR")
        root = os.path.abspath(root)
        if not is_model:
            return datasets.Set(name, self.sources, Folder(os.path.join(root, name)), self.hub, arguments.from_local,
                                len(self.names) == 1)
        options = self.models[name]
        path = os.path.join(os.path.dirname(options["file"]), options["path"].replace("${PB_MODELS}", root))
        if "${" in path:
            raise Failure(f"{options['file']}: path '{path}' has a variable other than PB_MODELS")
        if arguments.from_local:
            raise Failure("--from-local is for data sets; a checkpoint that is here needs no conversion: put or link "
                          f"its folder to {path}")
        return models.Model(options, Folder(path), self.hub)

    def do(self, name):
        thing = self.open(name)
        if self.arguments.dry_run:
            print(f"{name}: {thing.plan()}")
        elif not self.arguments.print_hashes:
            say(f"{name}: {thing.fetch()}")
        elif not thing.folder.files:
            raise Failure(f"{thing.folder.path}: nothing was fetched yet")
        else:
            slots = thing.slots()
            print(slots if isinstance(slots, str) else json.dumps(slots, indent=1))

    def list(self):
        for name, options in self.models.items():
            print(f"{name:<26} {options['hub']:<40} {options.get('licence', '')}")
        for name, entry in self.sources["sets"].items():
            print(f"{name:<26} " + " -> ".join(entry[part] for part in datasets.PARTS if part in entry))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="fetch_data.py", description=__doc__, epilog=EPILOG,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models and data sets; 'models', 'datasets': all")
    parser.add_argument("--models", metavar="DIR", default=os.environ.get("PB_MODELS"), help="default: $PB_MODELS")
    parser.add_argument("--data", metavar="DIR", default=os.environ.get("PB_DATA"), help="default: $PB_DATA")
    parser.add_argument("--from-local", metavar="DIR", help="convert data files below DIR instead of downloading")
    parser.add_argument("--configs", metavar="DIR", default=CONFIGS, help="default: configs/ beside jobs/")
    parser.add_argument("--list", action="store_true", help="print all names with their sources")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, without network")
    parser.add_argument("--print-hashes", action="store_true", help="print revisions and SHA-256 of what was fetched")
    found = parser.parse_args(arguments)
    if not found.names and not found.list:
        parser.error("give names, or --list")
    if found.from_local and not os.path.isdir(found.from_local):
        parser.error(f"--from-local: no such folder: '{found.from_local}'")
    return found


def main():
    arguments = parse(sys.argv[1:])
    try:
        job = Job(arguments)
    except (Failure, OSError, ValueError) as error:
        say(f"fetch_data: {error}")
        return 2
    if arguments.list:
        job.list()
        return 0
    failed = []
    for name in job.names:
        try:
            job.do(name)
        except (Failure, OSError) as error:
            say(f"{name}: FAILED: {error}")
            failed.append(name)
    if failed and len(job.names) > 1:
        say(f"{len(failed)} of {len(job.names)} failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
