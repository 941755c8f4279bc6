# SPDX-License-Identifier: Apache-2.0
"""jobs/fetch_data.py on parquet files like the hub's. Needs a Python with pyarrow: PB_PYTHON."""
import json
import os
import sys

import case
import fetching
import program
import world
from fetching import ROWS, lines

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    if fetching.PYTHON != sys.executable:
        os.execv(fetching.PYTHON, [fetching.PYTHON, *sys.argv])
    print("no pyarrow: set PB_PYTHON to a Python with the packages of tests/requirements.txt")
    sys.exit(1 if os.environ.get("CI") else 77)


def parquet(path, rows, classes=None, schema=None):
    """classes: column → class names, stored as the hub's library does."""
    table = pyarrow.Table.from_pylist(rows, schema)
    features = {name: {"names": list(names), "_type": "ClassLabel"} for name, names in (classes or {}).items()}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pyarrow.parquet.write_table(table, path, row_group_size=2)


class Parquet(fetching.Case):
    def give_parquet(self, name, *arguments, **options):
        parquet(os.path.join(self.source, name), *arguments, **options)

    def test_labels_stay_integers_and_shards_are_joined(self):
        classes = {"label": fetching.ENTAILMENT}
        self.give_parquet("rte/train-00000-of-00002.parquet", ROWS[:2], classes)
        self.give_parquet("rte/train-00001-of-00002.parquet", ROWS[2:], classes)
        self.give_parquet("rte/validation/0000.parquet", ROWS, classes)
        self.local("rte")
        self.assertEqual(self.made("rte/train.jsonl"), lines(ROWS))
        self.assertEqual(self.made("rte/test.jsonl"), lines(ROWS))

    def test_other_classes_are_an_error(self):
        self.give_parquet("rte/train.parquet", ROWS, {"label": fetching.ENTAILMENT[::-1]})
        self.local("rte", code=1, texts=["rte/train.parquet", "column 'label'", "not_entailment, entailment"])

    def test_class_names_and_small_types(self):
        texts = pyarrow.dictionary(pyarrow.int8(), pyarrow.string())
        schema = pyarrow.schema([("sentence1", texts), ("sentence2", pyarrow.large_string()), ("label", texts),
                                 ("idx", pyarrow.int32())])
        rows = [dict(row, label=fetching.ENTAILMENT[row["label"]]) for row in ROWS[:2]]
        for part in ("train", "validation"):
            self.give_parquet(f"rte/{part}.parquet", rows, schema=schema)
        self.local("rte")
        self.assertEqual(self.made("rte/train.jsonl"), lines(ROWS[:2]))

    def test_floats_keep_all_digits_of_float32(self):
        schema = pyarrow.schema([("sentence1", pyarrow.string()), ("sentence2", pyarrow.string()),
                                 ("label", pyarrow.float32()), ("idx", pyarrow.int64())])
        rows = [dict(row, label=label) for row, label in zip(ROWS, (3.8, 0.0, 5.0))]
        for part in ("train", "validation"):
            self.give_parquet(f"stsb/{part}.parquet", rows, schema=schema)
        self.local("stsb")
        self.assertIn(b'"label":3.799999952316284,', self.made("stsb/train.jsonl"))
        self.assertIn(b'"label":0.0,', self.made("stsb/train.jsonl"))

    def test_values_without_a_form_in_json(self):
        rows = [dict(row, raw=b"\0") for row in ROWS]
        self.give_parquet("rte/train.parquet", rows)
        self.local("rte", code=1, texts=["rte/train.parquet: row 1", "bytes"])

    def test_damaged_files(self):
        self.give_parquet("rte/validation.parquet", ROWS)
        good = world.read(os.path.join(self.source, "rte/validation.parquet"))
        for name, content in (("empty", b""), ("cut", good[:-20]), ("text", b"PAR1" * 20), ("footer", good[-200:])):
            with self.subTest(name):
                self.give("rte/train.parquet", content)
                self.local("rte", code=1, texts=["rte/train.parquet: cannot be read"])

    def test_real_rows_come_back(self):
        shared = os.path.join(program.SHARED, "data")
        if not os.path.isdir(shared):
            case.skip("no shared data: set PB_SHARED")
        names = sorted(name for name in os.listdir(shared) if os.path.isdir(os.path.join(shared, name)))
        for name in names:
            for part in ("train", "test"):
                rows = [json.loads(line) for line in self.made(f"{name}/{part}.jsonl", shared).splitlines()]
                self.give_parquet(f"{name}/{part}.parquet", rows)
        self.local("datasets")
        for name in names:
            for part in ("train", "test"):
                with self.subTest(name=name, part=part):
                    # pyarrow sorts the names inside objects when it infers their type.
                    made, real = ([json.loads(line) for line in self.made(f"{name}/{part}.jsonl", root).splitlines()]
                                  for root in (self.data, shared))
                    self.assertEqual([list(row) for row in made], [list(row) for row in real])
                    self.assertEqual(json.dumps(made, sort_keys=True), json.dumps(real, sort_keys=True))


if __name__ == "__main__":
    case.main()
