// SPDX-License-Identifier: Apache-2.0
/* Variants: entries of an axis with lists of values. */
#include "fixture.h"

#define GRID(models, datasets, methods, more)                               \
    "sweep = { name = \"s\";\n models = " models ";\n datasets = " datasets \
    ";\n methods = " methods ";\n" more " };\n"

#define LORA                                                                \
    "( \"none\",\n { method = \"lora\"; vary = { method = { r = [4, 8]; };" \
    " train = { lr = [1e-4, 0.003, 16.0]; }; }; } )"

static pb_grid *opened(const char *text, const char *set)
{
    pb_grid *grid = NULL;
    if (open_grid(text, set, &grid) != PB_OK) {
        fail_msg("%s", pb_error_message());
    }
    return grid;
}

/* The cells of the grid as "model/dataset/method ". */
static void expect_cells(const char *text, const char *set, const char *wanted)
{
    pb_grid *grid       = opened(text, set);
    pb_grid_cells cells = {0};
    char names[1024]    = "";
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    for (int64_t i = 0; i < cells.count; i++) {
        const pb_grid_cell *c = &cells.items[i];
        size_t used           = strlen(names);
        snprintf(names + used, sizeof names - used, "%s/%s/%s ", c->model, c->dataset, c->method);
    }
    assert_string_equal(names, wanted);
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
    assert_int_equal(pb_memory_current(), 0);
}

static void an_entry_becomes_its_combinations_in_the_order_written(void **state)
{
    (void)state;
    expect_cells(GRID("\"small\"", "\"rte\"", LORA, ""), NULL,
                 "small/rte/none "
                 "small/rte/lora{r=4,lr=1e-04} small/rte/lora{r=4,lr=0.003} "
                 "small/rte/lora{r=4,lr=16} "
                 "small/rte/lora{r=8,lr=1e-04} small/rte/lora{r=8,lr=0.003} "
                 "small/rte/lora{r=8,lr=16} ");
    expect_cells(
        GRID("( { model = \"small\"; vary = { model = { chat = [\"none\", \"a+b\"]; }; }; } )",
             "( { dataset = \"../dataset/rte.cfg\"; vary = { data = { train_rows = [9]; };\n"
             " eval = { batch = [2]; }; }; } )",
             "( { method = \"lora\"; vary = { method = { on = [true, false];\n"
             " targets = ( [\"q\", \"v\"], \"k\" ); }; }; } )",
             "exclude = ( { method = \"lora{on=true,targets=k}\"; } );"),
        NULL,
        "small{chat=none}/rte{train_rows=9,eval.batch=2}/lora{on=true,targets=q+v} "
        "small{chat=none}/rte{train_rows=9,eval.batch=2}/lora{on=false,targets=q+v} "
        "small{chat=none}/rte{train_rows=9,eval.batch=2}/lora{on=false,targets=k} "
        "small{chat=a+b}/rte{train_rows=9,eval.batch=2}/lora{on=true,targets=q+v} "
        "small{chat=a+b}/rte{train_rows=9,eval.batch=2}/lora{on=false,targets=q+v} "
        "small{chat=a+b}/rte{train_rows=9,eval.batch=2}/lora{on=false,targets=k} ");
}

static void rules_name_a_variant_or_all_of_a_base(void **state)
{
    (void)state;
    expect_cells(GRID("\"small\"", "\"rte\"", LORA, "exclude = ( { method = \"lora\"; } );"), NULL,
                 "small/rte/none ");
}

static void a_set_chooses_variants_by_name(void **state)
{
    (void)state;
    const char *text = GRID("\"small\"", "\"rte\"", LORA, "");
    expect_cells(text, "sweep.methods=[\"lora{r=8,lr=1e-04}\", \"none\"]",
                 "small/rte/lora{r=8,lr=1e-04} small/rte/none ");
    expect_cells(text,
                 "sweep.methods=( { method = \"lora\"; vary = { method = { r = [2]; }; }; } )",
                 "small/rte/lora{r=2} ");
}

typedef struct options {
    int64_t r, batch;
    double lr;
} options;

static const pb_config_field fields[] = {
    PB_FIELD_INT(options, r, 0, 0, 99, "", "rank"),
    PB_FIELD_INT(options, batch, 0, 0, 99, "", "rows"),
    PB_FIELD_FLOAT(options, lr, 0, 0, 99, "", "rate"),
    PB_FIELD_END,
};

