// SPDX-License-Identifier: Apache-2.0
/* The attributes of NeXus (NXdata) that viewers such as h5web, silx and NeXpy look for: what to
 * plot when a file or a group is opened. */
#pragma once

#include "hdf.h"

#define NEXUS_RANK_MAX 4

/* Axes are numeric datasets of the group by name, one per dimension of the signal; "." where there
 * is none, since viewers refuse axes of texts. */
typedef struct nexus_plot {
    const char *signal;
    int rank;
    const char *axes[NEXUS_RANK_MAX];
    const char *interpretation; /* of the signal, "image" or "spectrum"; may be NULL */
    const char
        *slice[NEXUS_RANK_MAX]; /* shown first: an index, "." for all; the first may be NULL */
} nexus_plot;

/* Marks a group, whose datasets already exist, as an NXdata. */
pb_status nexus_data(hid_t group, const nexus_plot *plot) PB_MUST_USE;

/* The child that is plotted when the group itself is opened. */
pb_status nexus_default(hid_t group, const char *child) PB_MUST_USE;
