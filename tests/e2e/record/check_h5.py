# SPDX-License-Identifier: Apache-2.0
"""Opens a results file with h5py, pandas and both xarray engines and checks contents, units and
dimensions. Run with -W error: a warning is a failure. Usage: check_h5.py FILE.h5"""
import glob
import os
import re
import sys

import h5py
import numpy as np
import pandas as pd
import xarray as xr

PATH = sys.argv[1]
VARIED = os.path.join(os.path.dirname(PATH), "variants", "varied.h5")
CELL = "cells/demo%2Fmodel/rte/lora/1"
FAILED = "cells/demo%2Fmodel/rte/ia3/1"


def check_every_dataset(file):
    """Units, names, scales, filters and creation order, of everything in the file."""
    count = 0

    def visit(name, item):
        nonlocal count
        order = item.id.get_create_plist()
        if isinstance(item, h5py.Group):
            assert order.get_link_creation_order() & h5py.h5p.CRT_ORDER_TRACKED, name
            return
        count += 1
        assert order.get_attr_creation_order() & h5py.h5p.CRT_ORDER_TRACKED, name
        assert item.attrs["long_name"], name
        if item.dtype.kind in "iufb":
            assert item.attrs["units"], name
        for axis in range(item.ndim):
            assert item.is_scale or len(item.dims[axis]) == 1, (name, axis)
            assert item.is_scale or item.dims[axis].label, (name, axis)
        plist = item.id.get_create_plist()
        filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
        assert filters <= {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}, name

    file.visititems(visit)
    assert count > 60, count


def check_h5py():
    with h5py.File(PATH) as file:
        assert file.attrs["schema"] == 1
        assert file.attrs["sweep"] == "made-up"
        assert file.attrs["protocol"] == "corrected"
        assert list(file) == ["checksum", "results", "cell", "grid", "pscp", "cells"]
        check_every_dataset(file)
        cell = file[CELL]
        assert cell.attrs["model"] == "demo/model"
        assert cell.attrs["status"] == "done"
        assert cell.attrs["score"] == 75.0
        assert cell.attrs["config"] == "train = { batch = 8; };\n"
        assert np.isnan(cell.attrs["energy_j"])
        assert cell["provenance"].attrs["host"] == "node1"
        assert list(cell["train"]) == ["step", "loss", "lr", "grad_norm", "tokens", "seconds"]
        np.testing.assert_array_equal(cell["train/step"][:], np.arange(1, 21))
        np.testing.assert_array_equal(cell["train/lr"][:], 1e-3 / np.arange(1, 21))
        assert cell["train/loss"].dims[0].label == "step"
        assert cell["train/loss"].attrs["units"] == "nat/token"
        assert list(cell["predictions/label"].asstr()[:]) == ["entailment", "not_entailment", "ü"]
        assert list(cell["predictions/correct"][:]) == [1, 0, -1]
        assert list(cell["predictions"]) == ["row", "prediction", "label", "correct", "value"]
        assert list(cell["predictions/value"][:]) == [1, 0, 0.25]
        assert cell["predictions/value"].attrs["units"] == "1"
        assert (cell.attrs["score_low"], cell.attrs["score_high"]) == (70, 79)
        assert list(cell["metrics/name"].asstr()[:]) == ["accuracy", "f1"]
        failed = file[FAILED]
        assert failed.attrs["status"] == "failed"
        assert failed.attrs["status_code"] == "ERR_NUMERIC"
        assert failed.attrs["message"] == "the loss is not finite: ü"
        assert failed["train/loss"].shape == (0,)
        assert failed["predictions/value"].shape == (0,)
        assert np.isnan(failed.attrs["score_low"])


def check_pandas():
    with h5py.File(PATH) as file:
        table = pd.DataFrame(file["results"][:])
        units = dict(zip(file["results"].dtype.names, file["results"].attrs["column_units"]))
        frame = pd.DataFrame({k: v[:] for k, v in file[CELL + "/train"].items()})
    assert list(table["method"]) == [b"lora", b"ia3", b"lora"]
    assert list(table["dataset"]) == [b"rte", b"rte", b"sst2"]
    assert list(table["status"]) == [b"done", b"failed", b"done"]
    assert list(table["valid"]) == [True, False, True]
    assert list(table["score"].dropna()) == [75.0, 85.0]
    assert table["score_low"][0] == 70 and table["score_high"][0] == 79
    assert units["score_low"] == units["score_high"] == "percent"
    assert table["message"][1].decode() == "the loss is not finite: ü"
    assert units["score"] == "percent" and units["seconds_train"] == "s" and units["model"] == ""
    assert frame.shape == (20, 6)


