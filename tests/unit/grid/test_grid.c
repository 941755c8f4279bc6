// SPDX-License-Identifier: Apache-2.0
/* Expansion of a grid into cells, their order, and the configuration of each. */
#include "fixture.h"

static const char *const sweep_text =
    "sweep = { name = \"s\"; models = [\"small\", \"large\"]; datasets = [\"rte\", \"sst2\"];\n"
    "  methods = [\"none\", \"lora\"]; seeds = [7, 5]; %s };\n%s";

static pb_grid *opened(const char *more, const char *groups, const char *set)
{
    char text[2048];
    pb_grid *grid = NULL;
    snprintf(text, sizeof text, sweep_text, more, groups);
    pb_status status = open_grid(text, set, &grid);
    if (status != PB_OK) {
        fail_msg("%s", pb_error_message());
    }
    return grid;
}

static void the_product_is_ordered_by_model_then_axes(void **state)
{
    (void)state;
    pb_grid *grid       = opened("", "", NULL);
    pb_grid_cells cells = {0};
    char text[512]      = "";
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    assert_int_equal(cells.count, 16);
    for (int i = 0; i < 5; i++) {
        const pb_grid_cell *c = &cells.items[i];
        char one[64];
        assert_int_equal(c->number, i);
        snprintf(one, sizeof one, "%s/%s/%s/%d ", c->model, c->dataset, c->method, (int)c->seed);
        strcat(text, one);
    }
    assert_string_equal(text, "small/rte/none/7 small/rte/none/5 small/rte/lora/7 "
                              "small/rte/lora/5 small/sst2/none/7 ");
    assert_string_equal(cells.items[8].model, "large");
    assert_int_equal(cells.items[0].protocol, PB_PROTOCOL_CORRECTED);
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
    assert_int_equal(pb_memory_current(), 0);
}

static double cost_of(const pb_grid_cell *cell)
{
    double lora = strcmp(cell->method, "lora") == 0;
    return cell->index[PB_AXIS_DATASET] == 1 ? 10 + lora : lora * 5 - 3;
}

static void longer_cells_come_first_within_a_model(void **state)
{
    (void)state;
    pb_grid *grid       = opened("", "", NULL);
    pb_grid_cells cells = {0};
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    for (int64_t i = 0; i < cells.count; i++) {
        cells.items[i].cost = cost_of(&cells.items[i]);
    }
    pb_grid_order(&cells);
    for (int64_t i = 1; i < cells.count; i++) {
        const pb_grid_cell *a = &cells.items[i - 1], *b = &cells.items[i];
        assert_int_equal(b->number, i);
        assert_true(a->index[0] < b->index[0] ||
                    (a->index[0] == b->index[0] && a->cost >= b->cost));
    }
    assert_string_equal(cells.items[0].dataset, "sst2");
    assert_string_equal(cells.items[0].method, "lora");
    assert_true(cells.items[7].cost == 1);
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
}

static void exclusions_take_cells_away(void **state)
{
    (void)state;
    static const char exclusions[] = "exclude = ( { method = \"none\"; seed = 5; },\n"
                                     "  { model = \"large\"; dataset = [\"rte\", \"sst2\"]; "
                                     "seed = 7; } );";
    pb_grid *grid                  = opened(exclusions, "", NULL);
    pb_grid_cells cells            = {0};
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    assert_int_equal(cells.count, 8);
    for (int64_t i = 0; i < cells.count; i++) {
        assert_false(strcmp(cells.items[i].method, "none") == 0 && cells.items[i].seed == 5);
        assert_false(cells.items[i].index[0] == 1 && cells.items[i].seed == 7);
    }
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
}

static int64_t configurations(const char *more)
{
    pb_grid *grid       = opened(more, "", NULL);
    pb_grid_cells cells = {0};
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    int64_t count = cells.items[cells.count - 1].configuration + 1;
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
    return count;
}

