// SPDX-License-Identifier: Apache-2.0
/* A scratch directory per test: created before it, removed with its contents afterwards. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char scratch[64];

static inline int scratch_create(void **state)
{
    (void)state;
    (void)snprintf(scratch, sizeof scratch, "/tmp/pb-test-XXXXXX");
    return mkdtemp(scratch) == NULL;
}

static inline int scratch_remove_one(const char *path, const struct stat *about, int kind,
                                     struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

static inline int scratch_destroy(void **state)
{
    (void)state;
    return nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "<scratch>/<name>", in one of four rotating buffers. */
static inline const char *scratch_path(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}
