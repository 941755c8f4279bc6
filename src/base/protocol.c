// SPDX-License-Identifier: Apache-2.0
/* The names of the protocols. */
#include "pb/protocol.h"

#include <stddef.h>

const char *const pb_protocol_names[] = {
    [PB_PROTOCOL_CORRECTED] = "corrected", [PB_PROTOCOL_PAPER] = "paper", NULL};
