// SPDX-License-Identifier: Apache-2.0
/* A small random model, every method on it with non-trivial values, and rows that share prefixes at
 * three levels; for the tests of the network and of training. */
#pragma once

#include "device.h"
#include "methods.h"

#include "pb/network.h"

typedef struct network_fixture {
    pb_backend *backend;
    pb_model *model;
    pb_weights *weights;
    pb_method *method; /* NULL: the bare model */
    pb_network *net;
} network_fixture;

enum { NETWORK_VOCAB = 40, NETWORK_ROWS = 6, NETWORK_LENGTH = 40 };

/* Rows with their own storage. */
typedef struct network_rows {
    pb_sample samples[NETWORK_ROWS];
    int32_t ids[NETWORK_ROWS][NETWORK_LENGTH];
    int32_t labels[NETWORK_ROWS][NETWORK_LENGTH];
} network_rows;

/* L = 3, D = 16, H = 4, K = 2, E = 4, F = 24, V = 40. Weights are N(0, 0.25²), so that every layer
 * bends the function; `biases`: on attention and feed-forward. c NULL: no method. */
void network_fixture_open(network_fixture *f, const method_case *c, bool biases, int threads);
/* A further method and network on the model of `base`. */
void network_fixture_open_beside(network_fixture *f, const network_fixture *base,
                                 const method_case *c);
void network_fixture_close_beside(network_fixture *f); /* before `base` */
/* Also checks that all accounted bytes were returned. */
void network_fixture_close(network_fixture *f);

/* Another model, of one layer, so that a run has few calls. */
void network_small_model(pb_model **out);
/* What may fail: opens the backend and, for f->model, weights, the method with its initial values,
 * and the network. */
pb_status network_open_on(network_fixture *f, const char *backend, pb_dtype dtype,
                          const method_case *c);

/* Rows 0, 1 and 4 share 19 ids, 2 shares 10 of them, 5 is a prefix of 0, 3 shares nothing; 4 equals
 * 0 with other labels. */
void network_rows_fill(network_rows *rows);

/* Packs rows as the network needs them. */
pb_batch network_pack(const network_fixture *f, const pb_sample *samples, int64_t count,
                      bool training);

/* Zeroes the gradients, runs one step with scale 1 and returns the loss. */
double network_step(network_fixture *f, const pb_batch *batch, uint64_t pass);

/* The total of bytes that the last failed allocation needed, from its message; 0 for any other
 * message. */
size_t network_bytes_wanted(void);
