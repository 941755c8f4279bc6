// SPDX-License-Identifier: Apache-2.0
/* What the files beside a vocabulary declare: tokens with ids (added_tokens_decoder of
 * tokenizer_config.json, added_tokens.json), tokens by name (bos_token …, special_tokens_map.json)
 * and lists of special tokens. Read as AutoTokenizer of transformers 5 reads them:
 *
 * - Where there is an added_tokens_decoder, special_tokens_map.json and added_tokens.json are not
 *   looked at; elsewhere the map overrides the configuration.
 * - Options of a declared token replace those of tokenizer.json.
 * - A token that no file numbers gets the next free id. Ids that two files give must agree.
 *
 * Behaviour of individual tokenizer classes is not reproduced: Qwen2Tokenizer of transformers 5,
 * for example, clears the options of special tokens. */
#pragma once

#include "source.h"

/* Sets source->names: the keys of special tokens that count. */
pb_status declared_names(text_source *source) PB_MUST_USE;

/* Rewrites "added_tokens" of source->root, which is a tokenizer.json (`composed`: what an older
 * layout amounts to). Needs the names. */
pb_status declared_apply(text_source *source, bool composed) PB_MUST_USE;

/* declared_names.c: ---------------------------------------------------------------------------- */

/* Out of memory for the tokens. */
pb_status declared_no_memory(void);
/* Puts a value under a key of an object, which takes it over, also on failure. */
pb_status declared_take(json_t *object, const char *key, json_t *value) PB_MUST_USE;
/* The same; the object shares it. */
pb_status declared_set(json_t *object, const char *key, json_t *value) PB_MUST_USE;

/* bos_token and the other standard names, in the order in which transformers adds their tokens. */
enum { STANDARD_NAMES = 7 };
extern const char *const declared_standard[STANDARD_NAMES];

bool declared_is_name(const char *key); /* a standard one */
/* "image_token" and the like: a token that a model names beside the standard ones. */
bool declared_is_own(const char *key, const json_t *value);
bool declared_has_decoder(const text_source *source);

/* The list of further special tokens that counts; NULL when there is none. */
json_t *declared_list(const text_source *source);
bool declared_lists(json_t *list, const char *text);
/* A standard name is given to the text by a string or by special_tokens_map.json, which is what
 * makes a token of added_tokens.json special; `all`: by any declaration, or one of the model's own.
 */
bool declared_is_named(const text_source *source, const char *text, bool all);

/* The text of a special token: a string, or an object with it as "content"; NULL for null, an empty
 * text and an absent value. */
pb_status declared_text(const text_source *source, const char *key, const json_t *value,
                        const char **out) PB_MUST_USE;
