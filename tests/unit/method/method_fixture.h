// SPDX-License-Identifier: Apache-2.0
/* A small random model and methods on it, for the tests of the method module.
 */
#pragma once

#include "device.h"

#include "pb/method.h"
#include "pb/weights.h"

typedef struct method_fixture {
    pb_backend *backend;
    pb_model *model;
    pb_weights *weights; /* NULL if the test opens its own model */
} method_fixture;

/* L = 3, D = 16, H = 4, K = 2, E = 4, F = 24, V = 40; `biases`: on attention
 * and feed-forward. */
pb_model_config method_fixture_config(bool tied, bool biases);
void method_fixture_open(method_fixture *f, bool tied, bool biases);
/* Also checks that all accounted bytes were returned. */
void method_fixture_close(method_fixture *f);

/* A method with its options as configuration text ("" for the defaults), attached to the weights
 * when created. */
pb_status method_fixture_try(const method_fixture *f, const char *name, const char *options,
                             uint64_t seed, pb_method **out) PB_MUST_USE;
pb_method *method_fixture_make(const method_fixture *f, const char *name, const char *options,
                               uint64_t seed);

/* Random values of size about `scale` in all trainables. */
void method_fixture_scatter(pb_method *m, uint64_t salt, double scale);

const pb_trainable *method_fixture_find(const pb_method *m, const char *name);

/* Fails unless both are the same method with the same tensors, bit for bit. */
void method_fixture_same(const pb_method *a, const pb_method *b);

/* A fresh folder, removed by method_fixture_remove. */
void method_fixture_folder(char *path, size_t size);
void method_fixture_remove(const char *path);
void method_fixture_write(const char *folder, const char *name, const char *text);

/* Appends the name and the effective options in configuration syntax. */
pb_status method_describe(const pb_method *m, pb_string *out) PB_MUST_USE;
