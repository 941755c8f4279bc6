// SPDX-License-Identifier: Apache-2.0
/* Every kind of error in a grid file has one message that names the place and the remedy. */
#include "fixture.h"

#define SWEEP(models, datasets, methods, more)                              \
    "sweep = { name = \"s\";\n models = " models ";\n datasets = " datasets \
    ";\n methods = " methods ";\n " more " };"

#define GOOD(more) SWEEP("[\"small\"]", "[\"rte\"]", "[\"none\", \"lora\"]", more)

typedef struct mistake {
    const char *text, *set;
    const char
        *message; /* the message after the name of the grid file, or all of it when `whole` */
    bool whole;
} mistake;

static const mistake mistakes[] = {
    {"sweep = { models = \"small\"; datasets = \"rte\"; methods = \"none\"; };", NULL,
     ":1: sweep.name is missing: a string, name of the sweep and of its result file", false},
    {"swep = { };", NULL,
     ":1: key \"swep\" is not known here; did you mean \"sweep\"? allowed: sweep, run, train, "
     "data, "
     "eval",
     false},
    {"train = 5;", NULL, ":1: train is not a group; it is written train = { … };", false},
    {GOOD("sead = 3;"), NULL, ":5: key \"sead\" is not known here; did you mean \"seeds\"?", false},
    {GOOD("seeds = [1, 1];"), NULL, ":5: seed 1 is listed twice", false},
    {GOOD("seeds = [];"), NULL, ":5: seeds is empty; it needs one or more integers", false},
    {GOOD("seeds = [-1];"), NULL, ":5: seeds = -1 is outside 0 … ", false},
    {GOOD("protocol = \"papr\";"), NULL,
     ":5: protocol = \"papr\" is not one of corrected, paper; did you mean \"paper\"?", false},
    {SWEEP("[]", "\"rte\"", "\"none\"", ""), NULL,
     ":2: models is empty; it needs one or more names", false},
    {SWEEP("\"small\"", "[\"rte\",\n \"rtee\"]", "\"none\"", ""), NULL,
     ":4: dataset \"rtee\" has no file; did you mean \"rte\"? Known: boolq, rte, sst2 (looked "
     "for ",
     false},
    {SWEEP("\"small\"", "\"rte\"", "\"none\"", ""), "sweep.methods=[lor]",
     "--set sweep.methods=[lor]: method \"lor\" has no file; did you mean \"lora\"? Known: ", true},
    {SWEEP("\"gone/x.cfg\"", "\"rte\"", "\"none\"", ""), NULL,
     ":2: model \"gone/x.cfg\": no such file: ", false},
    {SWEEP("\"../small\"", "\"rte\"", "\"none\"", ""), NULL,
     ":2: model \"../small\" is not a name (1 to 100 letters, digits, \".\", \"_\", \"-\") and not "
     "a "
     "path that ends in .cfg",
     false},
    {SWEEP("[\"small\", \"../model/small.cfg\"]", "\"rte\"", "\"none\"", ""), NULL,
     ":2: model \"small\" is listed twice", false},
    {SWEEP("\"small\"", "\"rte\"", "\"odd\"", ""), NULL,
     "/../method/odd.cfg:2: key \"extra\" is not known here; allowed: method, train, data, eval",
     true},
    {SWEEP("\"small\"", "\"rte\"", "\"empty\"", ""), NULL,
     "/../method/empty.cfg: group method is missing; it is written method = { … };", true},
    {SWEEP("\"small\"", "\"rte\"", "\"flat\"", ""), NULL,
     "/../method/flat.cfg:1: method is not a group; it is written method = { … };", true},
    {GOOD("exclude = ( { method = \"lroa\"; } );"), NULL,
     ":5: method \"lroa\" is not in sweep.methods; did you mean \"lora\"?", false},
    {GOOD("exclude = ( { seed = 3; } );"), NULL, ":5: seed 3 is not in sweep.seeds", false},
    {GOOD("exclude = ( { } );"), NULL, ":5: this does not name a model, dataset, method or seed",
     false},
    {GOOD("exclude = ( { model = []; } );"), NULL, ":5: model is empty; leave it out to mean all",
     false},
    {GOOD("exclude = { method = \"none\"; };"), NULL,
     ":5: sweep.exclude is a list of groups: ( { … }, { … } );", false},
    {GOOD("exclude = 5;"), NULL, ":5: sweep.exclude is a list of groups: ", false},
    {GOOD("exclude = ( 5 );"), NULL, ":5: sweep.exclude is a list of groups: ", false},
    {GOOD("exclude = ( { metod = \"none\"; } );"), NULL,
     ":5: key \"metod\" is not known here; did you mean \"method\"? allowed: model, dataset, "
     "method, "
     "seed",
     false},
    {GOOD("override = ( { set = { train = { }; }; } );"), NULL,
     ":5: override has no \"when\"; it needs when = { model = \"…\"; };", false},
    {GOOD("override = ( { when = { method = \"lora\"; }; } );"), NULL,
     ":5: override has no \"set\"; it needs set = { train = { … }; };", false},
    {GOOD("override = ( { when = { method = \"lora\"; }; set = { run = { }; }; } );"), NULL,
     ":5: key \"run\" is not known here; ", false},
    {GOOD("override = ( { when = { method = \"x\"; }; set = { train = { }; }; } );"), NULL,
     ":5: method \"x\" is not in sweep.methods", false},
    {GOOD("") " run = { group = 2; };", NULL, ":5: group = 2 is outside 1 … 1", false},
    {GOOD("") " run = { time_limit_seconds = 50; };", NULL,
     ":5: time_limit_seconds = 50 leaves no time for a cell, because everything winds up "
     "time_reserve_seconds = 60 before;",
     false},
    {GOOD("") " run = { treads = 2; };", NULL,
     ":5: key \"treads\" is not known here; did you mean \"threads\"?", false},
    {GOOD(""), "trian.batch=1",
     "--set trian.batch=1: key \"trian\" is not known here; did you mean \"train\"?", true},
    {GOOD(""), "sweep.name=a/b",
     "--set sweep.name=a/b: name = \"a/b\" names the result file: 1 to 100 letters, digits, ",
     true},
    {GOOD(""), "nonsense", "--set nonsense: this is not key=value, like train.batch=8", true},
};

