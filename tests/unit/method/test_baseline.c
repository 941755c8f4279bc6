// SPDX-License-Identifier: Apache-2.0
/* Baselines: their answers, from training answers alone. */
#include "support.h"

#include "pb/memory.h"
#include "pb/method.h"

#include <stdio.h>
#include <string.h>

enum { ROWS = 4000 };

/* Answers of the named baseline to `rows` test rows; freed by forget. */
static pb_status ask(const char *name, uint64_t seed, const pb_answers *answers, int64_t rows,
                     char **texts)
{
    const pb_method_ops *ops = NULL;

    memset(texts, 0, (size_t)rows * sizeof *texts);
    assert_ok(pb_method_find(name, &ops));
    return ops->baseline->answer(seed, answers, rows, texts);
}

static void forget(char **texts, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        pb_memory_free(texts[i]);
    }
    assert_int_equal(pb_memory_current(), 0);
}

static void assert_all(const char *name, const pb_answers *answers, const char *expected)
{
    char *texts[3];

    assert_ok(ask(name, 1, answers, 3, texts));
    for (int i = 0; i < 3; i++) {
        assert_string_equal(texts[i], expected);
    }
    forget(texts, 3);
}

static char *classes[] = {"no", "yes"};

static void majority_is_the_most_frequent_answer(void **state)
{
    const char *train[] = {"yes", "no", "yes", "maybe", "yes", "no"};

    (void)state;
    assert_all("majority", &(pb_answers){train, 6, classes, 2}, "yes");
    assert_all("majority", &(pb_answers){train + 3, 1, classes, 2}, "maybe");
}

/* Two of each: the first class; without classes the first in the file. */
static void ties_of_the_majority_do_not_depend_on_chance(void **state)
{
    const char *train[] = {"zebra", "yes", "no", "yes", "no", "zebra"};

    (void)state;
    assert_all("majority", &(pb_answers){train, 6, classes, 2}, "no");
    assert_all("majority", &(pb_answers){train, 6, NULL, 0}, "zebra");
    assert_all("majority", &(pb_answers){train + 1, 4, NULL, 0}, "yes");
}

static void all_positive_is_the_second_class(void **state)
{
    const char *train[] = {"no"};

    (void)state;
    assert_all("all-positive", &(pb_answers){train, 1, classes, 2}, "yes");
}

static void random_answers_come_as_often_as_in_training(void **state)
{
    const char *train[] = {"a", "b", "a", "c", "a", "a", "b", "a", "a", "a"}; /* 7, 2, 1 */
    pb_answers answers  = {train, 10, NULL, 0};
    static char *first[ROWS], *second[ROWS];
    int counts[3] = {0}, differences = 0;

    (void)state;
    assert_ok(ask("random", 42, &answers, ROWS, first));
    for (int i = 0; i < ROWS; i++) {
        counts[first[i][0] - 'a']++;
    }
    /* Within 5 standard deviations of the binomial. */
    assert_in_range(counts[0], 2800 - 145, 2800 + 145);
    assert_in_range(counts[1], 800 - 127, 800 + 127);
    assert_in_range(counts[2], 400 - 95, 400 + 95);
    assert_ok(ask("random", 42, &answers, ROWS, second));
    for (int i = 0; i < ROWS; i++) {
        assert_string_equal(first[i], second[i]);
        pb_memory_free(second[i]);
    }
    assert_ok(ask("random", 43, &answers, ROWS, second));
    for (int i = 0; i < ROWS; i++) {
        differences += strcmp(first[i], second[i]) != 0;
        pb_memory_free(second[i]);
    }
    assert_in_range(differences, ROWS / 4, ROWS * 3 / 4);
    forget(first, ROWS);
}

static void mean_is_that_of_the_numbers_and_refuses_others(void **state)
{
    const char *train[] = {"3.8", "0.0", "5.0", "five"};
    char *texts[1];

    (void)state;
    assert_all("mean", &(pb_answers){train, 3, NULL, 0}, "2.933333");
    assert_error(ask("mean", 1, &(pb_answers){train, 4, NULL, 0}, 1, texts), PB_ERR_FORMAT,
                 "training answer 4, \"five\", is not a number");
    assert_null(texts[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(majority_is_the_most_frequent_answer),
        cmocka_unit_test(ties_of_the_majority_do_not_depend_on_chance),
        cmocka_unit_test(all_positive_is_the_second_class),
        cmocka_unit_test(random_answers_come_as_often_as_in_training),
        cmocka_unit_test(mean_is_that_of_the_numbers_and_refuses_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
