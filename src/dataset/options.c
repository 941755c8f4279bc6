// SPDX-License-Identifier: Apache-2.0
/* The field tables of the groups `dataset` and `data`. */
#include "columns.h"
#include "reader.h"

/* In the order of dataset_format. */
static const char *const format_choices[]     = {"auto", "jsonl",      "json", "csv",
                                                 "tsv",  "tsv-quoted", NULL};
static const char *const unlabelled_choices[] = {"last", "empty", NULL};

#define OPTIONS pb_dataset_options

const pb_config_field pb_dataset_fields[] = {
    PB_FIELD_TEXT(OPTIONS, name, NULL, "name of the data set"),
    PB_FIELD_TEXT(OPTIONS, builder, "template",
                  "what makes texts from rows: template, record, wsc, synthetic"),
    PB_FIELD_TEXT(OPTIONS, task, "label", "kind of answer: label, number, text, code"),
    PB_FIELD_TEXT(OPTIONS, metric, "f1", "metric that scores the answers"),
    PB_FIELD_PATH(OPTIONS, train_file, "",
                  "training rows: .jsonl, .json, .csv or .tsv, optionally followed by .gz or .zst"),
    PB_FIELD_PATH(OPTIONS, test_file, "", "test rows, as train_file"),
    PB_FIELD_CHOICE(OPTIONS, format, FORMAT_AUTO, format_choices,
                    "form of both files, auto: by name and first character; tsv: GLUE's, where "
                    "quotes are plain characters"),
    PB_FIELD_TEXT_LIST(OPTIONS, header, "",
                       "names of the columns of CSV and TSV files that have no header line"),
    PB_FIELD_TEXT_LIST(OPTIONS, id, "",
                       "columns that tell the rows apart; rows that lack them are not compared"),
    PB_FIELD_TEXT_LIST(
        OPTIONS, columns, "",
        "columns in use, \"name:type\", or \"name=source:type\" for one to which the file "
        "gives another name; string, int, float32, label, strings, strings_text (a JSON list in a "
        "text); a ? after the type allows null"),
    PB_FIELD_TEXT_LIST(OPTIONS, labels, "", "class names in index order"),
    PB_FIELD_TEXT_LIST(OPTIONS, paper_labels, "", "class names under the paper protocol"),
    PB_FIELD_TEXT_LIST(OPTIONS, label_values, "",
                       "what the label column holds per class; empty: 0, 1, 2, …"),
    PB_FIELD_CHOICE(OPTIONS, unlabelled, PB_UNLABELLED_LAST, unlabelled_choices,
                    "answer of a row with label -1: the last class name, or empty"),
    PB_FIELD_TEXT(OPTIONS, instruction, "", "first line of the user message, in our own words"),
    PB_FIELD_TEXT_LIST(OPTIONS, lines, "",
                       "parts after it with {column}, {column[0]}, {a|b}, {column:filter}; empty "
                       "ones are skipped; filters: capitalize, choices, join, paragraph"),
    PB_FIELD_TEXT_LIST(OPTIONS, paper_lines, "", "these parts under the paper protocol"),
    PB_FIELD_BOOL(OPTIONS, inputs, false,
                  "the original builds these parts beforehand, as a column inputs"),
    PB_FIELD_TEXT(OPTIONS, answer, "{label}", "the answer with {column}"),
    PB_FIELD_TEXT(OPTIONS, answers, "",
                  "column with all right answers, in place of answer: a sample for each; in tests "
                  "of the corrected protocol one sample that accepts all"),
    PB_FIELD_TEXT(OPTIONS, no_answers, "", "the answer where this list is empty"),
    PB_FIELD_TEXT(OPTIONS, instruction_sha, "",
                  "SHA-256 (10 digits or more) of the original's instruction; empty: there is no "
                  "original and ours stands under both protocols"),
    PB_FIELD_TEXT(OPTIONS, instruction_test_sha, "", "of its test instruction; empty: the same"),
    PB_FIELD_TEXT(OPTIONS, paper_key, "", "entry of the original's dataset_info.json; empty: name"),
    PB_FIELD_TEXT(OPTIONS, paper_test_key, "", "its test entry; empty: paper_key and _eval"),
    PB_FIELD_INT(OPTIONS, max_new_tokens, 16, 1, 65536, "tokens",
                 "generated at most under the corrected protocol; the paper's is 1024"),
    PB_FIELD_INT(OPTIONS, synthetic_rows, 64, 1, 100000000, "rows",
                 "training rows of builder synthetic; a quarter more for testing"),
    PB_FIELD_INT(OPTIONS, synthetic_seed, 1, 0, INT64_MAX, "", "seed of builder synthetic"),
    PB_FIELD_NOTE_LIST(OPTIONS, differences,
                       "what else differs between the protocols, for prompt --explain"),
    PB_FIELD_END,
};

const char *const pb_dataset_groups[] = {"typical", NULL};

const pb_config_field pb_data_fields[] = {
    PB_FIELD_INT_FOR(PB_KEPT_TEST_TOKENS, pb_data_options, train_rows, 0, 0, INT64_MAX, "rows",
                     "training rows that are read, from the first; 0: all"),
    PB_FIELD_INT_FOR(PB_KEPT_TRAIN_TOKENS, pb_data_options, test_rows, 0, 0, INT64_MAX, "rows",
                     "test rows that are read, from the first; 0: all"),
    PB_FIELD_FLOAT_FOR(PB_KEPT_TRAIN_TOKENS | PB_KEPT_TEST_TOKENS, pb_data_options,
                       validation_share, 0.1, 0, 0.9, "",
                       "share of the training rows kept for validation"),
    PB_FIELD_INT_FOR(PB_KEPT_TRAIN_TOKENS | PB_KEPT_TEST_TOKENS, pb_data_options, validation_seed,
                     42, 0, INT64_MAX, "",
                     "seed of that choice; the paper protocol takes the run's seed instead"),
    PB_FIELD_INT(pb_data_options, cutoff_tokens, 2048, 1, 1 << 24, "tokens",
                 "longest row, prompt and answer together"),
    PB_FIELD_FLOAT(pb_data_options, max_bad_share, 0, 0, 1, "",
                   "largest share of bad rows to leave out and count; more is an error"),
    PB_FIELD_GUARD(pb_data_options, max_truncated_share, 0.5, 0, 1, "",
                   "largest share of a file's rows that cutoff_tokens may cut; more is an error"),
    PB_FIELD_PATH(pb_data_options, peftbench_info, "",
                  "the original's dataset_info.json; empty: environment PB_PEFTBENCH_INFO"),
    PB_FIELD_END,
};

const pb_config_list *pb_dataset_options_labels(const pb_dataset_options *options,
                                                pb_protocol protocol)
{
    bool paper = protocol == PB_PROTOCOL_PAPER && options->paper_labels.count > 0;
    return paper ? &options->paper_labels : &options->labels;
}

pb_status dataset_at(const pb_dataset_options *options, const char *key, int64_t index,
                     pb_status status)
{
    return status == PB_ERR_CONFIG
               ? pb_config_at(options->config, options->group, key, index, status)
               : status;
}
