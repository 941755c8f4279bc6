// SPDX-License-Identifier: Apache-2.0
/* Shared by the single-process commands: backend, model, method and network as given by the
 * options, and token rows read from JSON lines. */
#pragma once

#include "pb/cli.h"
#include "pb/config.h"
#include "pb/network.h"
#include "pb/template.h"
#include "pb/tokenizer.h"

typedef struct session {
    pb_backend *backend;
    pb_model *model;
    pb_tokenizer *tokenizer; /* NULL when the folder has none */
    pb_config *config;       /* of --method and --set; NULL without */
    pb_method *method;       /* NULL: the bare model */
    pb_weights *weights;     /* of the model, in the backend's memory */
    pb_network *net;
} session;

/* --threads as a number: 0 becomes one per processor; too large a number is refused. */
pb_status session_threads(const pb_cli *cli, int *out) PB_MUST_USE;

/* Applies --set to the configuration: keys of these groups (NULL-terminated) alone. */
pb_status session_set_keys(const pb_cli *cli, const char *const *groups,
                           pb_config *config) PB_MUST_USE;

/* The file of --method may belong to an axis of a grid and have groups besides `method`; others are
 * refused. */
pb_status session_check_groups(const pb_config *config) PB_MUST_USE;

extern const pb_option session_options[]; /* --model --adapter --init */

/* Opens the objects that these and the common options name. Without --adapter, the group `method`
 * of the file `method` defines a new adapter; NULL: none. `seed`: of a new adapter and of
 * training. */
pb_status session_open(const pb_cli *cli, const char *method, uint64_t seed,
                       session *s) PB_MUST_USE;
/* The backend that the common options name; what slows it down is logged. */
pb_status session_open_backend(const pb_cli *cli, session *s) PB_MUST_USE;
/* Creates the method fromthe group `method` of s->config, with --set applied. */
pb_status session_create_method(const pb_cli *cli, uint64_t seed, session *s) PB_MUST_USE;
/* Weights and network over the model and the method. */
pb_status session_create_network(session *s) PB_MUST_USE;
void session_close(session *s); /* accepts a zeroed one */

/* Rows of token ids. */
typedef struct session_rows {
    pb_sample *samples;
    int64_t count;
    int32_t *storage; /* ids and labels of all rows */
    int64_t used;
} session_rows;

/* Every row is an object with "input_ids" and, with `labels`, "labels" of the same length (-100:
 * not trained); rows follow one another or form an array. Tokens at the ends of a row where
 * "attention_mask" is 0 are cut off. Errors name file:line; ids must be in 0 … vocab - 1. */
pb_status session_rows_read(const char *path, bool labels, int64_t vocab,
                            session_rows *out) PB_MUST_USE;
void session_rows_clear(session_rows *rows);

/* "1,2,3" → ids. */
pb_status session_parse_ids(const char *text, int64_t vocab, pb_ids *out) PB_MUST_USE;

/* The tokenizer of a folder and a template by name; "auto": that of the model's family. */
pb_status session_tokenizer(const char *directory, const char *tpl, pb_tokenizer **tokenizer,
                            const pb_template **out) PB_MUST_USE;
