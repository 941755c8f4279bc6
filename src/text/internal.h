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
    pb_lexicon vocabulary; /* of the model, by id */
    pb_added added;
    pb_steps normalizer, pretokenizer, decoder;
    bool has_decoder;
    pb_bpe bpe;
    pb_postprocessor post;
    int64_t size;
    int32_t bos, eos, pad;
    pb_ids additional;
    const char *chat_file; /* the file of the chat template; NULL: there is none */
    pb_string chat_template;
    char hash[PB_HASH_TEXT];
    pthread_mutex_t lock; /* of the pool */
    pb_scratch *pool;
};

/* Takes working memory from the pool, or creates it; and returns it. */
pb_status pb_tokenizer_borrow(const pb_tokenizer *t, pb_scratch **out) PB_MUST_USE;
void pb_tokenizer_return(const pb_tokenizer *t, pb_scratch *w);

/* As pb_tokenizer_encode, with the part of the text in which special tokens are plain text. */
pb_status pb_tokenizer_encode_mixed(const pb_tokenizer *t, const char *text, size_t length,
                                    pb_plain plain, bool special, pb_ids *out) PB_MUST_USE;

/* The special tokens that the configuration files name. */
pb_status pb_tokenizer_read_names(pb_tokenizer *t, const pb_source *source) PB_MUST_USE;
