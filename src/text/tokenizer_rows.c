// SPDX-License-Identifier: Apache-2.0
/* Many texts at once: each is encoded on its own, so the threads share nothing but the pool of
 * working memory. */
#include "pb/tokenizer.h"

#include <unistd.h>

static int thread_count(int threads, int64_t rows)
{
    long wanted = threads > 0 ? threads : sysconf(_SC_NPROCESSORS_ONLN);

    wanted = wanted < rows ? wanted : (long)rows;
    return wanted > 1 ? (int)wanted : 1;
}

pb_status pb_tokenizer_encode_rows(const pb_tokenizer *t, const char *const *texts,
                                   const size_t *lengths, int64_t count, bool special, int threads,
                                   pb_ids *out)
{
    int64_t failed = count; /* the first text that fails */

#pragma omp parallel for schedule(dynamic, 4) num_threads(thread_count(threads, count))
    for (int64_t i = 0; i < count; i++) {
        if (pb_tokenizer_encode(t, texts[i], lengths[i], special, &out[i]) != PB_OK) {
            pb_error_clear();
#pragma omp critical(pb_tokenizer_rows)
            failed = i < failed ? i : failed;
        }
    }
    if (failed == count) {
        return PB_OK;
    }
    /* The error record belongs to the thread that met the error: it is made again on this one. */
    pb_ids_clear(&out[failed]);
    pb_status status =
        pb_tokenizer_encode(t, texts[failed], lengths[failed], special, &out[failed]);
    for (int64_t i = 0; i < count; i++) {
        pb_ids_clear(&out[i]);
    }
    if (status == PB_OK) {
        return PB_FAIL(PB_ERR_MEMORY, "tokenizer: out of memory for text %lld of %lld",
                       (long long)failed, (long long)count);
    }
    return pb_error_prefix(status, "text %lld of %lld", (long long)failed, (long long)count);
}
