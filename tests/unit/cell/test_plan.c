// SPDX-License-Identifier: Apache-2.0
/* The planned cell: read once, shared among seeds, and queried. */
#include "support.h"

#include "pb/cell.h"
#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

#define MODEL   "model = { path = \"" PB_SOURCE_DIR "/configs/demo/model\"; chat = \"none\"; };\n"
#define DATASET "dataset = { name = \"s\"; builder = \"synthetic\"; labels = [\"a\", \"b\"]; };\n"
#define METHOD  "method = { name = \"lora\"; r = 4; };\n"
#define WHOLE   MODEL DATASET METHOD

static pb_comm *comm;
static pb_cell_env *env; /* knows the model */
static size_t before;    /* bytes held between tests */

static pb_config *parsed(const char *text)
{
    pb_config *config = NULL;
    assert_ok(pb_config_parse(text, "c.cfg", &config));
    return config;
}

static pb_cell_name name_of(int64_t seed)
{
    return (pb_cell_name){.model = "demo", .dataset = "s", .method = "lora", .seed = seed};
}

static pb_cell *opened_of(const char *model, const char *text)
{
    pb_cell_name name = name_of(1);
    pb_cell *cell     = NULL;
    name.model        = model;
    assert_ok(pb_cell_open_take(&name, parsed(text), NULL, &cell));
    return cell;
}

static pb_cell *opened(const char *text)
{
    return opened_of("demo", text);
}

static int open_environment(void **state)
{
    const pb_cell_setup setup = {.backend = "cpu", .threads = 1};
    pb_cell *cell             = opened(WHOLE);
    (void)state;
    assert_ok(pb_comm_open(NULL, NULL, &comm));
    assert_ok(pb_cell_env_open(&setup, comm, &env));
    assert_ok(pb_cell_env_add_shape(env, cell, false));
    pb_cell_close(cell);
    before = pb_memory_current();
    return 0;
}

static int close_environment(void **state)
{
    (void)state;
    pb_cell_env_close(env);
    pb_comm_close(comm);
    return pb_memory_current() == 0 ? 0 : -1;
}

static void assert_text(const pb_cell *cell, const char *part, bool there)
{
    pb_string text = {0};
    assert_ok(pb_cell_text(cell, &text));
    if ((strstr(text.data, part) != NULL) != there) {
        fail_msg("\"%s\" should%s be in:\n%s", part, there ? "" : " not", text.data);
    }
    pb_string_clear(&text);
}

static void seeds_share_what_was_read(void **state)
{
    enum { SEEDS = 100, BYTES = 256 };
    pb_cell *cells[SEEDS];
    (void)state;
    cells[0]   = opened(WHOLE);
    size_t one = pb_memory_current();
    for (int i = 1; i < SEEDS; i++) {
        assert_ok(pb_cell_open_seed(cells[i - 1], i + 1, &cells[i]));
        assert_string_equal(pb_cell_get_hash(cells[i]), "");
    }
    assert_true(pb_memory_current() - one < SEEDS * BYTES);
    for (int i = 0; i < SEEDS; i++) {
        char line[64];
        snprintf(line, sizeof line, "\nseed = %dL;\n", i + 1);
        assert_text(cells[i], line, true);
        pb_cell_close(cells[i]); /* the others continue without it */
    }
    assert_int_equal(pb_memory_current(), before);
}

/* Cells of a sweep are composed from the same files and share their values. */
static void a_cell_of_its_own_configuration_is_small(void **state)
{
    enum { CELLS = 100, BYTES = 3072 };
    pb_cell *cells[CELLS];
    pb_config *files = parsed(WHOLE);
    size_t none      = pb_memory_current();
    (void)state;
    for (int i = 0; i < CELLS; i++) {
        const pb_cell_name name = name_of(i);
        pb_config *config       = parsed("");
        assert_ok(pb_config_merge(config, "", files, ""));
        assert_ok(pb_cell_open_take(&name, config, i > 0 ? cells[i - 1] : NULL, &cells[i]));
    }
    assert_true(pb_memory_current() - none < CELLS * BYTES);
    pb_config_close(files);
    for (int i = 0; i < CELLS; i++) {
        assert_text(cells[i], "name = \"lora\";", true);
        pb_cell_close(cells[i]);
    }
    assert_int_equal(pb_memory_current(), before);
}

