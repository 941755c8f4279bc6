// SPDX-License-Identifier: Apache-2.0
/* peftbench merge: merges the shards of a directory into one file. */
#include "commands.h"

#include "pb/file.h"
#include "pb/memory.h"
#include "pb/sweep.h"

static const pb_option options[] = {
    PB_CLI_OUTPUT("FILE.h5", false,
                  "the merged file, replaced if it exists; default: DIR/<sweep>.h5, like run"),
    PB_OPTION_END,
};

/* Its path is the last line of standard output, as in `run`. */
static pb_status merge(const pb_cli *cli, const char *path)
{
    pb_string line   = {0};
    pb_status status = PB_OK;
    if (pb_path_is_directory(path)) {
        return PB_FAIL(PB_ERR_USAGE, "merge: -o %s is a directory; name a file", path);
    }
    status = pb_sweep_merge(pb_cli_argument(cli, 0), path);
    if (status == PB_STOPPED) {
        return pb_error_prefix(status, "merge: nothing was written");
    }
    PB_TRY(status);
    return cli_print_made(cli, pb_string_printf(&line, "%s\n", path), &line);
}

static pb_status run(pb_cli *cli)
{
    const char *given = pb_cli_text(cli, "output");
    char *path        = NULL;

    if (given != NULL) {
        return merge(cli, given);
    }
    pb_status status = pb_sweep_merged_path(pb_cli_argument(cli, 0), &path);
    if (status != PB_OK) {
        return pb_error_prefix(status, "merge: the name of the sweep is not known; name the file "
                                       "with -o FILE.h5");
    }
    status = merge(cli, path);
    pb_memory_free(path);
    return status;
}

const pb_command command_merge = {
    .name          = "merge",
    .help          = "gather the finished cells of a directory into one file",
    .usage         = "DIR [-o FILE.h5]",
    .details       = "Without -o it is DIR/<sweep>.h5, the file that `run` writes. Its path is "
                     "printed. Nothing is merged while shards are damaged: all of them are "
                     "named, and the same run makes them again.\n",
    .options       = {options},
    .first         = true,
    .stops         = true,
    .min_arguments = 1,
    .max_arguments = 1,
    .run           = run,
};
