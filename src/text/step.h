// SPDX-License-Identifier: Apache-2.0
/* Normalizers, pre-tokenizers and decoders are lists of steps. A step has a kind: one row of its
 * stage's table, with its name in tokenizer.json, the options it knows, and its effect on the
 * current text and pieces. */
#pragma once

#include "json.h"
#include "pattern.h"
#include "scratch.h"

typedef struct text_step text_step;

typedef struct step_kind {
    const char *name;
    const char *keys; /* options, separated by spaces; "type" is always known */
    /* Reads the options; NULL when there are none that matter. */
    pb_status (*parse)(const json_t *node, const char *place, text_step *step);
    pb_status (*run)(const text_step *step, text_scratch *w);
} step_kind;

typedef enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_WITH_PREVIOUS,
    SPLIT_WITH_NEXT,
    SPLIT_CONTIGUOUS,
} split_behavior;

typedef enum prepend_scheme {
    PREPEND_ALWAYS,
    PREPEND_FIRST,
    PREPEND_NEVER,
} prepend_scheme;

struct text_step {
    const step_kind *kind;
    text_pattern pattern;  /* what is searched for */
    char *content;         /* the replacement, prefix or character to strip */
    size_t content_length; /* bytes */
    int64_t start, stop;   /* how many characters are stripped */
    split_behavior behavior;
    prepend_scheme prepend;
    bool invert, split, left, right;
};

typedef struct text_steps {
    text_step *items;
    size_t count;
} text_steps;

/* The description of a stage. */
typedef struct text_stage {
    const char *name;       /* "normalizer": also the key in tokenizer.json */
    const char *list_key;   /* of its Sequence: "normalizers" */
    const step_kind *kinds; /* [count] */
    size_t count;
} text_stage;

extern const text_stage stage_normalizer;
extern const text_stage stage_pretokenizer;
extern const text_stage stage_decoder;

/* Reads the stage of a tokenizer.json; sequences become flat. Absent: no steps. */
pb_status steps_parse(const text_stage *stage, const json_t *root, text_steps *out) PB_MUST_USE;
void steps_clear(text_steps *steps);

/* Runs all steps on the current text (and pieces). */
pb_status steps_run(const text_steps *steps, text_scratch *w) PB_MUST_USE;

/* Copies the text under a key into step->content. */
pb_status step_content(const json_t *node, const char *place, const char *key,
                       text_step *step) PB_MUST_USE;

/* Copies the one character under "replacement". */
pb_status step_replacement(const json_t *node, const char *place, text_step *step) PB_MUST_USE;

/* Refuses a Metaspace thatprefixes only the start of a text, beside a normalizer that may strip
 * characters from the start: HF then disagrees on where the text begins. */
pb_status steps_check_start(const text_steps *normalizer,
                            const text_steps *pretokenizer) PB_MUST_USE;

/* True when a pre-tokenizer ends in bytes: the pieces are then tokenised by byte. An error when
 * other steps follow. */
pb_status steps_are_bytes(const text_steps *steps, bool *out) PB_MUST_USE;
