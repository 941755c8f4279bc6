// SPDX-License-Identifier: Apache-2.0
/* peftbench tokenize --bench: bytes per second, on one thread and on several. */
#include "bench.h"
#include "commands.h"
#include "text.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Bytes of the synthetic text; of a row, at least; and of a file, at most. */
enum { MIX_BYTES = 20 * 1000 * 1000, ROW_BYTES = 1000 };
#define FILE_BYTES ((size_t)1 << 30)

enum { ROUNDS = 3 };

static pb_status put_code(made_text *m)
{
    for (uint64_t lines = made_below(m, 6) + 1; lines > 0; lines--) {
        PB_TRY(pb_string_printf(&m->text, "%*s", (int)(4 * made_below(m, 4)), ""));
        PB_TRY(made_word(m, made_draw_word(m), false));
        PB_TRY(pb_string_puts(&m->text, made_below(m, 2) == 0 ? "_" : "."));
        PB_TRY(made_word(m, made_draw_word(m), false));
        PB_TRY(pb_string_printf(&m->text, " = (%" PRIu64 " + x[%" PRIu64 "]) != \"",
                                made_below(m, 5000), made_below(m, 10)));
        PB_TRY(made_word(m, made_draw_word(m), false));
        PB_TRY(pb_string_puts(&m->text, "\":\n"));
    }
    return PB_OK;
}

static pb_status put_signs(made_text *m)
{
    static const char *const signs[] = {"\U0001f600", "\U0001f44d\U0001f3fd",
                                        "2024-01-31", "3.14159",
                                        "e\u0301",    "https://ab.cd/e?f=1",
                                        "\u2014",     "\t",
                                        "1,234,567",  "don't"};

    PB_TRY(pb_string_puts(&m->text, signs[made_below(m, sizeof signs / sizeof *signs)]));
    return pb_string_puts(&m->text, " ");
}

/* In pieces the length of a sentence: 70 % prose, 15 % code, 7 % other scripts, 8 % symbols. */
static pb_status make_mix(int64_t seed, pb_string *out)
{
    made_text m      = made_text_begin(seed);
    pb_status status = PB_OK;

    while (status == PB_OK && m.text.length < MIX_BYTES) {
        uint64_t kind = made_below(&m, 100);
        status        = kind < 70   ? made_prose(&m)
                        : kind < 85 ? put_code(&m)
                        : kind < 92 ? made_script(&m)
                                    : put_signs(&m);
    }
    if (status != PB_OK) {
        pb_string_clear(&m.text);
        return status;
    }
    *out = m.text;
    return PB_OK;
}

/* A text in rows of whole lines, and its ids. */
typedef struct rows {
    const char **texts; /* [count], into the text */
    size_t *lengths;    /* [count] */
    pb_ids *ids;        /* [count] */
    int64_t count;
} rows;

static void clear_rows(rows *r)
{
    for (int64_t i = 0; i < r->count; i++) {
        pb_ids_clear(&r->ids[i]);
    }
    pb_memory_free(r->texts);
    pb_memory_free(r->lengths);
    pb_memory_free(r->ids);
}

static pb_status cut_rows(const pb_string *text, rows *out)
{
    size_t most      = text->length / ROW_BYTES + 1;
    pb_status status = PB_OK;

    PB_TRY_GOTO(status, PB_ALLOC(out->texts, most), err_clear);
    PB_TRY_GOTO(status, PB_ALLOC(out->lengths, most), err_clear);
    PB_TRY_GOTO(status, PB_ALLOC(out->ids, most), err_clear);
    for (size_t at = 0; at < text->length; out->count++) {
        const char *begin = text->data + at;
        size_t left       = text->length - at;
        const char *end =
            left > ROW_BYTES ? memchr(begin + ROW_BYTES - 1, '\n', left - ROW_BYTES + 1) : NULL;
        size_t size              = end == NULL ? left : (size_t)(end + 1 - begin);
        out->texts[out->count]   = begin;
        out->lengths[out->count] = size;
        at += size;
    }
    return PB_OK;

err_clear:
    clear_rows(out);
    return status;
}

