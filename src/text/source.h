// SPDX-License-Identifier: Apache-2.0
/* The files of a tokenizer's folder, read and parsed but not yet understood. */
#pragma once

#include "json.h"

#include "pb/hash.h"
#include "pb/string.h"

typedef struct text_source {
    json_t *root;          /* tokenizer.json, or the files of an older layout converted to it */
    json_t *config;        /* tokenizer_config.json, NULL when there is none */
    json_t *map;           /* special_tokens_map.json, NULL when there is none */
    json_t *added;         /* added_tokens.json, or NULL */
    json_t *names;         /* of the special tokens, from config and map: see declared.h */
    const char *chat_file; /* the file of the chat template, or NULL */
    pb_string chat_template;
    char *path; /* of the main file, for messages */
    char hash[PB_HASH_TEXT];
} text_source;

pb_status source_read(const char *directory, text_source *out) PB_MUST_USE;
void source_clear(text_source *source);
