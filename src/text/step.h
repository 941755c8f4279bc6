// SPDX-License-Identifier: Apache-2.0
/* Normalizers, pre-tokenizers and decoders are lists of steps. A step has a kind: one row of its
 * stage's table, with its name in tokenizer.json, the options it knows, and its effect on the
 * current text and pieces. */
#pragma once

#include "json.h"
#include "pattern.h"
#include "scratch.h"

typedef struct pb_step pb_step;

typedef struct pb_step_kind {
    const char *name;
    const char *keys; /* options, separated by spaces; "type" is always known */
    /* Reads the options; NULL when there are none that matter. */
    pb_status (*parse)(const json_t *node, const char *place, pb_step *step);
    pb_status (*run)(const pb_step *step, pb_scratch *w);
} pb_step_kind;

typedef enum pb_split_behavior {
    PB_SPLIT_REMOVED,
    PB_SPLIT_ISOLATED,
    PB_SPLIT_WITH_PREVIOUS,
    PB_SPLIT_WITH_NEXT,
    PB_SPLIT_CONTIGUOUS,
} pb_split_behavior;

typedef enum pb_prepend_scheme {
    PB_PREPEND_ALWAYS,
    PB_PREPEND_FIRST,
    PB_PREPEND_NEVER,
} pb_prepend_scheme;

struct pb_step {
    const pb_step_kind *kind;
    pb_pattern pattern;    /* what is searched for */
    char *content;         /* the replacement, prefix or character to strip */
    size_t content_length; /* bytes */
    int64_t start, stop;   /* how many characters are stripped */
    pb_split_behavior behavior;
    pb_prepend_scheme prepend;
    bool invert, split, left, right;
};

typedef struct pb_steps {
    pb_step *items;
    size_t count;
} pb_steps;

/* The description of a stage. */
typedef struct pb_stage {
    const char *name;          /* "normalizer": also the key in tokenizer.json */
    const char *list_key;      /* of its Sequence: "normalizers" */
    const pb_step_kind *kinds; /* [count] */
    size_t count;
} pb_stage;

extern const pb_stage pb_stage_normalizer;
extern const pb_stage pb_stage_pretokenizer;
extern const pb_stage pb_stage_decoder;

/* Reads the stage of a tokenizer.json; sequences become flat. Absent: no steps. */
pb_status pb_steps_parse(const pb_stage *stage, const json_t *root, pb_steps *out) PB_MUST_USE;
void pb_steps_clear(pb_steps *steps);

/* Runs all steps on the current text (and pieces). */
pb_status pb_steps_run(const pb_steps *steps, pb_scratch *w) PB_MUST_USE;

/* Copies the text under a key into step->content. */
pb_status pb_step_content(const json_t *node, const char *place, const char *key,
                          pb_step *step) PB_MUST_USE;

/* Refuses a Metaspace that prefixes only the start of a text, beside a normalizer that may strip
 * characters from the start: HF then disagrees on where the text begins. */
pb_status pb_steps_check_start(const pb_steps *normalizer,
                               const pb_steps *pretokenizer) PB_MUST_USE;

/* True when a pre-tokenizer ends in bytes: the pieces are then tokenised by byte. An error when
 * other steps follow. */
pb_status pb_steps_are_bytes(const pb_steps *steps, bool *out) PB_MUST_USE;
