// SPDX-License-Identifier: Apache-2.0
/* The storage of a set of token rows: arrays while it is made, the same sections in a file. */
#pragma once

#include "pb/encoded.h"
#include "pb/file.h"
#include "pb/hash.h"

/* Sections in the order of the file. */
typedef enum encoded_section {
    SECTION_IDS,            /* int32 [total] */
    SECTION_OFFSETS,        /* int64 [count + 1] */
    SECTION_PROMPT_LENGTHS, /* int32 [count] */
    SECTION_ROWS,           /* int64 [count] */
    SECTION_FIRST_ANSWERS,  /* int64 [count + 1] into the answers */
    SECTION_ANSWERS,        /* int32 [all answers] numbers of texts */
    SECTION_TEXTS,          /* int64 [texts] offsets into the block; equal texts are one */
    SECTION_BLOCK,          /* the texts, each with its NUL */
    SECTION_ID_TEXTS,       /* int32 [count] numbers of texts; empty for training */
    SECTION_DIGESTS,        /* pb_digest [count] of the rows' own texts; empty for training */
    SECTION_COUNT
} encoded_section;

typedef struct pb_encoded_storage {
    void *arrays[SECTION_COUNT]; /* owned, or borrowed from the mapping */
    int64_t lengths[SECTION_COUNT];
    pb_mapping mapping;
} pb_encoded_storage;

size_t encoded_item_bytes(encoded_section section);
size_t encoded_section_bytes(const pb_encoded_storage *storage, int section);
/* Points the set's arrays into its storage. */
void encoded_resolve(pb_encoded_set *set);

/* Makes the set again. */
pb_status encoded_make(const pb_dataset *ds, pb_split split, const pb_encode_options *options,
                       const pb_encoded_set *test, pb_encoded_set *out) PB_MUST_USE;