def check_xarray(engine):
    root = xr.open_dataset(PATH, engine=engine)
    assert "peftbench results file" in str(root["checksum"].item())
    assert root.sizes["cell"] == 3
    root.close()
    xr.open_dataset(PATH, group="grid").close()  # guesses the engine
    grid = xr.open_dataset(PATH, engine=engine, group="grid").load()
    assert dict(grid.sizes) == {"model": 1, "dataset": 2, "method": 2, "seed": 1}
    assert grid["score"].dims == ("model", "dataset", "method", "seed")
    # A dictionary, because sel() has its own parameter called method.
    where = {"model": "demo/model", "dataset": "sst2", "method": "lora", "seed": 1}
    assert float(grid["score"].sel(where)) == 85
    assert np.isnan(grid["score"].sel({"dataset": "rte", "method": "ia3"})).all()
    assert list(grid["status"].values.ravel()) == [1, 2, 1, 0]
    where["dataset"] = "rte"
    assert (float(grid["score_low"].sel(where)), float(grid["score_high"].sel(where))) == (70, 79)
    assert grid["memory_peak_gb"].attrs["units"] == "GB"
    pscp = xr.open_dataset(PATH, engine=engine, group="pscp").load()
    one = pscp.sel({"model": "demo/model", "method": "lora"})
    assert float(one["score"]) == 80
    costs = (
        (1 + one["params"] / 5e8) ** -1,
        (1 + one["flops_t"] / 10) ** -1,
        (1 + one["memory_gb"] / 94) ** -1,
    )
    for name, cost in zip(("cost_p", "cost_f", "cost_m"), costs):
        np.testing.assert_allclose(one[name], cost, rtol=1e-12)
    np.testing.assert_allclose(one["pscp"], 80 * costs[0] * costs[1] * costs[2], rtol=1e-12)
    assert np.isnan(pscp["pscp"].sel({"method": "ia3"})).all()
    assert int(pscp["datasets_planned"].sel({"method": "ia3"}).item()) == 2
    train = xr.open_dataset(PATH, engine=engine, group=CELL + "/train").load()
    assert train["loss"].dims == ("step",) and train["loss"].attrs["long_name"]
    assert float(train["lr"].sel(step=10)) == 1e-4
    predictions = xr.open_dataset(PATH, engine=engine, group=CELL + "/predictions").load()
    assert predictions["label"].values[2] == "ü"
    phases = xr.open_dataset(PATH, engine=engine, group=CELL + "/phases").load()
    assert float(phases["seconds"].sel(name="train")) == 12.5
    for group in ("memory", "metrics", "validation"):
        assert xr.open_dataset(PATH, engine=engine, group=f"{CELL}/{group}").load().sizes
    empty = xr.open_dataset(PATH, engine=engine, group=FAILED + "/train").load()
    assert empty.sizes["step"] == 0


def check_variants_pandas():
    """Settings are columns: what a variant has, what applies to no other, and a text among numbers."""
    with h5py.File(VARIED) as file:
        check_every_dataset(file)
        table = pd.DataFrame(file["results"][:])
        units = dict(zip(file["results"].dtype.names, file["results"].attrs["column_units"]))
    assert list(table["method_base"][:4]) == [b"none", b"lora", b"lora", b"ia3"]
    assert set(table["dataset_base"]) == {b"rte"} and set(table["model_base"]) == {b"demo"}
    assert list(table["setting_schedule"][:4]) == [b"", b"linear", b"cosine", b""]
    np.testing.assert_array_equal(table["setting_r"][:4], [np.nan, 4, 8, np.nan])
    np.testing.assert_array_equal(table["setting_decay_all"][:4], [np.nan, np.nan, np.nan, 1])
    assert units["setting_r"] == "1" and units["setting_schedule"] == "" and units["score"] == "percent"
    by = table.pivot_table("score", "setting_rate", "setting_train_rows")
    assert by.to_dict() == {100: {1e-4: 2, 0.01: 3.5}, 400: {1e-4: 6, 0.01: 7.5}}


