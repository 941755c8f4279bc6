// SPDX-License-Identifier: Apache-2.0
/* The configuration of --dataset, for the commands that work with one data set and no model. */
#pragma once

#include "pb/cli.h"
#include "pb/config.h"
#include "pb/protocol.h"

extern const pb_option dataset_config_options[]; /* --dataset --protocol --set */

pb_protocol dataset_config_protocol(const pb_cli *cli); /* of --protocol */

/* Opens the file of --dataset and lays --set over it. The file is a path that ends in ".cfg", or
 * dataset/NAME.cfg in ./configs, in the folders that PB_CONFIGS lists, or in the configurations
 * beside the program. --set may change keys of `groups` (NULL-terminated). The caller closes the
 * configuration, which has a group `dataset`. */
pb_status dataset_config_open(const pb_cli *cli, const char *const *groups,
                              pb_config **out) PB_MUST_USE;
/* The same of a name that another option has: --dataset is not needed then. */
pb_status dataset_config_open_name(const pb_cli *cli, const char *option, const char *name,
                                   const char *const *groups, pb_config **out) PB_MUST_USE;
