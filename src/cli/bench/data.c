// SPDX-License-Identifier: Apache-2.0
/* peftbench data --bench: the rates of the stages between a file of rows and token rows, and their
 * memory, for increasing numbers of rows. */
#include "bench.h"
#include "commands.h"
#include "dataset_config.h"
#include "rows.h"
#include "session.h"

#include "pb/clock.h"
#include "pb/encoded.h"
#include "pb/json.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <time.h>

typedef enum stage {
    STAGE_PARSE,    /* reading, parsing */
    STAGE_ROWS,     /* reading, parsing, building texts */
    STAGE_TOKENISE, /* tokenising alone */
    STAGE_ENCODE,   /* all stages, token rows in memory */
    STAGE_MAKE,     /* all stages, into the cache */
    STAGE_FIND,     /* from the cache */
    STAGE_COUNT
} stage;

typedef struct figures {
    int64_t rows, tokens, file_bytes;
    double seconds[STAGE_COUNT];
    double processor[STAGE_COUNT]; /* seconds of all threads, which other work does not disturb */
    size_t held;                   /* bytes of the token rows */
    size_t beyond;   /* the most held besides them during their making, without `caches` */
    size_t caches;   /* of the tokenizer, which pb_tokenizer_trim frees */
    size_t resident; /* the most by which the process grew meanwhile, as counted by the system; 0:
                        unknown */
} figures;

typedef struct bench {
    const pb_cli *cli;
    pb_tokenizer *tokenizer;
    const pb_template *tpl;
    int threads;
    bench_folder folder;
    made_text made;
} bench;

/* The start of a stage. */
typedef struct moment {
    double seconds, processor;
} moment;

static moment now(void)
{
    return (moment){.seconds   = pb_clock_seconds(),
                    .processor = (double)clock() / (double)CLOCKS_PER_SEC};
}

static void add_since(moment begin, stage which, figures *f)
{
    moment end = now();

    f->seconds[which] += end.seconds - begin.seconds;
    f->processor[which] += end.processor - begin.processor;
}

/* Tokenises a chunk and discards the tokens. */
static pb_status tokenise(const bench *b, const pb_example *examples, int64_t count)
{
    bool failed = false;

#pragma omp parallel for schedule(dynamic, 8) num_threads(b->threads) reduction(|| : failed)
    for (int64_t i = 0; i < count; i++) {
        pb_rendered r = {0};
        failed        = failed || pb_template_render(b->tpl, b->tokenizer, examples[i].user,
                                                     examples[i].answer, true, &r) != PB_OK;
        pb_rendered_clear(&r);
    }
    return failed ? PB_FAIL(PB_ERR_FORMAT, "a synthetic row cannot be tokenised") : PB_OK;
}

/* Reads all rows as `which`, STAGE_PARSE for a data set without texts, or STAGE_ROWS, which is
 * followed by STAGE_TOKENISE. */
static pb_status time_rows(const bench *b, const pb_dataset *ds, stage which, figures *f)
{
    const pb_example *examples = NULL;
    pb_rows *rows              = NULL;
    int64_t count              = 0;
    moment begin               = now();
    pb_status status;

    PB_TRY(pb_rows_open(ds, PB_SPLIT_TRAIN, b->threads, &rows));
    do {
        PB_TRY_GOTO(status, bench_folder_check(&b->folder), out_rows);
        PB_TRY_GOTO(status, pb_rows_next(rows, &examples, &count), out_rows);
        add_since(begin, which, f);
        begin = now();
        if (which == STAGE_ROWS) {
            PB_TRY_GOTO(status, tokenise(b, examples, count), out_rows);
            add_since(begin, STAGE_TOKENISE, f);
            begin = now();
        }
    } while (count > 0);
    f->file_bytes = pb_rows_get_file(rows).bytes;
out_rows:
    pb_rows_close(rows);
    return status;
}

static pb_status time_open(const bench *b, const pb_dataset *ds, const char *cache, stage which,
                           figures *f, pb_encoded_set *set)
{
    const pb_encode_options options = {.tpl           = b->tpl,
                                       .tokenizer     = b->tokenizer,
                                       .cutoff_tokens = 2048,
                                       .threads       = b->threads,
                                       .cache         = cache};
    moment begin                    = now();

    PB_TRY(bench_folder_check(&b->folder));
    PB_TRY(pb_encoded_open(ds, PB_SPLIT_TRAIN, &options, NULL, set));
    add_since(begin, which, f);
    return PB_OK;
}

