// SPDX-License-Identifier: Apache-2.0
/* The options that `run` and `plan` share. */
#include "commands.h"

pb_status cli_open_sweep(const pb_cli *cli, pb_sweep_options *how, pb_sweep **out)
{
    how->grid        = pb_cli_argument(cli, 0);
    how->sets        = pb_cli_list(cli, "set", &how->set_count);
    how->has_threads = pb_cli_given(cli, "threads");
    how->threads     = pb_cli_int(cli, "threads");
    how->device      = pb_cli_given(cli, "device") ? pb_cli_text(cli, "device") : NULL;
    how->dtype       = pb_cli_given(cli, "dtype") ? pb_cli_text(cli, "dtype") : NULL;
    return pb_sweep_open(how, cli->comm, out);
}
