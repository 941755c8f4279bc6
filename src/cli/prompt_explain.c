// SPDX-License-Identifier: Apache-2.0
/* peftbench prompt --explain: the differences between the protocols, from the data set's own keys,
 * from its metric, and from the rules for all data sets. */
#include "commands.h"
#include "prompt.h"

#include "pb/metric.h"
#include "pb/string.h"
#include "pb/utf8.h"

#include <inttypes.h>
#include <string.h>

/* For every data set. */
enum { PAPER_NEW_TOKENS = 1024 };

static const char *const common[] = {
    "rows: empty texts and repeated ids are kept → left out and counted",
    "test rows without a label: kept, the last class counts as correct → bad rows",
    "training rows whose text is in the test file: kept → left out and counted",
    "chat: markers in a row act as markers, llama3 and qwen3 put 0 for the first {{idx}} → a row "
    "is plain text",
    "too long (data.cutoff_tokens): prompt and answer are cut at their ends, in testing the "
    "correct "
    "answer as well → the message loses its end, everything else stays whole",
    "validation part: chosen by the run's seed → by data.validation_seed, the same for all runs",
    "answers: what follows the last \"</think>\" and two line feeds → what follows the last "
    "\"</think>\"",
};

static pb_status put_quoted(pb_string *out, const pb_config_list *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        PB_TRY(pb_string_puts(out, i > 0 ? ", " : ""));
        PB_TRY(pb_string_json(out, list->items[i], strlen(list->items[i])));
    }
    return PB_OK;
}

static pb_status put_lists(pb_string *out, const char *name, const pb_config_list *paper,
                           const pb_config_list *corrected)
{
    if (paper->count == 0) {
        return PB_OK;
    }
    PB_TRY(pb_string_printf(out, "- %s: ", name));
    PB_TRY(put_quoted(out, paper));
    PB_TRY(pb_string_puts(out, " → "));
    PB_TRY(put_quoted(out, corrected));
    return pb_string_puts(out, "\n");
}

/* The original's text, named by its id; the id of the empty text means that there is none. */
static pb_status put_id(pb_string *out, const char *name, const char *id)
{
    static const char empty[] = "e3b0c44298";

    return strncmp(id, empty, sizeof empty - 1) == 0
               ? pb_string_printf(out, "%s none", name)
               : pb_string_printf(out, "%s that of the id %.*s", name, PB_FIT(id, 10));
}

static pb_status put_instruction(pb_string *out, const pb_dataset_options *o)
{
    const char *key = *o->paper_key != '\0' ? o->paper_key : o->name;
    bool two        = *o->instruction_test_sha != '\0';

    PB_TRY(pb_string_printf(out, "- instruction (entry %s of dataset_info.json):", key));
    PB_TRY(put_id(out, two ? " in training" : "", o->instruction_sha));
    PB_TRY(two ? put_id(out, ", in testing", o->instruction_test_sha) : PB_OK);
    PB_TRY(pb_string_puts(out, " → our own, "));
    PB_TRY(pb_string_json(out, o->instruction, strlen(o->instruction)));
    return pb_string_puts(out, "\n");
}

static pb_status put_set(pb_string *out, const pb_dataset_options *o)
{
    const pb_metric *metric = NULL;

    PB_TRY(pb_metric_find(o->metric, &metric));
    PB_TRY(put_instruction(out, o));
    PB_TRY(put_lists(out, "lines", &o->paper_lines, &o->lines));
    PB_TRY(put_lists(out, "labels", &o->paper_labels, &o->labels));
    for (int64_t i = 0; i < o->differences.count; i++) {
        PB_TRY(pb_string_printf(out, "- %s\n", o->differences.items[i]));
    }
    if (*o->answers != '\0') {
        PB_TRY(pb_string_printf(out,
                                "- testing: a sample for each of %s → one sample per row, all of "
                                "them correct\n",
                                o->answers));
    }
    if (o->max_new_tokens != PAPER_NEW_TOKENS) {
        PB_TRY(pb_string_printf(out, "- generated tokens: at most %d → at most %" PRId64 "\n",
                                PAPER_NEW_TOKENS, o->max_new_tokens));
    }
    return pb_string_printf(out, "- metric %s: %s\n", metric->name, metric->differences);
}

static pb_status put_all(pb_string *out, const pb_dataset_options *o)
{
    PB_TRY(pb_string_printf(out, "data set %s, protocol paper → corrected\n\n", o->name));
    if (*o->instruction_sha == '\0') {
        PB_TRY(pb_string_puts(out,
                              "- it is not one of the original's: instruction, lines and labels "
                              "are the same under both\n"));
    } else {
        PB_TRY(put_set(out, o));
    }
    PB_TRY(pb_string_puts(out, "\nall data sets\n\n"));
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        PB_TRY(pb_string_printf(out, "- %s\n", common[i]));
    }
    return PB_OK;
}

pb_status prompt_explain(const pb_cli *cli, const pb_dataset_options *o)
{
    pb_string text = {0};

    return cli_print_lines(cli, put_all(&text, o), &text);
}
