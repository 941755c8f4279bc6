// SPDX-License-Identifier: Apache-2.0
/* Reading a set of token rows, and synthetic ones. */
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

static pb_status allocate_synthetic(pb_encoded_storage *s, int64_t count, int64_t total)
{
    const int64_t lengths[SECTION_COUNT] = {[SECTION_IDS]            = total,
                                            [SECTION_OFFSETS]        = count + 1,
                                            [SECTION_PROMPT_LENGTHS] = count,
                                            [SECTION_ROWS]           = count,
                                            [SECTION_FIRST_ANSWERS]  = count + 1};

    for (int i = 0; i < SECTION_COUNT; i++) {
        size_t bytes  = encoded_item_bytes((encoded_section)i);
        s->lengths[i] = lengths[i];
        s->arrays[i]  = pb_memory_new((size_t)lengths[i], bytes);
        if (s->arrays[i] == NULL) {
            return PB_ERR_MEMORY;
        }
    }
    return PB_OK;
}

pb_status pb_encoded_synthetic(int64_t count, int64_t prompt_length, int64_t answer_length,
                               int64_t vocabulary, uint64_t seed, pb_encoded_set *out)
{
    pb_encoded_set set = {0};
    pb_status status;

    if (count < 1 || prompt_length < 1 || prompt_length > INT32_MAX || answer_length < 0 ||
        answer_length > INT32_MAX || vocabulary < 1 ||
        prompt_length + answer_length > INT64_MAX / 8 / count) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "synthetic rows: %" PRId64 " rows of %" PRId64 " + %" PRId64
                       " tokens below %" PRId64,
                       count, prompt_length, answer_length, vocabulary);
    }
    int64_t length   = prompt_length + answer_length;
    pb_random stream = pb_random_stream(seed, PB_RANDOM_SYNTHETIC, (uint64_t)length);
    PB_TRY_GOTO(status, PB_ALLOC(set.storage, 1), err_set);
    PB_TRY_GOTO(status, allocate_synthetic(set.storage, count, count * length), err_set);
    int32_t *ids     = set.storage->arrays[SECTION_IDS];
    int64_t *offsets = set.storage->arrays[SECTION_OFFSETS];
    int32_t *prompts = set.storage->arrays[SECTION_PROMPT_LENGTHS];
    int64_t *rows    = set.storage->arrays[SECTION_ROWS];
    for (int64_t i = 0; i < count; i++) {
        prompts[i]     = (int32_t)prompt_length;
        rows[i]        = i;
        offsets[i + 1] = (i + 1) * length;
    }
    for (int64_t t = 0; t < count * length; t++) {
        ids[t] = (int32_t)pb_random_below(stream, (uint64_t)t, (uint64_t)vocabulary);
    }
    encoded_resolve(&set);
    *out = set;
    return PB_OK;

err_set:
    pb_encoded_close(&set);
    return status;
}