/* Token rows in memory: time, and bytes while and after they are made. */
static pb_status measure_memory(const bench *b, const pb_dataset *ds, figures *f)
{
    pb_encoded_set set = {0};

    pb_tokenizer_trim(b->tokenizer);
    bool known      = pb_memory_resident_peak_reset();
    size_t resident = pb_memory_resident_peak();
    size_t before   = pb_memory_current();
    pb_memory_peak_reset();
    PB_TRY(time_open(b, ds, NULL, STAGE_ENCODE, f, &set));
    size_t peak = pb_memory_peak();
    size_t held = pb_memory_current();
    f->resident = known ? pb_memory_resident_peak() - resident : 0;
    f->tokens   = set.total;
    pb_tokenizer_trim(b->tokenizer);
    f->caches = held - pb_memory_current();
    f->held   = pb_memory_current() - before;
    f->beyond = peak - held;
    pb_encoded_close(&set);
    return PB_OK;
}

static pb_status measure_datasets(const bench *b, const pb_dataset *ds, const pb_dataset *bare,
                                  figures *f)
{
    pb_encoded_set set = {0};

    PB_TRY(time_rows(b, bare, STAGE_PARSE, f));
    PB_TRY(time_rows(b, ds, STAGE_ROWS, f));
    PB_TRY(measure_memory(b, ds, f));
    PB_TRY(time_open(b, ds, b->folder.cache, STAGE_MAKE, f, &set));
    pb_encoded_close(&set);
    PB_TRY(time_open(b, ds, b->folder.cache, STAGE_FIND, f, &set));
    bool found = set.from_cache;
    pb_encoded_close(&set);
    return found ? PB_OK
                 : PB_FAIL(PB_ERR_IO, "the token cache in %s does not work", b->folder.cache);
}

/* Extends the file to `rows` rows and measures it. */
static pb_status measure(bench *b, int64_t rows, int64_t before, figures *f)
{
    pb_data_options data = {0};
    pb_config *config    = NULL;
    pb_dataset *ds       = NULL;
    pb_dataset *bare     = NULL;
    pb_status status;

    f->rows = rows;
    PB_TRY(bench_rows_append(&b->made, rows - before, b->folder.file));
    PB_TRY(pb_config_open(b->folder.config, &config));
    PB_TRY_GOTO(status, pb_dataset_open(config, "dataset", PB_PROTOCOL_CORRECTED, &data, &ds),
                out_config);
    PB_TRY_GOTO(status, pb_dataset_open(config, "bare", PB_PROTOCOL_CORRECTED, &data, &bare),
                out_config);
    PB_TRY_GOTO(status, measure_datasets(b, ds, bare, f), out_config);
out_config:
    pb_dataset_close(bare);
    pb_dataset_close(ds);
    pb_config_close(config);
    return status;
}

static const char *const stage_keys[STAGE_COUNT] = {
    [STAGE_PARSE] = "parse",   [STAGE_ROWS] = "rows",       [STAGE_TOKENISE] = "tokenise",
    [STAGE_ENCODE] = "encode", [STAGE_MAKE] = "cache_made", [STAGE_FIND] = "cache_found",
};

static void put_stages(pb_json *json, const char *key, const double seconds[STAGE_COUNT])
{
    pb_json_put_object(json, key, PB_JSON_INLINE);
    for (int i = 0; i < STAGE_COUNT; i++) {
        pb_json_put_fixed(json, stage_keys[i], seconds[i], 6);
    }
    pb_json_end(json);
}

