// SPDX-License-Identifier: Apache-2.0
/* The choice of kernels, for processors and libraries other than this machine's: a table of the
 * processor's features, the kernels that the library chose or was given, those that it has with
 * their rates, and the expected outcome. */
#include "choice.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    AVX    = CHOICE_AVX,
    AVX2   = CHOICE_AVX | CHOICE_FMA3 | CHOICE_AVX2,
    AVX512 = AVX2 | CHOICE_AVX512,
    BF16   = AVX512 | CHOICE_BF16,
    AMD    = 1 << 10,
    FIXED  = 1 << 11, /* a library for one kind of processor, or not OpenBLAS */
};

typedef struct library {
    const char *name;
    double gflops; /* 0: the process ends at the first product */
} library;

typedef struct row {
    const char *what;
    unsigned bits;
    const char *in_use, *setting;
    library has[8];
    const char *better; /* NULL: kept without a word */
    bool take;
} row;

static const row rows[] = {
    {"Xeon 6/207, Debian 12",
     BF16,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"Haswell", 50}, {"SkylakeX", 84}},
     "SkylakeX",
     true},
    {"the same with newer kernels too",
     BF16,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"SkylakeX", 84}, {"Cooperlake", 84}, {"SapphireRapids", 85}},
     "SkylakeX",
     true},
    {"the same when an empty setting was removed",
     BF16,
     "Prescott",
     "",
     {{"Prescott", 16}, {"SkylakeX", 84}},
     "SkylakeX",
     true},
    {"the same, pinned by hand",
     BF16,
     "SkylakeX",
     "SkylakeX",
     {{"Prescott", 16}, {"Haswell", 50}, {"SkylakeX", 84}},
     NULL,
     false},
    {"the same, slow at the user's request",
     BF16,
     "Prescott",
     "Prescott",
     {{"Prescott", 16}, {"SkylakeX", 84}},
     "SkylakeX",
     false},
    {"the same, Haswell from the user's shell, unnoticed",
     BF16,
     "Haswell",
     "Haswell",
     {{"Haswell", 50}, {"SkylakeX", 84}},
     "SkylakeX",
     false},
    {"a name that the library does not know is a setting, too",
     BF16,
     "Prescott",
     "Cooperlake",
     {{"Prescott", 16}, {"SkylakeX", 84}},
     "SkylakeX",
     false},
    {"a library that knows the processor",
     BF16,
     "SapphireRapids",
     NULL,
     {{"SapphireRapids", 85}, {"SkylakeX", 84}},
     NULL,
     false},
    {"a library without AVX-512",
     BF16,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"Haswell", 50}},
     "Haswell",
     true},
    {"kernels that end the process are as good as absent",
     BF16,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"SkylakeX", 0}, {"Haswell", 50}},
     "Haswell",
     true},
    {"a hypervisor that hides AVX-512",
     AVX2,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"Haswell", 50}, {"SkylakeX", 84}},
     "Haswell",
     true},
    {"a hypervisor that hides all but SSE",
     0,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"Haswell", 50}, {"SkylakeX", 84}},
     NULL,
     false},
    {"AVX2 without FMA",
     CHOICE_AVX | CHOICE_AVX2,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"Sandybridge", 30}, {"Haswell", 50}},
     "Sandybridge",
     true},
    {"Intel with AVX2",
     AVX2,
     "Prescott",
     NULL,
     {{"Prescott", 13}, {"Haswell", 60}, {"Zen", 61}},
     "Haswell",
     true},
    {"Intel with AVX2, known", AVX2, "Haswell", NULL, {{"Haswell", 60}, {"Zen", 61}}, NULL, false},
    {"Intel with AVX",
     AVX,
     "Nehalem",
     NULL,
     {{"Nehalem", 16}, {"Sandybridge", 31}},
     "Sandybridge",
     true},
    {"one unit for AVX-512: no gain",
     AVX512,
     "Haswell",
     NULL,
     {{"Haswell", 50}, {"SkylakeX", 55}},
     NULL,
     false},
    {"AVX-512 that is slow does not rule out AVX2",
     AVX512,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"SkylakeX", 17}, {"Haswell", 60}},
     "Haswell",
     true},
    {"AVX-512 and AVX2 that are slow do not rule out AVX",
     AMD | AVX512,
     "Barcelona",
     "Barcelona",
     {{"Barcelona", 16}, {"SkylakeX", 12}, {"Zen", 16}, {"Haswell", 15}, {"Sandybridge", 30}},
     "Sandybridge",
     false},
    {"two units for AVX-512",
     AVX512,
     "Haswell",
     NULL,
     {{"Haswell", 50}, {"SkylakeX", 85}},
     "SkylakeX",
     true},
    {"Zen 3",
     AMD | AVX2,
     "Zen",
     NULL,
     {{"Zen", 60}, {"Haswell", 61}, {"SkylakeX", 0}},
     NULL,
     false},
    {"Zen 3, Haswell by the user",
     AMD | AVX2,
     "Haswell",
     "Haswell",
     {{"Zen", 60}, {"Haswell", 60}},
     NULL,
     false},
    {"Zen 3, Prescott by the user",
     AMD | AVX2,
     "Prescott",
     "Prescott",
     {{"Prescott", 13}, {"Zen", 60}},
     "Zen",
     false},
    {"Zen 4, its AVX-512 in two halves",
     AMD | BF16,
     "Zen",
     NULL,
     {{"Zen", 80}, {"SkylakeX", 90}},
     NULL,
     false},
    {"Zen 4, Haswell by the user",
     AMD | BF16,
     "Haswell",
     "Haswell",
     {{"Haswell", 80}, {"SkylakeX", 90}},
     NULL,
     false},
    {"Zen 5, Haswell by the user",
     AMD | BF16,
     "Haswell",
     "Haswell",
     {{"Haswell", 80}, {"SkylakeX", 150}},
     "SkylakeX",
     false},
    {"Zen 5, too new for the library",
     AMD | BF16,
     "Barcelona",
     NULL,
     {{"Barcelona", 20}, {"Zen", 80}, {"SkylakeX", 150}},
     "SkylakeX",
     true},
    {"Zen 5 with a library without AVX-512",
     AMD | BF16,
     "Barcelona",
     NULL,
     {{"Barcelona", 20}, {"Zen", 80}, {"Haswell", 80}},
     "Zen",
     true},
    {"kernels with a name that is unknown here",
     BF16,
     "GraniteRapids",
     NULL,
     {{"SkylakeX", 84}},
     NULL,
     false},
    {"a library for one kind of processor",
     FIXED | BF16,
     "Prescott",
     NULL,
     {{"SkylakeX", 84}},
     NULL,
     false},
    {"no OpenBLAS", FIXED | BF16, "", NULL, {{"SkylakeX", 84}}, NULL, false},
    {"another kind of machine", 0, "NEOVERSEN1", NULL, {{"NEOVERSEN1", 40}}, NULL, false},
    {"faster by the table, not by the measurement",
     BF16,
     "Prescott",
     NULL,
     {{"Prescott", 16}, {"SkylakeX", 17}},
     NULL,
     false},
};

