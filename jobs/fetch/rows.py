# SPDX-License-Identifier: Apache-2.0
"""Rows of data files, checked against the columns of a data set, as JSON lines."""
import csv
import gzip
import json
import os
import re

from fetch.files import Failure

KINDS = ("parquet", "jsonl", "json", "csv", "tsv")  # the first that a split has is taken

def open_bytes(path):
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


def parquet_rows(path, label, columns):
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise Failure(f"{error}: parquet files need a Python package, 'python3 -m pip install pyarrow'") from error
    with open_bytes(path) as file:
        table = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(file.read()) if path.endswith(".gz") else path)
        told = (table.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
        features = (json.loads(told).get("info") or {}).get("features") or {}
        for name, kind in columns.items():
            names = (features.get(name) or {}).get("names") if isinstance(features, dict) else None
            if isinstance(kind, list) and names is not None and names != kind:
                raise Failure(f"{label}: the classes of column '{name}' are {', '.join(names)}, expected "
                              f"{', '.join(kind)}")
        for batch in table.iter_batches(batch_size=1024):
            yield from batch.to_pylist()


def json_rows(path, label, _):
    """JSON lines, or one array of objects."""
    with open_bytes(path) as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(0)
        if start[:1] == b"[":
            yield from json.load(file)
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield json.loads(line.decode("utf-8-sig"))
                except ValueError as error:
                    raise Failure(f"{label}: line {number}: {error}") from error


def table_rows(path, label, _):
    """CSV with quotes, TSV without any quoting; the first line names the columns."""
    csv.field_size_limit(1 << 30)
    with open_bytes(path) as file:
        lines = (line.decode("utf-8-sig") for line in file)
        tabs = ".tsv" in os.path.basename(path)
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines, strict=True)
        names = next(reader, [])
        for fields in filter(None, reader):
            if len(fields) != len(names):
                raise Failure(f"{label}: line {reader.line_num}: {len(fields)} fields, the first line names "
                              f"{len(names)} columns")
            yield dict(zip(names, fields))


READERS = {"parquet": parquet_rows, "jsonl": json_rows, "json": json_rows, "csv": table_rows, "tsv": table_rows}


def as_label(value, classes):
    """A class name gives its index; JSON's true and false are the classes True and False."""
    if isinstance(value, bool) and classes == ["False", "True"]:
        return int(value)
    if isinstance(value, str):
        value = classes.index(value) if value in classes else int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < len(classes):
        raise ValueError
    return value


def as_kind(value, kind, is_text):
    """The value of a column in the hub's type; ValueError when it has another one. is_text: CSV and TSV have only texts."""
    if isinstance(kind, list):
        return as_label(value, kind)
    if is_text and kind != "string":
        if kind == "string or null":
            return value or None
        value = {"int": int, "float": float}.get(kind, json.loads)(value)
    good = {"string": isinstance(value, str), "string or null": value is None or isinstance(value, str),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "float": isinstance(value, (int, float)) and not isinstance(value, bool),
            "strings": isinstance(value, list) and all(isinstance(v, str) for v in value),
            "object": isinstance(value, dict)}[kind]
    if not good:
        raise ValueError
    return float(value) if kind == "float" else value


def line_of(row, columns, is_text, where):
    """A row as datasets.Dataset.to_json writes it, but with all digits of its numbers."""
    if not isinstance(row, dict):
        raise Failure(f"{where}: not an object with columns")
    for name, kind in columns.items():
        if name not in row:
            raise Failure(f"{where}: there is no column '{name}'; the columns are {', '.join(row)}")
        try:
            row[name] = as_kind(row[name], kind, is_text)
        except ValueError as error:
            wanted = f"one of {', '.join(kind)}, its index, or -1" if isinstance(kind, list) else kind
            raise Failure(f"{where}: column '{name}' is {str(row[name])[:60]!r}, expected {wanted}") from error
    try:
        text = json.dumps(row, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Failure(f"{where}: {error}") from error
    return text.replace("/", "\\/").encode() + b"\n"


def convert(files, columns, out):
    """Writes the rows of all files, (path, name for messages) each; returns the number of rows."""
    rows = 0
    for path, label in files:
        kind = re.search(r"\.(\w+?)(\.gz)?$", path)[1]
        try:
            for number, row in enumerate(READERS[kind](path, label, columns), 1):
                out.write(line_of(row, columns, kind in ("csv", "tsv"), f"{label}: row {number}"))
                rows += 1
        except Failure:
            raise
        except Exception as error:  # damaged files: each library has its own classes
            raise Failure(f"{label}: cannot be read: {type(error).__name__}: {error}") from error
    if rows == 0:
        raise Failure(f"{', '.join(label for _, label in files)}: no rows")
    return rows