static void cells_that_differ_in_the_seed_share_a_configuration(void **state)
{
    (void)state;
    assert_int_equal(configurations(""), 8);
    assert_int_equal(configurations("exclude = ( { method = \"none\"; seed = 7; } );"), 8);
    assert_int_equal(configurations("override = ( { when = { method = \"none\"; };\n"
                                    "  set = { train = { batch = 5; }; }; } );"),
                     8);
    assert_int_equal(configurations("override = ( { when = { method = \"none\"; seed = 5; };\n"
                                    "  set = { train = { batch = 5; }; }; } );"),
                     12);
}

typedef struct train_options {
    int64_t batch, a, b, c, d;
} train_options;

static const pb_config_field train_fields[] = {
    PB_FIELD_INT(train_options, batch, 100, 1, 1000, "", "rows"),
    PB_FIELD_INT(train_options, a, 0, 0, 9, "", "a"),
    PB_FIELD_INT(train_options, b, 0, 0, 9, "", "b"),
    PB_FIELD_INT(train_options, c, 0, 0, 9, "", "c"),
    PB_FIELD_INT(train_options, d, 0, 0, 9, "", "d"),
    PB_FIELD_END,
};

static train_options train_of(const pb_grid *grid, const char *model, const char *dataset,
                              const char *method)
{
    pb_grid_cells cells = {0};
    train_options train = {0};
    int found           = 0;
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    for (int64_t i = 0; i < cells.count; i++) {
        const pb_grid_cell *c = &cells.items[i];
        if (strcmp(c->model, model) == 0 && strcmp(c->dataset, dataset) == 0 &&
            strcmp(c->method, method) == 0 && c->seed == 7) {
            pb_config *config = NULL;
            assert_int_equal(pb_grid_cell_config(grid, c, &config), PB_OK);
            assert_int_equal(pb_config_read(config, "train", train_fields, NULL, &train), PB_OK);
            pb_config_close(config);
            found++;
        }
    }
    assert_int_equal(found, 1);
    pb_grid_cells_clear(&cells);
    return train;
}

static void layers_have_their_strength(void **state)
{
    (void)state;
    pb_grid *grid       = opened("", "", NULL);
    train_options train = train_of(grid, "small", "rte", "lora");
    assert_int_equal(train.batch, 3);
    assert_true(train.a == 1 && train.b == 2 && train.c == 3 && train.d == 0);
    assert_int_equal(train_of(grid, "small", "rte", "none").batch, 2);
    assert_int_equal(train_of(grid, "small", "sst2", "none").batch, 1);
    assert_int_equal(train_of(grid, "large", "sst2", "none").batch, 100);
    pb_grid_close(grid);

    const char *override =
        "override = ( { when = { model = \"large\"; };\n"
        "  set = { train = { batch = 5; d = 4; }; }; },\n"
        " { when = { method = \"lora\"; }; set = { train = { batch = 6; }; }; } );";
    grid = opened(override, "train = { batch = 4; };", NULL);
    assert_int_equal(train_of(grid, "small", "rte", "none").batch, 4);
    assert_int_equal(train_of(grid, "large", "rte", "none").batch, 5);
    assert_int_equal(train_of(grid, "large", "rte", "lora").batch, 6);
    assert_int_equal(train_of(grid, "large", "rte", "lora").d, 4);
    pb_grid_close(grid);

    grid = opened(override, "train = { batch = 4; };", "train.batch=8");
    assert_int_equal(train_of(grid, "large", "rte", "lora").batch, 8);
    pb_grid_close(grid);
    assert_int_equal(pb_memory_current(), 0);
}

typedef struct model_options {
    char *path;
} model_options;

static const pb_config_field model_fields[] = {
    PB_FIELD_PATH(model_options, path, NULL, "folder"),
    PB_FIELD_END,
};