/* Whatever another cell overrides in its groups, and whichever is closed first. */
static void what_is_borrowed_is_what_would_be_read(void **state)
{
    static const char *const layers[] = {"",
                                         "dataset = { metric = \"accuracy\"; };",
                                         "method = { r = 2; };",
                                         "train = { batch = 0; };",
                                         "train = { batch = 2; };",
                                         ""};
    enum { COUNT = sizeof layers / sizeof *layers };
    pb_config *files = parsed(WHOLE "train = { batch = 9; };\n");
    pb_cell *alone[COUNT], *cells[COUNT];
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        for (int with = 0; with < 2; with++) {
            const pb_cell_name name = name_of(i);
            pb_config *config       = parsed("");
            pb_config *over         = parsed(layers[i]);
            assert_ok(pb_config_merge(config, "", files, ""));
            assert_ok(pb_config_merge(config, "", over, ""));
            pb_config_close(over);
            assert_ok(pb_cell_open_take(&name, config, with && i > 0 ? cells[i - 1] : NULL,
                                        with ? &cells[i] : &alone[i]));
        }
    }
    pb_config_close(files);
    for (int i = 0; i < COUNT; i++) {
        pb_string own = {0}, borrowed = {0};
        pb_status status = pb_cell_text(alone[i], &own);
        assert_int_equal(status == PB_OK, i != 3);
        pb_error_clear();
        assert_int_equal(pb_cell_text(cells[i], &borrowed), status);
        pb_error_clear();
        if (status == PB_OK) {
            assert_string_equal(borrowed.data, own.data);
        }
        pb_string_clear(&own);
        pb_string_clear(&borrowed);
        pb_cell_close(alone[i]);
        pb_cell_close(cells[i]);
    }
    assert_int_equal(pb_memory_current(), before);
}

static void the_text_holds_what_results_depend_on(void **state)
{
    pb_cell *cell =
        opened("model = { path = \"/somewhere\"; licence = \"a note\"; };\n" DATASET METHOD
               "data = { max_truncated_share = 0.25; peftbench_info = \"/info\"; "
               "train_rows = 7; };\n");
    (void)state;
    assert_text(cell, "    r = 4;\n", true);
    assert_text(cell, "    train_rows = 7;\n", true);
    assert_text(cell, "protocol = \"corrected\";\n", true);
    assert_text(cell, "/somewhere", false);
    assert_text(cell, "/info", false);
    assert_text(cell, "a note", false);
    assert_text(cell, "max_truncated_share", false);
    assert_string_equal(pb_cell_input_path(cell, PB_INPUT_WEIGHTS), "/somewhere");
    pb_cell_close(cell);
}

/* If a text changed, every finished cell of such a configuration would run again. Fields that are
 * added later are marked PB_KEPT_BEFORE. */
static void texts_stay_what_they_were(void **state)
{
    static const struct {
        const char *method;
        const char *hashes[2]; /* by protocol, the first 16 digits */
    } known[] = {
        {"none", {"2ade172fbc9f751e", "dcc837b2e90576f0"}},
        {"full", {"7b795d3ded28cb31", "294403fd18379479"}},
        {"lora", {"0c3e6b1553ee0bae", "29d6c3f4be51d5ae"}},
        {"ia3", {"7389af4e819ff557", "be426d1f2aadcd37"}},
        {"lntuning", {"74d2a3cfddac0da1", "62ed35101c21fbdf"}},
        {"bitfit", {"0287ba320c7625e7", "a121768d5bdb4bd4"}},
        {"prompt", {"14d49cd4c8fd33b9", "6a074d2e38dc9c23"}},
        {"prefix", {"dc37a65489924fe7", "bb8b5ae5c341c637"}},
        {"ptuning", {"c17ca59a7571f311", "0a0c75a2e7175dda"}},
        {"majority", {"5d4d33c6e64b6b14", "fe7b61279ef366ee"}},
        {"all-positive", {"500a6a7c317c4883", "a0a0ffac7e706039"}},
        {"random", {"a3820d7cb8569103", "cc688b7675e33a50"}},
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof known / sizeof *known; i++) {
        char text[256], hash[PB_HASH_TEXT];
        pb_cell_name name   = name_of(1);
        pb_cell *cell       = NULL;
        pb_string described = {0};
        name.protocol       = (pb_protocol)(i % 2);
        snprintf(text, sizeof text,
                 "model = { path = \"x\"; };\n" DATASET "method = { name = \"%s\"; };",
                 known[i / 2].method);
        assert_ok(pb_cell_open_take(&name, parsed(text), NULL, &cell));
        assert_ok(pb_cell_text(cell, &described));
        assert_ok(pb_hash_bytes(described.data, described.length, hash));
        if (strncmp(hash, known[i / 2].hashes[i % 2], 16) != 0) {
            fail_msg("%s: the text has the hash %s:\n%s", known[i / 2].method, hash,
                     described.data);
        }
        pb_string_clear(&described);
        pb_cell_close(cell);
    }
}

static void a_mistake_belongs_to_its_cell(void **state)
{
    static const char *const texts[] = {MODEL DATASET METHOD "train = { batch = 0; };\n",
                                        MODEL DATASET METHOD "train = { batch = 0; }; # later\n\n"
                                                             "eval = { scoring = \"both\"; };\n"};
    pb_string text                   = {0};
    pb_cell_prediction prediction;
    pb_cell_rows rows;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char hash[PB_HASH_TEXT];
        pb_cell *cell = opened(texts[i]);
        assert_error(pb_cell_check(cell), PB_ERR_CONFIG, "c.cfg:4: batch = 0 is outside");
        assert_error(pb_cell_text(cell, &text), PB_ERR_CONFIG, "c.cfg:4: batch");
        assert_error(pb_cell_predict(env, cell, NULL, &prediction), PB_ERR_CONFIG, "c.cfg:4");
        assert_error(pb_cell_check_data(cell, false, &rows), PB_ERR_CONFIG, "c.cfg:4");
        assert_string_equal(pb_cell_input_path(cell, PB_INPUT_TRAIN), "");
        assert_ok(pb_cell_hash(env, cell, hash));
        pb_cell_close(cell);
    }
}