static double rate_of(const row *r, const char *name)
{
    for (size_t i = 0; i < sizeof r->has / sizeof *r->has && r->has[i].name != NULL; i++) {
        if (strcasecmp(r->has[i].name, name) == 0) {
            return r->has[i].gflops;
        }
    }
    return -1.0; /* the library uses others instead */
}

/* Tries the requested kernels as a library would: every name at most once, and none that cannot
 * run. */
static choice decide(const row *r, const choice_facts *facts)
{
    choice_trial trials[CHOICE_TRIALS];
    int count        = 0;
    const char *name = NULL;
    while ((name = choice_next(facts, trials, count)) != NULL) {
        double rate = rate_of(r, name);
        assert_true(count < CHOICE_TRIALS);
        assert_true(choice_can_run(name, facts->features));
        for (int i = 0; i < count; i++) {
            assert_int_not_equal(strcasecmp(trials[i].asked, name), 0);
        }
        trials[count] = (choice_trial){.asked = name, .gflops = rate < 0.0 ? facts->gflops : rate};
        snprintf(trials[count].took, sizeof trials[count].took, "%s",
                 rate < 0.0 ? facts->in_use : name);
        count++;
    }
    return choice_make(facts, trials, count);
}

static choice_facts facts_of(const row *r)
{
    double rate = rate_of(r, r->in_use);
    return (choice_facts){
        .features   = r->bits & ~(unsigned)(AMD | FIXED),
        .amd        = (r->bits & AMD) != 0,
        .selectable = (r->bits & FIXED) == 0,
        .in_use     = r->in_use,
        .gflops     = rate > 0.0 ? rate : 10.0,
        .setting    = r->setting,
    };
}

