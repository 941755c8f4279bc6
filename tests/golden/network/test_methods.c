// SPDX-License-Identifier: Apache-2.0
/* Methods against values that tests/golden/method/make_golden.py computes from their formulas:
 * those missing from HF PEFT, and further variants of others; and against training in HF PEFT that
 * the shared golden values do not include (make_peft_golden.py). */
#include "support.h"
#include "training.h"

#include <stdio.h>

#define ROOT PB_SOURCE_DIR "/tests/golden/method/"

static void check_method(void **state)
{
    char folder[1200];
    snprintf(folder, sizeof folder, ROOT "%s", (const char *)*state);
    golden_training_check(ROOT "small", ROOT "small/data.json", folder, 0);
}

#define METHOD(name)                                                        \
    {                                                                       \
        "curve_and_gradients_match_" #name, check_method, NULL, NULL, #name \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        METHOD(bn_houlsby),    METHOD(bn_pfeiffer), METHOD(hra_odd),    METHOD(svft_plain),
        METHOD(svft_banded),   METHOD(svft_random), METHOD(svft_top_k), METHOD(adalora_budget),
        METHOD(adalora_short), METHOD(lora_plus),   METHOD(dora_plus),
    };
    return cmocka_run_group_tests_name("golden_network_methods", tests, NULL, NULL);
}