static void every_mistake_has_its_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const mistake *m = &mistakes[i];
        pb_grid *grid    = NULL;
        char wanted[512];
        snprintf(wanted, sizeof wanted, "%s%s", m->whole ? "" : file_path("grid/g.cfg"),
                 m->message);
        assert_int_equal(open_grid(m->text, m->set, &grid), PB_ERR_CONFIG);
        if (strstr(pb_error_message(), wanted) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", wanted, pb_error_message());
        }
        assert_null(grid);
        assert_int_equal(pb_memory_current(), 0);
    }
}

static void a_grid_without_cells_is_refused(void **state)
{
    (void)state;
    pb_grid *grid       = NULL;
    pb_grid_cells cells = {0};
    assert_int_equal(open_grid(GOOD("exclude = ( { model = \"small\"; } );"), NULL, &grid), PB_OK);
    assert_int_equal(pb_grid_expand(grid, &cells), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(), "g.cfg:5: exclude leaves no cell"));
    pb_grid_close(grid);
}

static void a_missing_grid_file_is_named(void **state)
{
    (void)state;
    pb_grid *grid = NULL;
    assert_int_equal(pb_grid_open("/nowhere/g.cfg", NULL, 0, &grid), PB_ERR_CONFIG);
    assert_non_null(strstr(pb_error_message(), "/nowhere/g.cfg"));
}

static void running_out_of_memory_is_an_error_at_every_allocation(void **state)
{
    (void)state;
    bool done = false;
    write_file("grid/g.cfg", GOOD("exclude = ( { seed = 42; method = \"none\"; } );"));
    for (size_t limit = 1; !done; limit += 64) {
        pb_grid *grid       = NULL;
        pb_grid_cells cells = {0};
        pb_memory_limit(limit);
        pb_status status = pb_grid_open(file_path("grid/g.cfg"), NULL, 0, &grid);
        if (status == PB_OK) {
            status = pb_grid_expand(grid, &cells);
        }
        pb_memory_limit(0);
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
        cmocka_unit_test(every_mistake_has_its_message),
        cmocka_unit_test(a_grid_without_cells_is_refused),
        cmocka_unit_test(a_missing_grid_file_is_named),
        cmocka_unit_test(running_out_of_memory_is_an_error_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
