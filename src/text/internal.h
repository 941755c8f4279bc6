// SPDX-License-Identifier: Apache-2.0
/* The tokenizer as its own files see it. */
#pragma once

#include "added.h"
#include "bpe.h"
#include "lexicon.h"
#include "postprocessor.h"
#include "source.h"
#include "step.h"

#include "pb/tokenizer.h"

#include <pthread.h>

struct pb_tokenizer {
    text_lexicon vocabulary; /* of the model, by id */
    text_added added;
    text_steps normalizer, pretokenizer, decoder;
    bool has_decoder;
    text_bpe bpe;
    postprocessor post;
    int64_t size;
    int32_t bos, eos, pad;
    pb_ids additional;
    const char *chat_file; /* the file of the chat template; NULL: there is none */
    pb_string chat_template;
    char hash[PB_HASH_TEXT];
    pthread_mutex_t lock; /* of the pool */
    text_scratch *pool;
};

/* Takes working memory from the pool, or creates it; and returns it. */
pb_status tokenizer_borrow(const pb_tokenizer *t, text_scratch **out) PB_MUST_USE;
void tokenizer_return(const pb_tokenizer *t, text_scratch *w);

/* As pb_tokenizer_encode, with the part of the text in which special tokens are plain text. */
pb_status tokenizer_encode_mixed(const pb_tokenizer *t, const char *text, size_t length,
                                 text_plain plain, bool special, pb_ids *out) PB_MUST_USE;

/* The special tokens that the configuration files name. */
pb_status tokenizer_read_names(pb_tokenizer *t, const text_source *source) PB_MUST_USE;
