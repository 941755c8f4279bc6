// SPDX-License-Identifier: Apache-2.0
/* A template as a table, and its pieces filled with the texts of a row. */
#pragma once

#include "pb/template.h"

struct pb_template {
    const char *name;
    const char *head, *tail;               /* around the user's text, one piece */
    const char *thought;                   /* a second piece of the prompt, or NULL */
    const char *answer_head, *answer_tail; /* around the answer, one piece */
    bool bos, eos;                         /* ids before the prompt and after the answer */
    const char *bos_text, *eos_text;       /* of the model the template comes from, or NULL */
    bool bos_optional;                     /* omitted where the tokenizer names none */
    bool fills;                            /* paper: the first {{idx}} of the user's text is 0 */
    bool stop_eos, stop_additional;
    const char *markers[6]; /* tokens that the tokenizer must have; the first stop is among them */
    const char *stops[3];
    const char *families[5]; /* beginnings of the architectures that may use it */
};

typedef struct text_parts {
    pb_string prompt;             /* head, user's text, tail */
    size_t user_begin, user_size; /* bytes of the user's text in it */
    bool thought;                 /* the second piece of the prompt is there */
    pb_string answer;             /* the piece of the answer */
} text_parts;

/* `user` has `user_size` bytes; answer may be NULL. */
pb_status parts_fill(const pb_template *tpl, const char *user, size_t user_size, const char *answer,
                     bool corrected, text_parts *out) PB_MUST_USE;
void parts_clear(text_parts *parts);
