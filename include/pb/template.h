// SPDX-License-Identifier: Apache-2.0
/* Chat templates: one user message and one answer as token ids, and the truncation rules.
 *
 * A template is a short list of pieces; every piece is tokenised on its own and the ids are
 * concatenated, so that no token spans the border between prompt and answer. In the paper's form
 * the text of a row is not escaped (markers in it act as markers); in the corrected form it is
 * plain text. Templates are const tables: llama3, qwen3 (thinking off), gemma, mistral, phi3,
 * chatml, none. */
#pragma once

#include "pb/tokenizer.h"

typedef struct pb_template pb_template;

/* The ids of the prompt followed by those of the answer. */
typedef struct pb_rendered {
    pb_ids ids;
    int64_t prompt_length; /* ids before the answer */
    int64_t user_begin;    /* ids [user_begin, user_end) hold the user's text; an id that */
    int64_t user_end;      /* merges text of both sides of a border counts as the user's */
} pb_rendered;

void pb_rendered_clear(pb_rendered *r); /* frees; r is empty again */

/* Unknown: an error that names the nearest. */
pb_status pb_template_find(const char *name, const pb_template **out) PB_MUST_USE;
const pb_template *pb_template_at(size_t index); /* NULL after the last */
/* The template of a model: the first template of its family (`architecture` as config.json names
 * it, such as LlamaForCausalLM, or its model_type) whose markers are all tokens; else none. */
const pb_template *pb_template_for(const char *architecture, const pb_tokenizer *t);
/* Warns, with the reason and the remedy, where the choice is none although the family has
 * templates, or where it does not match the checkpoint's own template. `path`: of the model. */
pb_status pb_template_warn(const char *architecture, const pb_tokenizer *t,
                           const char *path) PB_MUST_USE;
const char *pb_template_name(const pb_template *tpl);
/* The families of models that use this chat form, NULL-terminated; {""} for any. */
const char *const *pb_template_families(const pb_template *tpl);

/* Prompt and, unless `answer` is NULL, answer. An error when the tokenizer lacks a marker of the
 * template. `out` must be empty. */
pb_status pb_template_render(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                             const char *answer, bool corrected, pb_rendered *out) PB_MUST_USE;

/* The corrected truncation: as render with corrected = true, but the end of the user's text is cut
 * (at a character) until the ids are at most `cutoff`; template pieces and answer stay whole.
 * *dropped: bytes cut from the user's text. *fits: false when template and answer alone are too
 * long (out then holds them with an empty user text). */
pb_status pb_template_render_within(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                                    const char *answer, int64_t cutoff, pb_rendered *out,
                                    size_t *dropped, bool *fits) PB_MUST_USE;

/* The paper's truncation: a prompt of `prompt` ids and an answer of `answer` ids are both cut at
 * their end to *kept_prompt and *kept_answer. */
void pb_template_truncate_paper(int64_t prompt, int64_t answer, int64_t cutoff,
                                int64_t *kept_prompt, int64_t *kept_answer);
/* Applies the paper's truncation: r is cut in place. */
void pb_rendered_truncate_paper(pb_rendered *r, int64_t cutoff);

/* The same as text, special tokens spelled out, for inspection. `out_answer` may be NULL. Without a
 * tokenizer the leading and trailing tokens are those of the template's own model. Appends. */
pb_status pb_template_text(const pb_template *tpl, const pb_tokenizer *t, const char *user,
                           const char *answer, bool corrected, pb_string *out_prompt,
                           pb_string *out_answer) PB_MUST_USE;

/* The ids that end a generation; appends. An error when the tokenizer has none of them. */
pb_status pb_template_stop_ids(const pb_template *tpl, const pb_tokenizer *t,
                               pb_ids *out) PB_MUST_USE;
