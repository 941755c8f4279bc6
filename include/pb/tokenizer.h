// SPDX-License-Identifier: Apache-2.0
/* Tokenizers as Hugging Face writes them: text to ids and back, identical to the `tokenizers`
 * library. A tokenizer is immutable once open and may be used from several threads at once.
 *
 *     pb_tokenizer *t = NULL;
 *     PB_TRY(pb_tokenizer_open("models/stories260K", &t));
 *     pb_ids ids = {0};
 *     status = pb_tokenizer_encode(t, text, strlen(text), true, &ids);
 *     pb_ids_clear(&ids);
 *     pb_tokenizer_close(t);
 */
#pragma once

#include "pb/status.h"
#include "pb/string.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing list of ids. Zero-initialised is empty. */
typedef struct pb_ids {
    int32_t *items;
    int64_t count, capacity;
} pb_ids;

void pb_ids_clear(pb_ids *ids); /* frees; ids is empty again */
pb_status pb_ids_reserve(pb_ids *ids,
                         int64_t more) PB_MUST_USE; /* makes room for `more` further ids */
pb_status pb_ids_append(pb_ids *ids, int32_t id) PB_MUST_USE;
pb_status pb_ids_extend(pb_ids *ids, const int32_t *items, int64_t count) PB_MUST_USE;

typedef struct pb_tokenizer pb_tokenizer;

/* Reads `model_dir`/tokenizer.json; where there is none vocab.json and merges.txt (GPT-2, Qwen2),
 * or SentencePiece's tokenizer.model; and the tokens that tokenizer_config.json, added_tokens.json
 * and special_tokens_map.json declare, as transformers does; ids in them that contradict each other
 * are errors. Model type BPE only; whatever is not supported
 * is refused by name. The sections `truncation` and `padding` are not applied. */
pb_status pb_tokenizer_open(const char *model_dir, pb_tokenizer **out) PB_MUST_USE;
void pb_tokenizer_close(pb_tokenizer *t); /* accepts NULL */

/* Appends the ids of the text (UTF-8, `length` bytes). `special`: what the post-processor adds
 * (HF's add_special_tokens). Added and special tokens spelled in the text are recognised. On
 * failure `out` is as before. */
pb_status pb_tokenizer_encode(const pb_tokenizer *t, const char *text, size_t length, bool special,
                              pb_ids *out) PB_MUST_USE;

/* pb_tokenizer_encode of many texts on `threads` threads (0: one per processor). `out` has `count`
 * lists, all empty; list i gets the ids of text i, whatever the number of threads. On failure, that
 * of the first text that fails, all are empty again. */
pb_status pb_tokenizer_encode_rows(const pb_tokenizer *t, const char *const *texts,
                                   const size_t *lengths, int64_t count, bool special, int threads,
                                   pb_ids *out) PB_MUST_USE;

/* Appends the text of the ids; always valid UTF-8. Ids without a token (padding of the embedding)
 * give no text, as in HF; negative ones are an error. */
pb_status pb_tokenizer_decode(const pb_tokenizer *t, const int32_t *ids, int64_t count,
                              bool skip_special, pb_string *out) PB_MUST_USE;

/* Frees the working memory that calls keep for later ones, so that measurements do not depend on
 * what was tokenised before. */
void pb_tokenizer_trim(const pb_tokenizer *t); /* accepts NULL */

int64_t pb_tokenizer_size(const pb_tokenizer *t); /* highest id + 1 */

/* The id of the token with this text, spelled as in the file; false when there is none. */
bool pb_tokenizer_id(const pb_tokenizer *t, const char *token, int32_t *id);
/* The token as the file writes it, NULL when the id has none. Terminated. */
const char *pb_tokenizer_token(const pb_tokenizer *t, int32_t id);

/* Ids named by the configuration beside the tokenizer, -1 where it names none. */
int32_t pb_tokenizer_bos(const pb_tokenizer *t);
int32_t pb_tokenizer_eos(const pb_tokenizer *t);
int32_t pb_tokenizer_pad(const pb_tokenizer *t);
/* The additional special tokens of the configuration. */
const pb_ids *pb_tokenizer_additional(const pb_tokenizer *t);

/* The chat template beside the tokenizer (Jinja, only inspected here) and its file; NULL when there
 * is none. */
const char *pb_tokenizer_chat_template(const pb_tokenizer *t, const char **file);

/* SHA-256 over names and bytes of the files read, 64 hex digits. */
const char *pb_tokenizer_hash(const pb_tokenizer *t);
