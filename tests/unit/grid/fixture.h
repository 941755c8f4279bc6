// SPDX-License-Identifier: Apache-2.0
/* A tree of configurations in a temporary folder: two models, three data sets, three methods. */
#pragma once

#include "pb/file.h"
#include "pb/grid.h"
#include "pb/memory.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64]; /* contains model, dataset, method, grid */

static inline const char *file_path(const char *name)
{
    static char path[192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline void write_file(const char *name, const char *text)
{
    assert_int_equal(pb_file_write_atomic(file_path(name), text, strlen(text)), PB_OK);
}

static const char *const fixture_files[][2] = {
    {"model/small.cfg", "model = { path = \"weights/small\"; };\ntrain = { batch = 1; a = 1; };"},
    {"model/large.cfg", "model = { path = \"weights/large\"; };"},
    {"dataset/rte.cfg", "dataset = { name = \"rte\"; };\ntrain = { batch = 2; b = 2; };"},
    {"dataset/sst2.cfg", "dataset = { name = \"sst2\"; };"},
    {"dataset/boolq.cfg", "dataset = { name = \"boolq\"; };"},
    {"method/none.cfg", "method = { name = \"none\"; };"},
    {"method/lora.cfg", "method = { name = \"lora\"; r = 16; };\ntrain = { batch = 3; c = 3; };"},
    {"method/odd.cfg", "method = { name = \"odd\"; };\nextra = { };"},
    {"method/empty.cfg", "train = { };"},
    {"method/flat.cfg", "method = 3;"},
};

enum { FIXTURE_FILES = sizeof fixture_files / sizeof *fixture_files };

static inline int fixture_make(void **state)
{
    (void)state;
    const char *const folders[] = {"model", "dataset", "method", "grid"};
    snprintf(folder, sizeof folder, "/tmp/pb_grid_XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        if (pb_path_make_directories(file_path(folders[i])) != PB_OK) {
            return -1;
        }
    }
    for (int i = 0; i < FIXTURE_FILES; i++) {
        write_file(fixture_files[i][0], fixture_files[i][1]);
    }
    unsetenv("PB_CONFIGS");
    return 0;
}

static inline int fixture_remove(void **state)
{
    (void)state;
    const char *const names[] = {"grid/g.cfg", "model", "dataset", "method", "grid", ""};
    for (int i = 0; i < FIXTURE_FILES; i++) {
        unlink(file_path(fixture_files[i][0]));
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        remove(file_path(names[i]));
    }
    return 0;
}

static inline pb_status open_grid(const char *text, const char *set, pb_grid **out)
{
    write_file("grid/g.cfg", text);
    return pb_grid_open(file_path("grid/g.cfg"), &set, set != NULL, out);
}