static void every_row_of_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        choice_facts facts = facts_of(&rows[i]);
        choice made        = decide(&rows[i], &facts);
        print_message("%s: %s\n", rows[i].what, made.better != NULL ? made.better : "kept");
        assert_int_equal(made.better != NULL, rows[i].better != NULL);
        if (made.better != NULL) {
            assert_string_equal(made.better, rows[i].better);
            assert_true(made.gflops > facts.gflops);
        }
        assert_int_equal(made.take, rows[i].take);
    }
}

/* Processes of a node that measure at the same time see each other's load: a tenth more or less
 * changes the outcome of no row. */
static void noise_does_not_change_the_choice(void **state)
{
    static const double factors[] = {0.9, 0.95, 1.05, 1.1};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t f = 0; f < sizeof factors / sizeof *factors; f++) {
            choice_facts facts = facts_of(&rows[i]);
            facts.gflops *= factors[f];
            choice made = decide(&rows[i], &facts);
            assert_int_equal(made.take, rows[i].take);
            assert_int_equal(made.better != NULL, rows[i].better != NULL);
        }
    }
}

static void kernels_that_cannot_run_are_known(void **state)
{
    (void)state;
    assert_true(choice_can_run("Zen", AVX2));
    assert_true(choice_can_run("haswell", AVX2));
    assert_false(choice_can_run("Haswell", CHOICE_AVX | CHOICE_AVX2));
    assert_false(choice_can_run("SkylakeX", AVX2));
    assert_false(choice_can_run("skylakex", AVX2));
    assert_false(choice_can_run("Cooperlake", AVX512));
    assert_true(choice_can_run("Cooperlake", BF16));
    assert_false(choice_can_run("Bulldozer", AVX2));
    assert_true(choice_can_run("Prescott", 0));
    assert_true(choice_can_run("ARMV8", 0));
    assert_true(choice_can_run("", 0));
    assert_string_equal(choice_needs("SkylakeX"), "AVX-512");
    assert_string_equal(choice_needs("unheard of"), "");
}

static void the_list_holds_what_can_run(void **state)
{
    static const unsigned sets[] = {0, AVX, AVX2, AVX512, BF16};
    (void)state;
    for (size_t s = 0; s < 2 * sizeof sets / sizeof *sets; s++) {
        const char *names[CHOICE_TRIALS];
        unsigned features = sets[s / 2];
        int count         = choice_list(features, s % 2 != 0, names);
        assert_true(count >= 1 && count <= CHOICE_TRIALS);
        for (int i = 0; i < count; i++) {
            assert_true(choice_can_run(names[i], features));
        }
        assert_string_equal(names[count - 1], "Prescott");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table),
        cmocka_unit_test(noise_does_not_change_the_choice),
        cmocka_unit_test(kernels_that_cannot_run_are_known),
        cmocka_unit_test(the_list_holds_what_can_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