/* The best of a few rounds, after an untimed one. */
static pb_status measure(const pb_tokenizer *t, rows *r, int threads, double *seconds, int64_t *ids)
{
    *seconds = 0.0;
    for (int round = 0; round <= ROUNDS; round++) {
        for (int64_t i = 0; i < r->count; i++) {
            pb_ids_clear(&r->ids[i]);
        }
        double begin = pb_clock_seconds();
        PB_TRY(pb_tokenizer_encode_rows(t, r->texts, r->lengths, r->count, false, threads, r->ids));
        double took = pb_clock_seconds() - begin;
        if (round == 1 || (round > 1 && took < *seconds)) {
            *seconds = took;
        }
    }
    *ids = 0;
    for (int64_t i = 0; i < r->count; i++) {
        *ids += r->ids[i].count;
    }
    return PB_OK;
}

static pb_status put_json(int64_t threads, int64_t ids, double seconds, const pb_string *text,
                          const rows *r, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);

    pb_json_put_int(&json, "threads", threads);
    pb_json_put_int(&json, "bytes", (int64_t)text->length);
    pb_json_put_int(&json, "rows", r->count);
    pb_json_put_int(&json, "ids", ids);
    pb_json_put_fixed(&json, "seconds", seconds, 6);
    pb_json_put_fixed(&json, "mb_per_s", (double)text->length / 1e6 / seconds, 2);
    return pb_json_finish(&json, "\n");
}

static pb_status report(const pb_cli *cli, const pb_tokenizer *t, const pb_string *text, rows *r)
{
    pb_string out      = {0};
    bool json          = pb_cli_flag(cli, "json");
    double mb          = (double)text->length / 1e6;
    const int64_t runs = pb_cli_int(cli, "threads") == 1 ? 1 : 2;
    pb_status status   = PB_OK;

    for (int64_t i = 0; i < runs; i++) {
        int64_t threads = i == 0 ? 1 : pb_cli_int(cli, "threads");
        double seconds  = 0.0;
        int64_t ids     = 0;
        PB_TRY_GOTO(status, measure(t, r, (int)threads, &seconds, &ids), err_clear);
        if (json) {
            PB_TRY_GOTO(status, put_json(threads, ids, seconds, text, r, &out), err_clear);
        } else {
            PB_TRY_GOTO(status,
                        pb_string_printf(&out,
                                         "%7.1f MB/s on %s%.0" PRId64 "%s: %.1f MB in %" PRId64
                                         " rows, %" PRId64 " ids, %.3f s\n",
                                         mb / seconds, threads == 0 ? "all processors" : "",
                                         threads,
                                         threads == 0   ? ""
                                         : threads == 1 ? " thread"
                                                        : " threads",
                                         mb, r->count, ids, seconds),
                        err_clear);
        }
    }
err_clear:
    return cli_print_facts(cli, status, &out);
}

pb_status bench_tokenize(const pb_cli *cli, const pb_tokenizer *t)
{
    const char *path = pb_cli_text(cli, "text");
    pb_string text   = {0};
    rows r           = {0};
    pb_status status = PB_OK;

    if (path != NULL) {
        PB_TRY(pb_file_read(path, FILE_BYTES, &text));
    } else {
        PB_TRY(make_mix(pb_cli_int(cli, "seed"), &text));
    }
    if (text.length == 0) {
        status = PB_FAIL(PB_ERR_USAGE, "--text %s: the file is empty; name one with text", path);
        goto err_clear;
    }
    PB_TRY_GOTO(status, cut_rows(&text, &r), err_clear);
    status = report(cli, t, &text, &r);
    clear_rows(&r);

err_clear:
    pb_string_clear(&text);
    return status;
}
