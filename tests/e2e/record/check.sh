#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# check.sh python|h5dump MAKE_FILE: makes a results file and reads it with other programs. Python is
# $PB_PYTHON (with h5py, pandas, xarray, h5netcdf, netCDF4); without it the check is skipped.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
missing() {
    echo "skipped: $1" >&2
    [ -z "${CI:-}" ] || exit 1
    exit 77
}
case $1 in
python)
    [ -n "${PB_PYTHON:-}" ] || missing "PB_PYTHON names no Python with h5py and xarray"
    "$2" "$directory"
    "$PB_PYTHON" -W error "$here/check_h5.py" "$directory/made-up.h5"
    ;;
h5dump)
    command -v h5dump >/dev/null || missing "h5dump is not installed"
    "$2" "$directory"
    h5dump -H "$directory/made-up.h5" >"$directory/header" 2>"$directory/complaints"
    [ ! -s "$directory/complaints" ]
    for name in '"results"' '"grid"' '"pscp"' 'demo%2Fmodel' DIMENSION_LIST '"predictions"'; do
        grep -q "$name" "$directory/header" || { echo "h5dump shows no $name" >&2; exit 1; }
    done
    h5dump "$directory/made-up.h5" >/dev/null 2>"$directory/complaints"
    [ ! -s "$directory/complaints" ]
    ;;
*)
    exit 2
    ;;
esac
