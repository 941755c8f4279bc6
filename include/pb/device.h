// SPDX-License-Identifier: Apache-2.0
/* Names of devices, as written in the option --device and the key run.device. */
#pragma once

#include "pb/status.h"

/* "auto", a device of this build ("cpu") or one of several ("cuda:N") → backend and number. Without
 * a number the processes of a node share out the devices: -1 - node_rank, see pb_backend_open. */
pb_status pb_device_parse(const char *text, int node_rank, const char **backend,
                          int *number) PB_MUST_USE;