static void a_prediction_is_that_of_the_rows_asked_for(void **state)
{
    const pb_cell_rows few = {.train = {4, 10, 2, 0}, .test = {2, 10, 2, 0}};
    pb_cell_prediction guessed, known, again;
    pb_cell *cell  = opened(WHOLE);
    pb_cell *other = NULL;
    (void)state;
    assert_ok(pb_cell_open_seed(cell, 2, &other));
    assert_ok(pb_cell_predict(env, cell, NULL, &guessed));
    assert_true(guessed.trainable_params > 0 && guessed.work.amount[PB_WORK_TRAIN] > 0 &&
                guessed.seconds > 0);
    assert_ok(pb_cell_predict(env, other, &few, &known));
    assert_true(known.seconds < guessed.seconds);
    assert_int_equal(known.trainable_params, guessed.trainable_params);
    assert_ok(pb_cell_predict(env, cell, &few, &again));
    assert_memory_equal(&again, &known, sizeof known);
    assert_ok(pb_cell_predict(env, other, NULL, &again));
    assert_memory_equal(&again, &guessed, sizeof guessed);
    pb_cell_close(other);
    pb_cell_close(cell);
}

static void a_mistake_elsewhere_does_not_keep_a_model_from_its_cells(void **state)
{
    pb_cell *cell = opened_of("first", WHOLE "train = { batch = 0; };\n");
    (void)state;
    assert_ok(pb_cell_env_add_shape(env, cell, false));
    pb_cell_close(cell);
    assert_ok(pb_cell_env_check_model(env, "first"));
}

/* A misfit with the model is found when the method is planned, and the message still has the
 * place. */
static void a_method_that_does_not_fit_names_its_key(void **state)
{
    pb_cell *cell =
        opened(MODEL DATASET "method = { name = \"lora\";\n targets = [\"nowhere\"]; };");
    pb_cell_prediction prediction;
    (void)state;
    assert_ok(pb_cell_check(cell));
    for (int i = 0; i < 2; i++) {
        assert_error(pb_cell_predict(env, cell, NULL, &prediction), PB_ERR_CONFIG, "c.cfg:4: ");
    }
    pb_cell_close(cell);
}

static void the_hash_follows_the_configuration(void **state)
{
    static const char *const texts[] = {WHOLE, WHOLE "data = { max_truncated_share = 0.25; };\n",
                                        WHOLE "data = { train_rows = 7; };\n",
                                        WHOLE "train = { batch = 0; };\n",
                                        WHOLE "\ntrain = { batch = 0; };\n"};
    enum { COUNT = sizeof texts / sizeof *texts };
    char hashes[COUNT + 1][PB_HASH_TEXT];
    (void)state;
    for (int i = 0; i <= COUNT; i++) {
        pb_cell *cell  = opened(texts[i % COUNT]);
        pb_cell *other = NULL;
        assert_ok(pb_cell_hash(env, cell, hashes[i]));
        if (i == COUNT) {
            assert_string_equal(hashes[i], hashes[0]);
            assert_ok(pb_cell_open_seed(cell, 2, &other));
            assert_ok(pb_cell_hash(env, other, hashes[i]));
        }
        pb_cell_close(other);
        pb_cell_close(cell);
        for (int k = 0; k < i; k++) {
            assert_int_equal(strcmp(hashes[i], hashes[k]) == 0, i == 1);
        }
    }
}

static void opening_without_memory_leaves_nothing_behind(void **state)
{
    const pb_cell_name name = name_of(1);
    pb_status status        = PB_ERR_MEMORY;
    size_t none             = pb_memory_current();
    (void)state;
    for (size_t room = 0; status != PB_OK; room += 16) {
        pb_config *config = parsed(WHOLE);
        pb_cell *cell     = NULL;
        pb_memory_limit(pb_memory_current() + room + 1);
        status = pb_cell_open_take(&name, config, NULL, &cell);
        pb_memory_limit(0);
        assert_true(status == PB_OK || status == PB_ERR_MEMORY);
        pb_error_clear();
        pb_cell_close(cell);
        assert_int_equal(pb_memory_current(), none);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_share_what_was_read),
        cmocka_unit_test(a_cell_of_its_own_configuration_is_small),
        cmocka_unit_test(what_is_borrowed_is_what_would_be_read),
        cmocka_unit_test(the_text_holds_what_results_depend_on),
        cmocka_unit_test(texts_stay_what_they_were),
        cmocka_unit_test(a_mistake_belongs_to_its_cell),
        cmocka_unit_test(a_prediction_is_that_of_the_rows_asked_for),
        cmocka_unit_test(a_mistake_elsewhere_does_not_keep_a_model_from_its_cells),
        cmocka_unit_test(a_method_that_does_not_fit_names_its_key),
        cmocka_unit_test(the_hash_follows_the_configuration),
        cmocka_unit_test(opening_without_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, open_environment, close_environment);
}
