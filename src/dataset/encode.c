// SPDX-License-Identifier: Apache-2.0
/* Samples → token rows. A chunk of samples is tokenised by all threads and appended in file order.
 */
#include "encoded.h"
#include "internal.h"

#include "pb/interned.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <string.h>

/* One sample in flight. */
typedef struct slot {
    pb_rendered rendered;
    pb_digest digest; /* of its own text */
    bool truncated, too_long;
    pb_status status;
    pb_string message;
} slot;

/* The growing sections. */
typedef struct grown {
    pb_ids ids;
    int64_t *offsets, *rows, *first_answers;
    int32_t *prompt_lengths, *answers, *id_texts;
    pb_digest *digests;
    pb_interned texts; /* each with its NUL */
    int64_t count, answer_count;
} grown;

typedef struct encoder {
    const pb_dataset *ds;
    pb_split split;
    const pb_encode_options *options;
    const pb_interned *test; /* digests of the test split, NULL: not compared */
    slot *slots;             /* [slot_count] */
    int64_t slot_count;
    grown g;
    int64_t truncated, too_long, overlap;
} encoder;

static pb_status render(const encoder *e, const pb_example *example, slot *s)
{
    const pb_encode_options *o = e->options;
    size_t dropped             = 0;
    bool fits                  = true;

    PB_TRY(pb_digest_of(example->body, strlen(example->body), &s->digest));
    if (e->ds->protocol == PB_PROTOCOL_PAPER) {
        PB_TRY(pb_template_render(o->tpl, o->tokenizer, example->user, example->answer, false,
                                  &s->rendered));
        int64_t before = s->rendered.ids.count;
        pb_rendered_truncate_paper(&s->rendered, o->cutoff_tokens);
        s->truncated = s->rendered.ids.count < before;
        return PB_OK;
    }
    PB_TRY(pb_template_render_within(o->tpl, o->tokenizer, example->user, example->answer,
                                     o->cutoff_tokens, &s->rendered, &dropped, &fits));
    s->truncated = fits && dropped > 0;
    s->too_long  = !fits;
    return PB_OK;
}

/* Keeps the thread's error with the sample. */
static void keep_error(slot *s)
{
    s->message.length = 0;
    if (pb_string_puts(&s->message, pb_error_message()) != PB_OK) {
        s->status = PB_ERR_MEMORY;
    }
    pb_error_clear();
}

static pb_status render_chunk(encoder *e, const pb_example *examples, int64_t count)
{
    int threads = e->options->threads > 0 ? e->options->threads : 1;

    PB_TRY(PB_GROW(e->slots, count));
    e->slot_count = count > e->slot_count ? count : e->slot_count;
#pragma omp parallel for schedule(dynamic, 8) num_threads(threads)
    for (int64_t i = 0; i < count; i++) {
        slot *s = &e->slots[i];
        pb_rendered_clear(&s->rendered);
        s->truncated = false;
        s->too_long  = false;
        s->status    = render(e, &examples[i], s);
        if (s->status != PB_OK) {
            keep_error(s);
        }
    }
    return PB_OK;
}

static pb_status add_text(encoder *e, const char *text, int32_t *number)
{
    return pb_interned_add(&e->g.texts, text, strlen(text) + 1, number);
}

static pb_status append_answers(encoder *e, const pb_example *example)
{
    PB_TRY(PB_GROW(e->g.answers, e->g.answer_count + example->reference_count));
    for (int64_t k = 0; k < example->reference_count; k++) {
        PB_TRY(add_text(e, example->references[k], &e->g.answers[e->g.answer_count]));
        e->g.answer_count++;
    }
    return PB_OK;
}

