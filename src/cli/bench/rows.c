// SPDX-License-Identifier: Apache-2.0
/* Synthetic rows for data --bench. */
#include "rows.h"

#include "pb/file.h"
#include "pb/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* One in SCRIPT_ROWS rows has words of another script, one in ESCAPE_ROWS a quotation and a
 * slash. */
enum { SCRIPT_ROWS = 30, ESCAPE_ROWS = 12, MOST_WORDS = 200 };

/* A number of words with this mean, 3 at least: many short texts, few long ones. */
static uint64_t draw_length(made_text *m, double mean)
{
    double uniform = pb_random_uniform(m->stream, m->draw++);
    double words   = 3.0 - log(1.0 - uniform) * (mean - 3.0);

    return words < MOST_WORDS ? (uint64_t)words : MOST_WORDS;
}

static pb_status put_sentence(made_text *m, double mean)
{
    uint64_t words = draw_length(m, mean);

    for (uint64_t i = 0; i < words; i++) {
        PB_TRY(made_word(m, made_draw_word(m), i == 0));
        PB_TRY(pb_string_puts(&m->text, i + 1 == words           ? "."
                                        : made_below(m, 12) == 0 ? ", "
                                                                 : " "));
    }
    if (made_below(m, ESCAPE_ROWS) == 0) {
        PB_TRY(pb_string_puts(&m->text, " \"yes/no\""));
    }
    if (made_below(m, SCRIPT_ROWS) == 0) {
        PB_TRY(pb_string_puts(&m->text, " "));
        PB_TRY(made_script(m));
    }
    return PB_OK;
}

/* Writes a JSON text in ASCII, with "\/", like the hub's files. */
static void write_text(const char *text, FILE *file)
{
    size_t size = 0;

    for (const char *p = text; *p != '\0'; p += size) {
        int32_t code = pb_utf8_decode(p, &size);
        if (size > 1) {
            (void)fprintf(file, "\\u%04x", (unsigned)code);
            continue;
        }
        if (*p == '"' || *p == '/') {
            (void)fputc('\\', file);
        }
        (void)fputc(*p, file);
    }
}

static pb_status write_row(made_text *m, FILE *file)
{
    m->text.length = 0;
    PB_TRY(put_sentence(m, 20.0));
    (void)fputs("{\"premise\":\"", file);
    write_text(m->text.data, file);
    m->text.length = 0;
    PB_TRY(put_sentence(m, 10.0));
    (void)fputs("\",\"hypothesis\":\"", file);
    write_text(m->text.data, file);
    (void)fprintf(file, "\",\"label\":%" PRIu64 "}\n", made_below(m, 3));
    return PB_OK;
}

pb_status bench_rows_append(made_text *m, int64_t count, FILE *file)
{
    for (int64_t i = 0; i < count && ferror(file) == 0; i++) {
        PB_TRY(write_row(m, file));
    }
    if (fflush(file) != 0 || ferror(file) != 0) {
        return PB_FAIL(PB_ERR_IO, "the synthetic rows cannot be written: %s%s", strerror(errno),
                       pb_file_remedy(errno));
    }
    return PB_OK;
}

pb_status bench_rows_configure(const char *path, const char *rows)
{
    static const char *const form =
        "dataset = { name = \"bench\"; metric = \"macro_f1\"; train_file = \"%s\"; test_file = "
        "\"%s\";\n  columns = [ \"premise:string\", \"hypothesis:string\", \"label:label\" ];\n"
        "  labels = [ \"entailment\", \"neutral\", \"contradiction\" ];\n"
        "  instruction = \"Does the second text follow from the first one, contradict it, or "
        "neither?\";\n  lines = [ \"{premise}\", \"{hypothesis}\" ]; };\n"
        "bare = { name = \"bare\"; metric = \"accuracy\"; train_file = \"%s\"; test_file = \"%s\";"
        "\n  instruction = \"x\"; answer = \"x\"; };\n";
    pb_string text = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_string_printf(&text, form, rows, rows, rows, rows), done);
    PB_TRY_GOTO(status, pb_file_write_atomic(path, text.data, text.length), done);
done:
    pb_string_clear(&text);
    return status;
}