static const char *const others[] = {"name", "c", NULL};

/* The groups method and train of the cell's configuration, together. */
static options options_of(const pb_grid *grid, const pb_grid_cell *cell)
{
    options o;
    pb_config *config = NULL;
    assert_int_equal(pb_grid_cell_config(grid, cell, &config), PB_OK);
    assert_int_equal(pb_config_read(config, "method", fields, others, &o), PB_OK);
    assert_int_equal(pb_config_overlay(config, "train", fields, others, &o), PB_OK);
    pb_config_close(config);
    return o;
}

static void settings_lie_over_files_grid_and_overrides(void **state)
{
    (void)state;
    pb_grid *grid =
        opened(GRID("\"large\"", "\"sst2\"", LORA,
                    "override = ( { when = { method = \"lora\"; };\n"
                    " set = { method = { r = 5; }; train = { batch = 6; }; }; } );") "train = { lr "
                                                                                     "= 2.0; };",
               NULL);
    pb_grid_cells cells = {0};
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    assert_int_equal(cells.count, 7);
    assert_true(options_of(grid, &cells.items[0]).lr == 2);
    for (int i = 1; i < 7; i++) {
        const double rates[] = {1e-4, 0.003, 16};
        options o            = options_of(grid, &cells.items[i]);
        assert_int_equal(o.r, i < 4 ? 4 : 8);
        assert_true(o.lr == rates[(i - 1) % 3]);
        assert_int_equal(o.batch, 6);
        assert_int_equal(cells.items[i].configuration, i);
    }
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
    assert_int_equal(pb_memory_current(), 0);
}

static void a_wrong_value_is_reported_at_its_place(void **state)
{
    (void)state;
    pb_grid *grid =
        opened(GRID("\"small\"", "\"rte\"",
                    "( { method = \"lora\"; vary = { method = { r = [4,\n 100]; }; }; } )", ""),
               NULL);
    pb_grid_cells cells = {0};
    pb_config *config   = NULL;
    options o;
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    assert_int_equal(pb_grid_cell_config(grid, &cells.items[1], &config), PB_OK);
    assert_int_equal(pb_config_read(config, "method", fields, others, &o), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(), "g.cfg:5: r = 100 is outside 0 … 99"));
    pb_config_close(config);
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
}

#define ONE(entry) GRID("\"small\"", "\"rte\"", "( \"none\", " entry " )", "")