static pb_status append(encoder *e, const pb_example *example, const slot *s)
{
    int64_t i = e->g.count;

    PB_TRY(pb_ids_extend(&e->g.ids, s->rendered.ids.items, s->rendered.ids.count));
    PB_TRY(PB_GROW(e->g.offsets, i + 2));
    PB_TRY(PB_GROW(e->g.first_answers, i + 2));
    PB_TRY(PB_GROW(e->g.prompt_lengths, i + 1));
    PB_TRY(PB_GROW(e->g.rows, i + 1));
    PB_TRY(append_answers(e, example));
    if (e->split == PB_SPLIT_TEST) {
        PB_TRY(PB_GROW(e->g.id_texts, i + 1));
        PB_TRY(PB_GROW(e->g.digests, i + 1));
        PB_TRY(add_text(e, example->id, &e->g.id_texts[i]));
        e->g.digests[i] = s->digest;
    }
    e->g.prompt_lengths[i]    = (int32_t)s->rendered.prompt_length;
    e->g.rows[i]              = example->row;
    e->g.offsets[i + 1]       = e->g.ids.count;
    e->g.first_answers[i + 1] = e->g.answer_count;
    e->g.count++;
    return PB_OK;
}

/* Accepts or drops the samples of the chunk, in order. */
static pb_status append_chunk(encoder *e, const pb_example *examples, int64_t count)
{
    bool train  = e->split == PB_SPLIT_TRAIN;
    bool strict = e->ds->protocol == PB_PROTOCOL_CORRECTED;

    for (int64_t i = 0; i < count; i++) {
        const slot *s = &e->slots[i];
        if (s->status != PB_OK) {
            return PB_FAIL(s->status, "data set %s, row %" PRId64 " (line %" PRId64 "): %s",
                           e->ds->options.name, examples[i].row, examples[i].line,
                           s->message.length > 0 ? s->message.data : "out of memory");
        }
        bool overlaps = train && e->test != NULL &&
                        pb_interned_find(e->test, &s->digest, sizeof s->digest) >= 0;
        e->overlap += overlaps;
        if (overlaps && strict) {
            continue;
        }
        e->truncated += s->truncated;
        e->too_long += s->too_long;
        if (!s->too_long || !train) {
            PB_TRY(append(e, &examples[i], s));
        }
    }
    return PB_OK;
}

static pb_status check_stop(const encoder *e)
{
    const pb_encode_options *o = e->options;

    if (o->stop != NULL && o->stop(o->stop_context)) {
        return PB_FAIL(PB_STOPPED, "stopped while the tokens of %s were made", e->ds->options.name);
    }
    return PB_OK;
}

static pb_status encode_rows(encoder *e, pb_encoded_set *set)
{
    const pb_example *examples = NULL;
    pb_rows *rows              = NULL;
    int64_t count              = 0;
    pb_status status;

    PB_TRY(pb_rows_open(e->ds, e->split, e->options->threads, &rows));
    do {
        PB_TRY_GOTO(status, check_stop(e), out_rows);
        PB_TRY_GOTO(status, pb_rows_next(rows, &examples, &count), out_rows);
        PB_TRY_GOTO(status, render_chunk(e, examples, count), out_rows);
        PB_TRY_GOTO(status, append_chunk(e, examples, count), out_rows);
    } while (count > 0);
    set->counts         = pb_rows_counts(rows);
    set->counts.overlap = e->overlap;
    set->truncated      = e->truncated;
    set->too_long       = e->too_long;
    memcpy(set->sha, pb_rows_sha(rows), sizeof set->sha);
    if (e->g.count == 0) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "data set %s, %s: none of %" PRId64 " rows is left: %" PRId64
                         " do not fit data.cutoff_tokens = %" PRId64 ", %" PRId64
                         " are in the test file as well",
                         e->ds->options.name, split_name(e->split), set->counts.rows, e->too_long,
                         e->options->cutoff_tokens, e->overlap);
    }
out_rows:
    pb_rows_close(rows);
    return status;
}

