// SPDX-License-Identifier: Apache-2.0
/* peftbench bench --load: the rate at which a checkpoint is opened, compared with the rate at which
 * this machine copies memory. */
#include "bench.h"
#include "commands.h"
#include "session.h"

#include "pb/clock.h"
#include "pb/json.h"
#include "pb/memory.h"
#include "pb/model.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS = 5 };

#define COPY_BYTES ((size_t)256 << 20)
#define COPY_PIECE ((size_t)1 << 20)
#define GIGA       1e9

/* The best of several rounds; the first one warms the page cache. */
static pb_status time_open(const char *directory, int threads, double *seconds, size_t *bytes)
{
    *seconds = 0.0;
    for (int round = 0; round <= ROUNDS; round++) {
        pb_model *model = NULL;
        double start    = pb_clock_seconds();
        PB_TRY(pb_model_open(directory, NULL, threads, &model));
        double took = pb_clock_seconds() - start;
        *bytes      = pb_model_bytes(model);
        *seconds    = round == 1 || (round > 1 && took < *seconds) ? took : *seconds;
        pb_model_close(model);
    }
    return PB_OK;
}

/* Bytes copied per second between blocks that were written before. */
static pb_status time_copy(int threads, double *rate)
{
    char *from       = NULL;
    char *to         = NULL;
    pb_status status = PB_OK;
    double best      = 0.0;
    PB_TRY_GOTO(status, PB_ALLOC(from, COPY_BYTES), done);
    PB_TRY_GOTO(status, PB_ALLOC(to, COPY_BYTES), done);
    /* Pages are placed near the thread that first touches them. */
#pragma omp parallel for schedule(static) num_threads(threads)
    for (size_t at = 0; at < COPY_BYTES; at += COPY_PIECE) {
        memset(from + at, 1, COPY_PIECE);
        memset(to + at, 2, COPY_PIECE);
    }
    for (int round = 0; round < ROUNDS; round++) {
        double start = pb_clock_seconds();
#pragma omp parallel for schedule(static) num_threads(threads)
        for (size_t at = 0; at < COPY_BYTES; at += COPY_PIECE) {
            memcpy(to + at, from + at, COPY_PIECE);
        }
        double took = pb_clock_seconds() - start;
        best        = round == 0 || took < best ? took : best;
    }
    *rate = (double)COPY_BYTES / best;
done:
    pb_memory_free(to);
    pb_memory_free(from);
    return status;
}

typedef struct load_figures {
    size_t bytes; /* of weights */
    int threads;
    double seconds, rate, copy; /* rates: bytes per second */
} load_figures;

static pb_status put_json(const load_figures *f, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "bytes", (int64_t)f->bytes);
    pb_json_put_int(&json, "threads", f->threads);
    pb_json_put_fixed(&json, "seconds", f->seconds, 6);
    pb_json_put_fixed(&json, "gb_per_second", f->rate / GIGA, 3);
    pb_json_put_fixed(&json, "copy_gb_per_second", f->copy / GIGA, 3);
    pb_json_put_fixed(&json, "share_of_copy", f->rate / f->copy, 4);
    return pb_json_finish(&json, "\n");
}

static pb_status put_text(const load_figures *f, pb_string *out)
{
    return pb_string_printf(out,
                            "weights             %.3f GB\n"
                            "threads             %d\n"
                            "loading             %.4f s, %.3f GB/s\n"
                            "memory copy         %.3f GB/s\n"
                            "share of the copy   %.4f\n",
                            (double)f->bytes / GIGA, f->threads, f->seconds, f->rate / GIGA,
                            f->copy / GIGA, f->rate / f->copy);
}

pb_status bench_load(const pb_cli *cli)
{
    const char *directory = pb_cli_text(cli, "model");
    pb_string text        = {0};
    load_figures figures  = {0};
    pb_status status;
    if (directory == NULL) {
        return PB_FAIL(PB_ERR_USAGE, "bench: --load needs --model DIR");
    }
    PB_TRY(session_threads(cli, &figures.threads));
    PB_TRY(time_open(directory, figures.threads, &figures.seconds, &figures.bytes));
    PB_TRY(time_copy(figures.threads, &figures.copy));
    figures.rate = (double)figures.bytes / figures.seconds;
    status       = pb_cli_flag(cli, "json") ? put_json(&figures, &text) : put_text(&figures, &text);
    return cli_print_facts(cli, status, &text);
}
