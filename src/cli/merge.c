// SPDX-License-Identifier: Apache-2.0
/* peftbench merge: the shards of a directory → one file. */
#include "commands.h"

#include "pb/file.h"
#include "pb/report.h"
#include "pb/stop.h"

static const pb_option options[] = {
    {.name     = "output",
     .letter   = 'o',
     .kind     = PB_OPTION_TEXT,
     .value    = "FILE.h5",
     .required = true,
     .help     = "the merged file; one that is there is replaced"},
    PB_OPTION_END,
};

static pb_status run(pb_cli *cli)
{
    const char *path = pb_cli_text(cli, "output");

    if (pb_comm_rank(cli->comm) != 0) {
        return PB_OK;
    }
    if (pb_path_is_directory(path)) {
        return PB_FAIL(PB_ERR_USAGE, "merge: -o %s is a directory; name a file", path);
    }
    pb_stop_catch();
    pb_stop_arm(0);
    pb_status status = pb_report_merge(pb_cli_argument(cli, 0), path);
    pb_stop_release();
    return status == PB_STOPPED ? pb_error_prefix(status, "merge: nothing is written") : status;
}

const pb_command pb_command_merge = {
    .name          = "merge",
    .help          = "gather the finished cells of a directory into one file",
    .usage         = "DIR -o FILE.h5",
    .details       = "Nothing is merged while shards are damaged: all of them are named, and the "
                     "same run makes them again.\n",
    .options       = {options},
    .min_arguments = 1,
    .max_arguments = 1,
    .run           = run,
};
