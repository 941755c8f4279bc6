// SPDX-License-Identifier: Apache-2.0
#include "profiles.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <inttypes.h>
#include <string.h>

/* Lengths are those of the data sets in the tokens of Llama 3: GLUE's rows, problems with
 * solutions, MultiRC's passages with their questions. */
static const bench_profile profiles[] = {
    {.name         = "glue",
     .instruction  = 45,
     .questions    = 1,
     .own_least    = 20,
     .own_most     = 100,
     .ending       = 5,
     .answer_least = 2,
     .answer_most  = 4,
     .labels       = true},
    {.name         = "gsm8k",
     .instruction  = 45,
     .questions    = 1,
     .own_least    = 40,
     .own_most     = 140,
     .answer_least = 60,
     .answer_most  = 180},
    {.name         = "long",
     .instruction  = 45,
     .passage      = 300,
     .questions    = 12,
     .own_least    = 15,
     .own_most     = 45,
     .ending       = 5,
     .answer_least = 2,
     .answer_most  = 4,
     .labels       = true},
};

enum { PROFILES = sizeof profiles / sizeof profiles[0] };

/* Streams of the parts of a row. */
enum { SALT_INSTRUCTION, SALT_LENGTHS, SALT_ENDING, SALT_PASSAGES, SALT_ROWS = 1 << 20 };

pb_status bench_profile_get(const pb_cli *cli, bench_profile *out)
{
    static const char *const lengths[] = {"prompt", "answer"};
    const char *name                   = pb_cli_text(cli, "profile");
    int64_t prompt                     = pb_cli_int(cli, "prompt");
    int64_t answer                     = pb_cli_int(cli, "answer");
    if (name == NULL) {
        *out = (bench_profile){.name         = "even",
                               .questions    = 1,
                               .own_least    = prompt,
                               .own_most     = prompt,
                               .answer_least = answer,
                               .answer_most  = answer};
        return PB_OK;
    }
    for (int i = 0; i < 2; i++) {
        if (pb_cli_given(cli, lengths[i])) {
            return PB_FAIL(PB_ERR_USAGE, "bench: --%s has no effect with --profile", lengths[i]);
        }
    }
    for (int i = 0; i < PROFILES; i++) {
        if (strcmp(name, profiles[i].name) == 0) {
            *out = profiles[i];
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_USAGE, "bench: unknown profile \"%s\"; known: glue, gsm8k, long", name);
}

static int64_t draw(pb_random stream, int64_t index, int64_t least, int64_t most)
{
    return least + (int64_t)pb_random_below(stream, (uint64_t)index, (uint64_t)(most - least + 1));
}

/* Appends ids of a stream to a row. */
static int32_t *put(int32_t *at, uint64_t seed, int64_t salt, int64_t count, int64_t vocabulary)
{
    pb_random stream = pb_random_stream(seed, PB_RANDOM_SYNTHETIC, (uint64_t)salt);
    for (int64_t t = 0; t < count; t++) {
        *at++ = (int32_t)pb_random_below(stream, (uint64_t)t, (uint64_t)vocabulary);
    }
    return at;
}

pb_status bench_profile_make(const bench_profile *p, int64_t count, int64_t vocabulary,
                             uint64_t seed, bench_rows *out)
{
    bench_rows rows   = {.count = count};
    pb_random lengths = pb_random_stream(seed, PB_RANDOM_SYNTHETIC, SALT_LENGTHS);
    int64_t longest   = p->instruction + p->passage + p->own_most + p->answer_most;
    pb_status status;
    if (longest > INT32_MAX / count) {
        return PB_FAIL(PB_ERR_USAGE,
                       "bench: %" PRId64 " rows of up to %" PRId64 " tokens are too many", count,
                       longest);
    }
    PB_TRY_GOTO(status, PB_ALLOC(rows.ids, count * longest), err_rows);
    PB_TRY_GOTO(status, PB_ALLOC(rows.samples, count), err_rows);
    PB_TRY_GOTO(status, PB_ALLOC(rows.prompts, count), err_rows);
    int32_t *at = rows.ids;
    for (int64_t i = 0; i < count; i++) {
        int64_t own     = draw(lengths, 2 * i, p->own_least, p->own_most);
        int64_t answer  = draw(lengths, 2 * i + 1, p->answer_least, p->answer_most);
        int64_t prompt  = p->instruction + p->passage + own;
        rows.samples[i] = (pb_sample){.ids = at, .length = prompt + answer, .answer_start = prompt};
        rows.prompts[i] = (pb_sample){.ids = at, .length = prompt};

        at = put(at, seed, SALT_INSTRUCTION, p->instruction, vocabulary);
        at = put(at, seed, SALT_PASSAGES + i / p->questions, p->passage, vocabulary);
        at = put(at, seed, SALT_ROWS + i, own + answer, vocabulary);
        (void)put(at - answer - p->ending, seed, SALT_ENDING, p->ending, vocabulary);
    }
    *out = rows;
    return PB_OK;
err_rows:
    bench_profile_clear(&rows);
    return status;
}

void bench_profile_clear(bench_rows *rows)
{
    pb_memory_free(rows->ids);
    pb_memory_free(rows->samples);
    pb_memory_free(rows->prompts);
    *rows = (bench_rows){0};
}