static pb_status put_json(const bench *b, const figures *f, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_int(&json, "rows", f->rows);
    pb_json_put_int(&json, "threads", b->threads);
    pb_json_put_int(&json, "file_bytes", f->file_bytes);
    pb_json_put_int(&json, "tokens", f->tokens);
    pb_json_put_text(&json, "template", pb_template_name(b->tpl));
    put_stages(&json, "seconds", f->seconds);
    put_stages(&json, "processor_seconds", f->processor);
    pb_json_put_int(&json, "token_row_bytes", (int64_t)f->held);
    pb_json_put_int(&json, "peak_beyond_bytes", (int64_t)f->beyond);
    pb_json_put_fixed(&json, "beyond_bytes_per_row", (double)f->beyond / (double)f->rows, 3);
    pb_json_put_int(&json, "tokenizer_cache_bytes", (int64_t)f->caches);
    pb_json_put_int(&json, "resident_growth_bytes", (int64_t)f->resident);
    return pb_json_finish(&json, "\n");
}

static pb_status put_text(const bench *b, const figures *f, pb_string *out)
{
    static const char *const names[STAGE_COUNT] = {
        [STAGE_PARSE] = "reading, parsing",    [STAGE_ROWS] = "and building prompts",
        [STAGE_TOKENISE] = "tokenising alone", [STAGE_ENCODE] = "all, in memory",
        [STAGE_MAKE] = "all, into the cache",  [STAGE_FIND] = "from the cache",
    };
    const double mega = 1e6;

    PB_TRY(pb_string_printf(out,
                            "%" PRId64 " rows, %.1f MB, %" PRId64 " tokens, %d thread%s, template "
                            "%s\n  %-22s %9s %9s %11s %9s %12s\n",
                            f->rows, (double)f->file_bytes / mega, f->tokens, b->threads,
                            b->threads > 1 ? "s" : "", pb_template_name(b->tpl), "stage", "seconds",
                            "cpu s", "rows/s", "MB/s", "tokens/s"));
    for (int i = 0; i < STAGE_COUNT; i++) {
        double seconds = f->seconds[i];
        PB_TRY(pb_string_printf(out, "  %-22s %9.3f %9.3f %11.0f %9.1f", names[i], seconds,
                                f->processor[i], (double)f->rows / seconds,
                                (double)f->file_bytes / mega / seconds));
        PB_TRY(i >= STAGE_TOKENISE ? pb_string_printf(out, " %12.0f\n", (double)f->tokens / seconds)
                                   : pb_string_puts(out, "\n"));
    }
    return pb_string_printf(out,
                            "  token rows   %9.3f MB, %.1f bytes per row\n"
                            "  peak beyond  %9.3f MB, %.1f bytes per row\n"
                            "  tokenizer    %9.3f MB of caches\n"
                            "  resident     %9.3f MB more at the peak\n",
                            (double)f->held / mega, (double)f->held / (double)f->rows,
                            (double)f->beyond / mega, (double)f->beyond / (double)f->rows,
                            (double)f->caches / mega, (double)f->resident / mega);
}

static pb_status report(const bench *b, const figures *f)
{
    pb_string text = {0};
    pb_status made = pb_cli_flag(b->cli, "json") ? put_json(b, f, &text) : put_text(b, f, &text);

    return cli_print_facts(b->cli, made, &text);
}

static pb_status run(bench *b)
{
    const int64_t most = pb_cli_int(b->cli, "rows");
    const char *model  = pb_cli_text(b->cli, "model");
    int64_t before     = 0;
    char *demo         = NULL;

    if (model == NULL) {
        PB_TRY(dataset_config_own("demo/model", &demo));
    }
    pb_status status = session_tokenizer(model != NULL ? model : demo,
                                         pb_cli_text(b->cli, "template"), &b->tokenizer, &b->tpl);
    pb_memory_free(demo);
    PB_TRY(status);
    PB_TRY(bench_folder_make(&b->folder));
    for (int64_t parts = 4; parts >= 1; parts /= 2) {
        figures f = {0};
        PB_TRY(measure(b, most / parts, before, &f));
        PB_TRY(report(b, &f));
        before = most / parts;
    }
    return PB_OK;
}

pb_status bench_data(const pb_cli *cli, int threads)
{
    bench b = {.cli = cli, .threads = threads, .made = made_text_begin(pb_cli_int(cli, "seed"))};

    pb_status status = run(&b);
    bench_folder_remove(&b.folder);
    pb_string_clear(&b.made.text);
    pb_tokenizer_close(b.tokenizer);
    return status;
}
