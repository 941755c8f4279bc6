// SPDX-License-Identifier: Apache-2.0
/* Examples → token rows, and made-up token rows. The rows are packed while they are made; at the
 * end the arrays are cut to their size. */
#include "pb/dataset.h"
#include "pb/memory.h"
#include "pb/random.h"

#include <inttypes.h>

void pb_encoded_clear(pb_encoded_set *set)
{
    pb_memory_free(set->ids);
    pb_memory_free(set->labels);
    pb_memory_free(set->offsets);
    pb_memory_free(set->prompt_lengths);
    pb_memory_free(set->examples);
    *set = (pb_encoded_set){0};
}

static pb_status alloc_rows(pb_encoded_set *set, int64_t rows)
{
    PB_TRY(PB_ALLOC(set->offsets, rows + 1));
    PB_TRY(PB_ALLOC(set->prompt_lengths, rows));
    PB_TRY(PB_ALLOC(set->examples, rows));
    return PB_OK;
}

/* Fills the labels from ids and prompt lengths. */
static pb_status make_labels(pb_encoded_set *set)
{
    PB_TRY(PB_ALLOC(set->labels, set->total));
    for (int64_t i = 0; i < set->count; i++) {
        int64_t answer = set->offsets[i] + set->prompt_lengths[i];
        for (int64_t t = set->offsets[i]; t < set->offsets[i + 1]; t++) {
            set->labels[t] = t < answer ? PB_LABEL_NONE : set->ids[t];
        }
    }
    return PB_OK;
}

/* One example; *keep is false for a training row that cannot fit. */
static pb_status render(const pb_dataset *ds, pb_split split, pb_example example,
                        const pb_template *tpl, const pb_tokenizer *tokenizer, int64_t cutoff,
                        pb_encoded_set *set, pb_rendered *out, bool *keep)
{
    size_t dropped = 0;
    bool fits      = true;

    *keep = true;
    if (pb_dataset_protocol(ds) == PB_PROTOCOL_PAPER) {
        PB_TRY(pb_template_render(tpl, tokenizer, example.user, example.answer, false, out));
        int64_t before = out->ids.count;
        pb_rendered_truncate_paper(out, cutoff);
        set->truncated += out->ids.count < before;
        return PB_OK;
    }
    PB_TRY(pb_template_render_within(tpl, tokenizer, example.user, example.answer, cutoff, out,
                                     &dropped, &fits));
    set->truncated += fits && dropped > 0;
    set->too_long += !fits;
    *keep = fits || split == PB_SPLIT_TEST;
    return PB_OK;
}

pb_status pb_dataset_encode(const pb_dataset *ds, pb_split split, const pb_template *tpl,
                            const pb_tokenizer *tokenizer, int64_t cutoff_tokens,
                            pb_encoded_set *out)
{
    int64_t rows       = pb_dataset_count(ds, split);
    pb_encoded_set set = {0};
    pb_ids ids         = {0};
    pb_status status;

    PB_TRY_GOTO(status, alloc_rows(&set, rows), err_set);
    for (int64_t i = 0; i < rows; i++) {
        pb_rendered rendered = {0};
        bool keep            = false;
        pb_example example   = pb_dataset_example(ds, split, i);
        status = render(ds, split, example, tpl, tokenizer, cutoff_tokens, &set, &rendered, &keep);
        if (status == PB_OK && keep) {
            status = pb_ids_extend(&ids, rendered.ids.items, rendered.ids.count);
            set.prompt_lengths[set.count] = rendered.prompt_length;
            set.examples[set.count]       = i;
            set.count++;
            set.offsets[set.count] = ids.count;
        }
        pb_rendered_clear(&rendered);
        PB_TRY_GOTO(status, status, err_set);
    }
    if (set.count == 0) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "data set %s: none of %" PRId64 " rows fits data.cutoff_tokens = %" PRId64,
                         pb_dataset_get_options(ds)->name, rows, cutoff_tokens);
        goto err_set;
    }
    set.total = ids.count;
    set.ids   = pb_memory_resize(ids.items, (size_t)ids.count, sizeof *ids.items);
    if (set.ids == NULL) {
        status = PB_ERR_MEMORY;
        goto err_set;
    }
    ids = (pb_ids){0};
    PB_TRY_GOTO(status, make_labels(&set), err_set);
    *out = set;
    return PB_OK;

err_set:
    pb_ids_clear(&ids);
    pb_encoded_clear(&set);
    return status;
}

pb_status pb_encoded_synthetic(int64_t count, int64_t prompt_length, int64_t answer_length,
                               int64_t vocabulary, uint64_t seed, pb_encoded_set *out)
{
    int64_t length     = prompt_length + answer_length;
    pb_encoded_set set = {.count = count};
    pb_random stream   = pb_random_stream(seed, PB_RANDOM_SYNTHETIC, (uint64_t)length);
    pb_status status;

    if (count < 1 || prompt_length < 1 || answer_length < 0 || vocabulary < 1 ||
        length > INT64_MAX / 8 / count) {
        return PB_FAIL(PB_ERR_ARGUMENT,
                       "synthetic rows: %" PRId64 " rows of %" PRId64 " + %" PRId64
                       " tokens below %" PRId64,
                       count, prompt_length, answer_length, vocabulary);
    }
    PB_TRY_GOTO(status, alloc_rows(&set, count), err_set);
    set.total = count * length;
    PB_TRY_GOTO(status, PB_ALLOC(set.ids, set.total), err_set);
    for (int64_t i = 0; i < count; i++) {
        set.prompt_lengths[i] = prompt_length;
        set.examples[i]       = i;
        set.offsets[i + 1]    = (i + 1) * length;
    }
    for (int64_t t = 0; t < set.total; t++) {
        set.ids[t] = (int32_t)pb_random_below(stream, (uint64_t)t, (uint64_t)vocabulary);
    }
    PB_TRY_GOTO(status, make_labels(&set), err_set);
    *out = set;
    return PB_OK;

err_set:
    pb_encoded_clear(&set);
    return status;
}

pb_sample pb_encoded_sample(const pb_encoded_set *set, int64_t index)
{
    PB_ASSERT(index >= 0 && index < set->count);
    int64_t offset = set->offsets[index];
    return (pb_sample){.ids    = set->ids + offset,
                       .labels = set->labels + offset,
                       .length = set->offsets[index + 1] - offset};
}

pb_sample pb_encoded_prompt(const pb_encoded_set *set, int64_t index)
{
    PB_ASSERT(index >= 0 && index < set->count);
    return (pb_sample){.ids    = set->ids + set->offsets[index],
                       .labels = NULL,
                       .length = set->prompt_lengths[index]};
}

pb_status pb_encoded_reference(const pb_dataset *ds, const pb_encoded_set *set,
                               const pb_tokenizer *tokenizer, int64_t index, pb_string *out)
{
    if (pb_dataset_protocol(ds) == PB_PROTOCOL_CORRECTED) {
        return pb_string_puts(out,
                              pb_dataset_example(ds, PB_SPLIT_TEST, set->examples[index]).answer);
    }
    int64_t answer = set->offsets[index] + set->prompt_lengths[index];
    return pb_tokenizer_decode(tokenizer, set->ids + answer, set->offsets[index + 1] - answer, true,
                               out);
}
