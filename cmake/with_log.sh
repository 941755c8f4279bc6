#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# with_log.sh FILE COMMAND…: the command with its messages in a file, of which only warnings and those of a failure are shown.
# ptxas reports for every kernel how many registers it has and whether it spills, which tests/e2e/cuda reads.
log=$1
shift
if ! "$@" 2>"$log"; then
    cat "$log" >&2
    exit 1
fi
grep -i warning "$log" >&2
exit 0
