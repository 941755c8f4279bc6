// SPDX-License-Identifier: Apache-2.0
/* A pack: a file with the shards of many cells, which grows by whole records. A record is a line
 *
 *     peftbench cell <round> <bytes> <check> <name>
 *
 * and that many bytes of a shard, which has a checksum of its own. The check is the beginning of
 * the SHA-256 of round, bytes and name; the name is that of a shard without ".h5". Rounds count the
 * runs that wrote into a folder: of two records of a cell the one of the later round counts, and
 * within a round the later one. */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest line; names of shards have at most 200 bytes. */
enum { PACK_LINE = 320 };

typedef struct pack_record {
    int64_t line;   /* offset of its line */
    int64_t at;     /* of the shard */
    int64_t size;   /* bytes of the shard */
    int64_t number; /* in the pack, from 1 */
    int64_t round;
    char name[PACK_LINE];
} pack_record;

/* What is in a pack beside whole records. */
typedef struct pack_gap {
    int64_t from, to; /* bytes */
    int64_t after;    /* number of the record before it, 0: none */
} pack_gap;

typedef struct pack_visitor {
    pb_status (*record)(void *context, const pack_record *record);
    pb_status (*damage)(void *context, const pack_gap *gap); /* may be NULL */
    void *context;
} pack_visitor;

/* Visits the records from offset `from`, number `after` + 1, on. *tail: the beginning of a record
 * that was not written to its end; tail->from is where the next one goes. `path`: for messages. */
pb_status pack_walk(int fd, const char *path, int64_t from, int64_t after,
                    const pack_visitor *visitor, pack_gap *tail) PB_MUST_USE;

pb_status pack_line(const char *name, int64_t round, int64_t size, pb_string *out) PB_MUST_USE;
