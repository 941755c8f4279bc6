// SPDX-License-Identifier: Apache-2.0
/* Reading a set of token rows. */
#include "encoded.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <inttypes.h>

size_t encoded_item_bytes(encoded_section section)
{
    static const unsigned char bytes[SECTION_COUNT] = {
        [SECTION_IDS]            = sizeof(int32_t),
        [SECTION_OFFSETS]        = sizeof(int64_t),
        [SECTION_PROMPT_LENGTHS] = sizeof(int32_t),
        [SECTION_ROWS]           = sizeof(int64_t),
        [SECTION_FIRST_ANSWERS]  = sizeof(int64_t),
        [SECTION_ANSWERS]        = sizeof(int32_t),
        [SECTION_TEXTS]          = sizeof(int64_t),
        [SECTION_BLOCK]          = sizeof(char),
        [SECTION_ID_TEXTS]       = sizeof(int32_t),
        [SECTION_DIGESTS]        = sizeof(pb_digest),
    };
    return bytes[section];
}

size_t encoded_section_bytes(const pb_encoded_storage *storage, int section)
{
    return (size_t)storage->lengths[section] * encoded_item_bytes((encoded_section)section);
}

void encoded_resolve(pb_encoded_set *set)
{
    void *const *arrays = set->storage->arrays;

    set->ids            = arrays[SECTION_IDS];
    set->offsets        = arrays[SECTION_OFFSETS];
    set->prompt_lengths = arrays[SECTION_PROMPT_LENGTHS];
    set->rows           = arrays[SECTION_ROWS];
    set->count          = set->storage->lengths[SECTION_ROWS];
    set->total          = set->storage->lengths[SECTION_IDS];
}

void pb_encoded_close(pb_encoded_set *set)
{
    pb_encoded_storage *storage = set->storage;

    for (int i = 0; storage != NULL && i < SECTION_COUNT; i++) {
        if (storage->mapping.data == NULL) {
            pb_memory_free(storage->arrays[i]);
        } else {
            pb_memory_account(-(int64_t)encoded_section_bytes(storage, i));
        }
    }
    if (storage != NULL) {
        pb_mapping_close(&storage->mapping);
    }
    pb_memory_free(storage);
    *set = (pb_encoded_set){0};
}

static const char *text_at(const pb_encoded_set *set, int32_t number)
{
    const int64_t *texts = set->storage->arrays[SECTION_TEXTS];
    const char *block    = set->storage->arrays[SECTION_BLOCK];
    return block + texts[number];
}

int64_t pb_encoded_answer_count(const pb_encoded_set *set, int64_t index)
{
    const int64_t *first = set->storage->arrays[SECTION_FIRST_ANSWERS];

    PB_ASSERT(index >= 0 && index < set->count);
    return first[index + 1] - first[index];
}

const char *pb_encoded_answer(const pb_encoded_set *set, int64_t index, int64_t which)
{
    const int64_t *first   = set->storage->arrays[SECTION_FIRST_ANSWERS];
    const int32_t *answers = set->storage->arrays[SECTION_ANSWERS];

    PB_ASSERT(which >= 0 && which < pb_encoded_answer_count(set, index));
    return text_at(set, answers[first[index] + which]);
}

const char *pb_encoded_id(const pb_encoded_set *set, int64_t index)
{
    const int32_t *ids = set->storage->arrays[SECTION_ID_TEXTS];

    PB_ASSERT(index >= 0 && index < set->storage->lengths[SECTION_ID_TEXTS]);
    return text_at(set, ids[index]);
}

pb_sample pb_encoded_sample(const pb_encoded_set *set, int64_t index)
{
    PB_ASSERT(index >= 0 && index < set->count);
    int64_t prompt = set->prompt_lengths[index];
    return (pb_sample){.ids          = set->ids + set->offsets[index],
                       .answer_start = prompt > 0 ? prompt : 1, /* nothing predicts the first id */
                       .length       = set->offsets[index + 1] - set->offsets[index]};
}

pb_sample pb_encoded_prompt(const pb_encoded_set *set, int64_t index)
{
    PB_ASSERT(index >= 0 && index < set->count);
    return (pb_sample){.ids = set->ids + set->offsets[index], .length = set->prompt_lengths[index]};
}

pb_status pb_encoded_reference(const pb_dataset *ds, const pb_encoded_set *set,
                               const pb_tokenizer *tokenizer, int64_t index, pb_string *out)
{
    if (pb_dataset_protocol(ds) == PB_PROTOCOL_CORRECTED) {
        return pb_string_puts(out, pb_encoded_answer(set, index, 0));
    }
    int64_t answer = set->offsets[index] + set->prompt_lengths[index];
    return pb_tokenizer_decode(tokenizer, set->ids + answer, set->offsets[index + 1] - answer, true,
                               out);
}