def check_variants_xarray(engine):
    """The same as coordinates over their axis, so that one line selects or groups."""
    with xr.open_dataset(VARIED, engine=engine, group="grid") as grid:
        axis = {"method_base": "method", "setting_r": "method", "setting_rate": "method", "setting_schedule": "method",
                "setting_decay_all": "method", "dataset_base": "dataset", "setting_train_rows": "dataset",
                "model_base": "model"}
        assert {name: grid.coords[name].dims for name in axis} == {name: (dim,) for name, dim in axis.items()}
        lora = grid["score"].where(grid.method_base == "lora", drop=True)
        assert lora.values.ravel().tolist() == [2, 3, 6, 7]
        assert grid["score"].groupby("setting_rate").mean(...).values.tolist() == [4, 5.5]
        one = grid["score"].isel({"dataset": grid.setting_train_rows == 400, "method": grid.setting_r == 8})
        assert one.item() == 7
        unstacked = lora.set_index(method=["setting_r", "setting_rate"]).unstack("method").isel(dataset=0, model=0, seed=0)
        np.testing.assert_array_equal(unstacked.transpose("setting_r", "setting_rate"), [[2, np.nan], [np.nan, 3]])
        assert grid["setting_schedule"].values.tolist() == ["", "linear", "cosine", ""]


def follow_default(group):
    """As viewers do: from a group through its attribute "default" to what they plot; None if it leads nowhere."""
    while isinstance(group, h5py.Group) and group.attrs.get("NX_class") != "NXdata":
        if "default" not in group.attrs:
            return None
        group = group[group.attrs["default"]]
    return group


def check_plot(group):
    """The rules of NXdata, and those of h5web, which does not accept text axes."""
    signal = group[group.attrs["signal"]]
    assert signal.dtype.kind in "if" and signal.size > 0, group.name
    axes = group.attrs["axes"]
    assert axes.shape == (signal.ndim,), group.name
    for size, axis in zip(signal.shape, axes):
        if axis != ".":
            assert group[axis].shape == (size,) and group[axis].dtype.kind in "if", (group.name, axis)
    slices = group.attrs.get("default_slice", ["."] * signal.ndim)
    assert len(slices) == signal.ndim, group.name
    assert all(s == "." or 0 <= int(s) < size for s, size in zip(slices, signal.shape)), group.name
    shown = {None: 1, "image": 2}[signal.attrs.get("interpretation")]
    assert signal.ndim == 1 or list(slices).count(".") == shown, group.name


def check_nexus():
    with h5py.File(PATH) as file:
        plots = {}

        def visit(name, item):
            if item.attrs.get("NX_class") == "NXdata":
                check_plot(item)
                plots[name] = (item.attrs["signal"], *item.attrs["axes"])

        file.visititems(visit)
        assert plots.pop("grid") == ("score", ".", ".", ".", "seed")
        assert plots.pop("pscp") == ("pscp", ".", ".")
        done = [CELL, CELL.replace("rte", "sst2")]
        assert plots.keys() == {f"{cell}/{name}" for cell in done for name in ("train", "validation", "memory")}
        assert plots[CELL + "/train"] == plots[CELL + "/validation"] == ("loss", "step")
        assert plots[CELL + "/memory"] == ("host_bytes", "seconds")
        assert follow_default(file).name == "/pscp"
        assert follow_default(file[CELL]).name == f"/{CELL}/train"
        assert follow_default(file["cells"]) is not None
        assert follow_default(file[FAILED]) is None
    for path in glob.glob(os.path.join(os.path.dirname(PATH), "shards", "*__lora__*.h5")):
        with h5py.File(path) as file:
            assert follow_default(file).name.endswith("/train"), path
            check_plot(follow_default(file))


def check_example():
    """The example of results/README.md, on this file, without the plot, which needs matplotlib."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../../../results/README.md"), encoding="utf-8") as page:
        code = re.search(r"## Reading it.*?```python\n(.*?)```", page.read(), re.S)[1]
    for old, new in (("quick.h5", PATH), ("cells/demo/demo-pairs/lora/42", CELL), ('train["loss"].plot()', "")):
        assert old in code, old
        code = code.replace(old, new)
    names = {}
    exec(code, names)  # the code is our own
    assert len(names["table"]) == 3 and names["host"] == "node1" and names["train"].sizes["step"] == 20
    names["grid"].close()
    names["train"].close()


check_h5py()
check_pandas()
check_variants_pandas()
check_example()
check_nexus()
for name in ("h5netcdf", "netcdf4"):
    check_xarray(name)
    check_variants_xarray(name)
print("read by h5py", h5py.__version__, "pandas", pd.__version__, "xarray", xr.__version__)