/* Cuts the array to its length, so that a set in memory counts what a mapped one does. */
static pb_status give(pb_encoded_storage *s, encoded_section section, void *array, int64_t length)
{
    s->arrays[section]  = array;
    s->lengths[section] = array != NULL ? length : 0;
    if (array != NULL) {
        void *cut = pb_memory_resize(array, (size_t)length, encoded_item_bytes(section));
        if (cut == NULL) {
            return PB_ERR_MEMORY;
        }
        s->arrays[section] = cut;
    }
    return PB_OK;
}

/* Moves the grown arrays into the set, which owns them also on failure. */
static pb_status hand_over(encoder *e, pb_encoded_set *set)
{
    PB_TRY(PB_ALLOC(set->storage, 1));
    grown g          = e->g;
    pb_status status = PB_OK;
    e->g             = (grown){0};
    pb_memory_free(g.texts.slots);
    const struct {
        void *array;
        int64_t length;
    } sections[SECTION_COUNT] = {
        [SECTION_IDS]            = {g.ids.items, g.ids.count},
        [SECTION_OFFSETS]        = {g.offsets, g.count + 1},
        [SECTION_PROMPT_LENGTHS] = {g.prompt_lengths, g.count},
        [SECTION_ROWS]           = {g.rows, g.count},
        [SECTION_FIRST_ANSWERS]  = {g.first_answers, g.count + 1},
        [SECTION_ANSWERS]        = {g.answers, g.answer_count},
        [SECTION_TEXTS]          = {g.texts.starts, g.texts.count},
        [SECTION_BLOCK]    = {g.texts.bytes, g.texts.count > 0 ? g.texts.starts[g.texts.count] : 0},
        [SECTION_ID_TEXTS] = {g.id_texts, g.count},
        [SECTION_DIGESTS]  = {g.digests, g.count},
    };
    for (int i = 0; i < SECTION_COUNT; i++) {
        pb_status given =
            give(set->storage, (encoded_section)i, sections[i].array, sections[i].length);
        status = status == PB_OK ? given : status;
    }
    PB_TRY(status);
    encoded_resolve(set);
    return PB_OK;
}

static void clear(encoder *e)
{
    for (int64_t i = 0; i < e->slot_count; i++) {
        pb_rendered_clear(&e->slots[i].rendered);
        pb_string_clear(&e->slots[i].message);
    }
    pb_memory_free(e->slots);
    pb_ids_clear(&e->g.ids);
    pb_memory_free(e->g.offsets);
    pb_memory_free(e->g.prompt_lengths);
    pb_memory_free(e->g.rows);
    pb_memory_free(e->g.first_answers);
    pb_memory_free(e->g.answers);
    pb_memory_free(e->g.id_texts);
    pb_memory_free(e->g.digests);
    pb_interned_clear(&e->g.texts);
}

static pb_status collect_digests(const pb_encoded_set *test, pb_interned *out)
{
    const pb_digest *digests = test->storage->arrays[SECTION_DIGESTS];

    for (int64_t i = 0; i < test->storage->lengths[SECTION_DIGESTS]; i++) {
        int32_t number = 0;
        PB_TRY(pb_interned_add(out, &digests[i], sizeof digests[i], &number));
    }
    return PB_OK;
}

pb_status encoded_make(const pb_dataset *ds, pb_split split, const pb_encode_options *options,
                       const pb_encoded_set *test, pb_encoded_set *out)
{
    pb_interned digests = {0};
    encoder e           = {.ds = ds, .split = split, .options = options};
    pb_encoded_set set  = {0};
    pb_status status;

    if (test != NULL) {
        PB_TRY_GOTO(status, collect_digests(test, &digests), out_encoder);
        e.test = &digests;
    }
    PB_TRY_GOTO(status, encode_rows(&e, &set), out_encoder);
    status = hand_over(&e, &set);
    if (status == PB_OK) {
        *out = set;
    } else {
        pb_encoded_close(&set);
    }
out_encoder:
    clear(&e);
    pb_interned_clear(&digests);
    return status;
}