static void paths_and_messages_keep_the_file_of_their_key(void **state)
{
    (void)state;
    pb_grid *grid       = opened("", "train = { batch = 0; };", NULL);
    pb_grid_cells cells = {0};
    pb_config *config   = NULL;
    model_options model;
    train_options train;
    char expected[256];
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    assert_int_equal(pb_grid_cell_config(grid, &cells.items[0], &config), PB_OK);
    assert_int_equal(pb_config_read(config, "model", model_fields, NULL, &model), PB_OK);
    snprintf(expected, sizeof expected, "%s/grid/../model/weights/small", folder);
    assert_string_equal(model.path, expected);
    pb_config_clear(model_fields, &model);
    assert_int_equal(pb_config_read(config, "train", train_fields, NULL, &train), PB_ERR_CONFIG);
    snprintf(expected, sizeof expected, "%s/grid/g.cfg:3: batch = 0 is outside 1 … 1000", folder);
    assert_string_equal(pb_error_message(), expected);
    pb_config_close(config);
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);
}

static void values_can_be_paths_and_names_from_other_folders(void **state)
{
    (void)state;
    pb_grid *grid       = NULL;
    pb_grid_cells cells = {0};
    char set[128];
    assert_int_equal(open_grid("sweep = { name = \"s\"; models = \"../model/small.cfg\";\n"
                               " datasets = \"rte\"; methods = \"none\"; };",
                               NULL, &grid),
                     PB_OK);
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    assert_string_equal(cells.items[0].model, "small");
    pb_grid_cells_clear(&cells);
    assert_int_equal(pb_grid_get_sweep(grid)->seeds.items[0], 42);
    pb_grid_close(grid);

    snprintf(set, sizeof set, "sweep.methods=[%s/method/lora.cfg, none]", folder);
    grid = opened("", "", set);
    assert_int_equal(pb_grid_axis_count(grid, PB_AXIS_METHOD), 2);
    assert_int_equal(pb_grid_expand(grid, &cells), PB_OK);
    assert_string_equal(cells.items[0].method, "lora");
    pb_grid_cells_clear(&cells);
    pb_grid_close(grid);

    char away[160];
    write_file("away.cfg", "sweep = { name = \"s\"; models = \"small\"; datasets = \"rte\";\n"
                           " methods = \"none\"; };");
    snprintf(away, sizeof away, "%s/away.cfg", folder);
    assert_int_equal(pb_grid_open(away, NULL, 0, &grid), PB_ERR_CONFIG);
    snprintf(set, sizeof set, "/nowhere::%s", folder);
    setenv("PB_CONFIGS", set, 1);
    assert_int_equal(pb_grid_open(away, NULL, 0, &grid), PB_OK);
    unsetenv("PB_CONFIGS");
    pb_grid_close(grid);
    unlink(away);
}

static void the_group_run_reads_and_takes_sets(void **state)
{
    (void)state;
    pb_grid *grid = opened("protocol = \"paper\";", "run = { threads = 2; output = \"out\"; };",
                           "run.time_limit_seconds=90");
    char expected[128];
    snprintf(expected, sizeof expected, "%s/grid/out", folder);
    const pb_grid_run_options *run = pb_grid_get_run(grid);
    assert_int_equal(run->threads, 2);
    assert_true(run->time_limit_seconds == 90);
    assert_string_equal(run->output, expected);
    assert_int_equal(pb_grid_get_sweep(grid)->protocol, PB_PROTOCOL_PAPER);
    pb_grid_close(grid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_product_is_ordered_by_model_then_axes),
        cmocka_unit_test(longer_cells_come_first_within_a_model),
        cmocka_unit_test(exclusions_take_cells_away),
        cmocka_unit_test(cells_that_differ_in_the_seed_share_a_configuration),
        cmocka_unit_test(layers_have_their_strength),
        cmocka_unit_test(paths_and_messages_keep_the_file_of_their_key),
        cmocka_unit_test(values_can_be_paths_and_names_from_other_folders),
        cmocka_unit_test(the_group_run_reads_and_takes_sets),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
