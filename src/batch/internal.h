// SPDX-License-Identifier: Apache-2.0
/* The block of memory that holds the lists of a batch. */
#pragma once

#include "pb/batch.h"

/* What the lists have room for. */
typedef struct batch_room {
    int64_t segments, rows, labels, outs, samples;
} batch_room;

/* The next part of a block, on cache lines of its own; with base == NULL only counted. */
void *batch_part(char *base, size_t *used, int64_t count, size_t size);
/* Lays out the lists and returns the bytes used; with base == NULL only counts. */
size_t batch_lay_out(const batch_room *room, char *base, pb_batch *out);
/* Makes the block large enough; its contents are lost. */
pb_status batch_provide(pb_batch *out, size_t bytes) PB_MUST_USE;
