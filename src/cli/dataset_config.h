// SPDX-License-Identifier: Apache-2.0
/* The configuration of a data set, for the commands that work on one data set without a model. */
#pragma once

#include "pb/cli.h"
#include "pb/config.h"
#include "pb/protocol.h"

extern const pb_option dataset_config_options[]; /* --dataset --protocol --set */

pb_protocol dataset_config_protocol(const pb_cli *cli); /* of --protocol */

/* The path of a file or folder in the configurations beside the program: those of an installation,
 * or of the sources. Free it with pb_memory_free. */
pb_status dataset_config_own(const char *name, char **path) PB_MUST_USE;

/* Opens the file of a data set and applies --set. `name` is a path that ends in ".cfg", or the NAME
 * of dataset/NAME.cfg in ./configs, in the folders that PB_CONFIGS lists, or in the configurations
 * beside the program; `place` says where it was given, for messages. --set may change keys of
 * `groups` (NULL-terminated). Without `rows` the set has no files of rows, whose names may need
 * variables of the environment. The caller closes the configuration, which has a group `dataset`.
 */
pb_status dataset_config_open(const pb_cli *cli, const char *place, const char *name,
                              const char *const *groups, bool rows, pb_config **out) PB_MUST_USE;