static void every_mistake_names_its_place(void **state)
{
    (void)state;
    static const char *const mistakes[][3] = {
        {ONE("{ method = \"lora\"; }"), NULL,
         ":4: nothing varies; an entry is a name, or { method = "},
        {ONE("{ method = \"lora\"; vary = { method = { }; }; }"), NULL, ":4: nothing varies"},
        {ONE("{ vary = { method = { r = [1]; }; }; }"), NULL,
         ":4: sweep.methods.[1].method is missing: a string, the method that varies"},
        {ONE("{ model = \"lora\"; vary = { method = { r = [1]; }; }; }"), NULL,
         ":4: key \"model\" is not known here; allowed: method, vary"},
        {ONE("{ method = 3; vary = { method = { r = [1]; }; }; }"), NULL,
         ":4: method is the integer 3, it should be a string"},
        {ONE("{ method = \"lroa\"; vary = { method = { r = [1]; }; }; }"), NULL,
         ":4: method \"lroa\" has no file; did you mean \"lora\"?"},
        {ONE("{ method = \"lora\"; vary = { methd = { r = [1]; }; }; }"), NULL,
         ":4: key \"methd\" is not known here; did you mean \"method\"?"},
        {ONE("{ method = \"lora\"; vary = { method = [1]; }; }"), NULL,
         ".method is not a group; it is written "},
        {ONE("{ method = \"lora\"; vary = { run = { threads = [1]; }; }; }"), NULL,
         ":4: key \"run\" is not known here"},
        {ONE("{ method = \"lora\"; vary = { method = {\n r = []; }; }; }"), NULL,
         ":5: r is an empty list; it should be a list of the values it takes"},
        {ONE("{ method = \"lora\"; vary = { method = {\n r = 4; }; }; }"), NULL,
         ":5: r is the integer 4; it should be a list of the values it takes"},
        {ONE("{ method = \"lora\"; vary = { method = { r = ( 4,\n { } ); }; }; }"), NULL,
         ":5: a group cannot be part of a name; a value that varies is a number, "},
        {ONE("{ method = \"lora\"; vary = { method = { r = ( 4, [ ] ); }; }; }"), NULL,
         ":4: a list cannot be part of a name"},
        {ONE("{ method = \"lora\"; vary = { method = { r = [\"a\", \"b,c\"]; }; }; }"), NULL,
         ":4: the string \"b,c\" cannot be part of a name"},
        {ONE("{ method = \"lora\"; vary = { method = { r = ( 4, 14,\n 4.0 ); }; }; }"), NULL,
         ":5: method.r = 4 is listed twice"},
        {ONE("{ method = \"lora\"; vary = { method = { r = [4]; }; }; },\n"
             " { method = \"lora\"; vary = { method = { r = [3, 4]; }; }; }"),
         NULL, ":5: method \"lora{r=4}\" is listed twice"},
        {ONE("{ method = \"lora\"; vary = { method = { batch = [4]; };\n train = { batch = [3]; }; "
             "}; }"),
         NULL, ":5: method.batch and train.batch both vary and would both be called batch; "},
        {GRID("( { model = \"small\"; vary = { train = { lr = [1]; }; }; } )", "\"rte\"",
              "( { method = \"lora\"; vary = { train = { lr = [1]; }; }; } )", ""),
         NULL, ":4: train.lr varies in models too; let it vary on one axis"},
        {GRID("\"small\"", "\"rte\"", LORA, ""), "method.r=3",
         "--set method.r=3: method.r varies ("},
        {GRID("\"small\"", "\"rte\"", LORA, ""), "sweep.methods=[\"lora{r=3}\"]",
         "method \"lora{r=3}\" is not among the variants of sweep.methods in "},
        {GRID("\"small\"", "\"rte\"", LORA, "exclude = ( { method = \"lora{r=4}\"; } );"), NULL,
         ":6: method \"lora{r=4}\" is not in sweep.methods; "},
        {GRID("{ model = \"small\"; }", "\"rte\"", LORA, ""), NULL,
         ":2: models is a group, it should be a list of strings or groups"},
        {GRID("( 3 )", "\"rte\"", LORA, ""), NULL,
         ":2: models is the integer 3, it should be a list of strings or groups"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        pb_grid *grid = NULL;
        assert_int_equal(open_grid(mistakes[i][0], mistakes[i][1], &grid), PB_ERR_CONFIG);
        if (strstr(pb_error_message(), mistakes[i][2]) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", mistakes[i][2], pb_error_message());
        }
        assert_int_equal(pb_memory_current(), 0);
    }
}

static void running_out_of_memory_is_an_error_at_every_allocation(void **state)
{
    (void)state;
    bool done = false;
    write_file("grid/g.cfg", GRID("\"small\"", "\"rte\"", LORA, ""));
    for (size_t limit = 1; !done; limit += 64) {
        pb_grid *grid       = NULL;
        pb_grid_cells cells = {0};
        pb_config *config   = NULL;
        pb_memory_limit(limit);
        pb_status status = pb_grid_open(file_path("grid/g.cfg"), NULL, 0, &grid);
        if (status == PB_OK) {
            status = pb_grid_expand(grid, &cells);
        }
        if (status == PB_OK) {
            status = pb_grid_cell_config(grid, &cells.items[6], &config);
        }
        pb_memory_limit(0);
        pb_config_close(config);
        pb_grid_cells_clear(&cells);
        pb_grid_close(grid);
        done = status == PB_OK;
        assert_true(done || status == PB_ERR_MEMORY);
        assert_int_equal(pb_memory_current(), 0);
        assert_true(limit < 1000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_becomes_its_combinations_in_the_order_written),
        cmocka_unit_test(rules_name_a_variant_or_all_of_a_base),
        cmocka_unit_test(a_set_chooses_variants_by_name),
        cmocka_unit_test(settings_lie_over_files_grid_and_overrides),
        cmocka_unit_test(a_wrong_value_is_reported_at_its_place),
        cmocka_unit_test(every_mistake_names_its_place),
        cmocka_unit_test(running_out_of_memory_is_an_error_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
