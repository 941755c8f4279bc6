// SPDX-License-Identifier: Apache-2.0
/* Shared by the tests of checkpoints: a folder, files with given bytes, a small valid checkpoint,
 * and the check of a failure. Every helper fails the test when it cannot do its work. */
#pragma once

#include "pb/model.h"
#include "pb/safetensors.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

/* A fresh folder for this process; the same at every call. */
const char *fixture_folder(void);
/* "<folder>/<name>"; a few results are valid at a time. */
const char *fixture_path(const char *name);
void fixture_write(const char *path, const void *bytes, size_t size);
void fixture_write_text(const char *path, const char *text);
/* The whole file, terminated; free with pb_memory_free. */
char *fixture_read(const char *path, size_t *size);
/* Removes everything in the folder, and the folder. */
void fixture_remove(void);
/* Tear-down of a group of tests: removes the folder; all memory has been returned. */
int fixture_finish(void **state);

/* The status and every one of the words (up to the terminating NULL) in its message. */
void fixture_expect(pb_status status, pb_status expected, ...);

/* The configuration of a model of 1 layer: D 8, H 2, K 1, E 4, F 12, V 16. */
pb_model_config fixture_config(void);
/* Field by field. */
void fixture_expect_equal(const pb_model_config *a, const pb_model_config *b);
/* Writes that model with random weights into "<folder>/<name>" and returns the path. */
const char *fixture_model(const char *name, const pb_model_config *config);

/* True when the shared input exists. Otherwise the test program ends with *code: 77 (skipped), or a
 * failure when CI is set. */
bool fixture_shared(int *code);
/* "<shared>/<name>" */
const char *fixture_shared_path(const char *name);
