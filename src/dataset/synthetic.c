// SPDX-License-Identifier: Apache-2.0
/* Builder `synthetic`: synthetic rows without a file, a pure function of seed, split and index, so
 * that the layers above can run alone. The answer is the class whose index is the number of the
 * word "even" in the message modulo the number of classes. */
#include "builders.h"
#include "columns.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <inttypes.h>

enum { WORDS = 12 };

struct pb_row_builder {
    const pb_dataset_options *options;
    pb_split split;
    const char *instruction;
};

static void synthetic_close(pb_row_builder *b)
{
    pb_memory_free(b);
}

static pb_status synthetic_open(const pb_dataset_options *options, pb_protocol protocol,
                                pb_split split, const char *instruction, pb_row_builder **out)
{
    pb_row_builder *b = NULL;

    (void)protocol;
    if (options->labels.count == 0) {
        return dataset_at(
            options, "labels", -1,
            PB_FAIL(PB_ERR_CONFIG, "dataset.labels is empty; builder synthetic needs classes"));
    }
    PB_TRY(PB_ALLOC(b, 1));
    *b   = (pb_row_builder){.options = options, .split = split, .instruction = instruction};
    *out = b;
    return PB_OK;
}

static pb_status synthetic_generate(const pb_row_builder *b, int64_t index, pb_row_texts *out,
                                    bool *done)
{
    static const char *const words[] = {"even", "odd", "red", "green", "blue", "stone", "river"};
    enum { WORD_COUNT = sizeof words / sizeof *words };
    int64_t rows     = b->options->synthetic_rows;
    int64_t evens    = 0;
    pb_random stream = pb_random_stream((uint64_t)b->options->synthetic_seed, PB_RANDOM_SYNTHETIC,
                                        (uint64_t)b->split);

    *done = index >= (b->split == PB_SPLIT_TRAIN ? rows : (rows + 3) / 4);
    if (*done) {
        return PB_OK;
    }
    pb_row_text *text = NULL;
    PB_TRY(pb_row_texts_add(out, &text));
    PB_TRY(
        pb_string_printf(&text->user, "%s%s", b->instruction, *b->instruction != '\0' ? "\n" : ""));
    text->body = text->user.length;
    for (int64_t i = 0; i < WORDS; i++) {
        uint64_t word = pb_random_below(stream, (uint64_t)(index * WORDS + i), WORD_COUNT);
        evens += word == 0;
        PB_TRY(pb_string_printf(&text->user, "%s%s", i > 0 ? " " : "", words[word]));
    }
    PB_TRY(
        pb_string_puts(&text->answer, b->options->labels.items[evens % b->options->labels.count]));
    text->has_answer = true;
    return PB_OK;
}

const pb_dataset_builder builder_synthetic = {
    .name     = "synthetic",
    .open     = synthetic_open,
    .close    = synthetic_close,
    .generate = synthetic_generate,
};
