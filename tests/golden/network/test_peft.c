// SPDX-License-Identifier: Apache-2.0
/* Every method of HF PEFT against its values on five small checkpoints. */
#include "device.h"
#include "training.h"

#include "pb/network.h"

#include <stdio.h>
#include <string.h>

static void check_method(const char *checkpoint, const char *method, unsigned without)
{
    char model[1200], data[1200], folder[1200];
    snprintf(model, sizeof model, "%s", shared_path("models/%s", checkpoint));
    snprintf(data, sizeof data, "%s", shared_path("golden/data/%s.json", checkpoint));
    snprintf(folder, sizeof folder, "%s", shared_path("golden/peft/%s/%s", checkpoint, method));
    golden_training_check(model, data, folder, without);
}

static const char *const checkpoints[] = {"tiny-llama3", "stories260K", "tiny-qwen3", "tiny-gemma3",
                                          "tiny-mistral"};

static void all_checkpoints(void **state)
{
    for (size_t i = 0; i < sizeof checkpoints / sizeof *checkpoints; i++) {
        check_method(checkpoints[i], *state, 0);
    }
}

static void first_checkpoint(void **state)
{
    check_method(checkpoints[0], *state, 0);
}

/* The BF16 checkpoint with a tied head. */
static void tied_checkpoint(void **state)
{
    check_method("tiny-llama32", *state, 0);
}

/* Windows in every layer, F16 weights. */
static void windowed_checkpoint(void **state)
{
    check_method("tiny-mistral-swa", *state, 0);
}

/* Biases in the frozen model. */
static void biased_checkpoint(void **state)
{
    check_method("tiny-qwen2", *state, 0);
}

/* Whatever the network does not save, and when it saves nothing at all: methods without and with
 * virtual rows or keys, and one whose backward ends above the lowest layer or reaches all of
 * them. On a device, whose passes take long where it is pretended, the first of them. */
static void nothing_depends_on_what_is_saved(void **state)
{
    (void)state;
    static const char *const methods[] = {"lora_r4", "bitfit", "prefix_proj", "ptuning_mlp"};
    size_t count = strcmp(device_name(), "cuda") == 0 ? 1 : sizeof methods / sizeof *methods;
    for (size_t m = 0; m < count; m++) {
        for (unsigned s = 0; s < PB_SAVING_CACHE; s++) {
            check_method(checkpoints[0], methods[m], 1U << s);
        }
        check_method(checkpoints[1], methods[m], ~0U);
    }
}

#define METHOD(name)                                                           \
    {                                                                          \
        "curve_and_gradients_match_" #name, all_checkpoints, NULL, NULL, #name \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        METHOD(lora_r4),
        METHOD(lora_r16),
        METHOD(dora_r8),
        METHOD(ia3),
        METHOD(ia3_paper),
        METHOD(lntuning),
        METHOD(bitfit),
        METHOD(prompt),
        METHOD(prefix),
        METHOD(prefix_proj),
        METHOD(ptuning_mlp),
        METHOD(ptuning_lstm),
        {"curve_and_gradients_match_adalora", first_checkpoint, NULL, NULL, "adalora"},
        {"curve_and_gradients_match_vera", first_checkpoint, NULL, NULL, "vera"},
        {"curve_and_gradients_match_hra", first_checkpoint, NULL, NULL, "hra"},
        {"tied_head_lora_r4", tied_checkpoint, NULL, NULL, "lora_r4"},
        {"tied_head_ptuning_mlp", tied_checkpoint, NULL, NULL, "ptuning_mlp"},
        {"windows_lora_r4", windowed_checkpoint, NULL, NULL, "lora_r4"},
        {"windows_prompt", windowed_checkpoint, NULL, NULL, "prompt"},
        {"windows_prefix", windowed_checkpoint, NULL, NULL, "prefix"},
        {"biases_lora_r4", biased_checkpoint, NULL, NULL, "lora_r4"},
        {"biases_ia3", biased_checkpoint, NULL, NULL, "ia3"},
        {"biases_lntuning", biased_checkpoint, NULL, NULL, "lntuning"},
        cmocka_unit_test(nothing_depends_on_what_is_saved),
        {"biases_bitfit", biased_checkpoint, NULL, NULL, "bitfit"},
    };
    shared_directory();
    return cmocka_run_group_tests_name("golden_network_peft", tests, NULL, NULL);
}
