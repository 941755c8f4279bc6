// SPDX-License-Identifier: Apache-2.0
/* What lies under a name that is not a regular file, for messages. */
#pragma once

#include <sys/types.h>

const char *file_kind(mode_t mode); /* "a directory", "a pipe", "a device", … */
