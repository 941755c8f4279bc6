// SPDX-License-Identifier: Apache-2.0
/* See methods.h. */
#include "methods.h"

#include "pb/method.h"

#include "device.h"

#include <stdio.h>
#include <string.h>

#define ALL_LINEAR                                                                            \
    "targets = [\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\", \"gate_proj\", \"up_proj\", " \
    "\"down_proj\"];"

/* Options that reach every branch of a method, small enough for a model with three layers of width
 * 16. */
static const method_case small[] = {
    {"lora", "r = 3; alpha = 6.0; dropout = 0.0;"},
    {"lora", "r = 8; alpha = 4.0; dropout = 0.0; " ALL_LINEAR},
    {"lora", "r = 20; alpha = 6.0; rslora = true; dropout = 0.3; "
             "targets = [\"q_proj\", \"v_proj\", \"o_proj\", \"up_proj\"];"},
    {"lora", "r = 2; dropout = 0.0; targets = [\"gate_proj\"];"},
    {"lora", "r = 2; dropout = 0.0; targets = [\"layers.1.self_attn.k_proj\"];"},
    {"lora", "r = 2; dropout = 0.0; targets = [\"layers.0.mlp.up_proj\", "
             "\"layers.1.self_attn.k_proj\", \"layers.1.mlp.down_proj\", "
             "\"layers.2.self_attn.v_proj\"];"},
    {"lora", "r = 2; dropout = 0.3; targets = [\"layers.1.self_attn.q_proj\"];"},
    {"lora", "r = 2; dropout = 0.0; rank_pattern = [\"k_proj=5\"]; "
             "alpha_pattern = [\"k_proj=3\"]; layers = [0]; lora_plus_ratio = 8.0;"},
    {"dora", "r = 3; dropout = 0.0;"},
    {"dora", "r = 20; dropout = 0.3; rslora = true; target_pattern = \".*\\\\.(q|up)_proj\";"},
    {"adalora", "init_r = 3; target_r = 2; dropout = 0.0;"},
    {"adalora", "init_r = 20; target_r = 2; dropout = 0.3; orth_reg_weight = 0.1; "
                "targets = [\"q_proj\", \"up_proj\"];"},
    {"vera", "r = 5;"},
    {"vera", "r = 20; dropout = 0.3; save_projection = false; projection_prng_key = 7; "
             "targets = [\"q_proj\", \"up_proj\", \"down_proj\"];"},
    {"ia3", ""},
    {"ia3", "feedforward_side = \"output\";"},
    {"ia3", ALL_LINEAR " feedforward = [\"gate_proj\", \"up_proj\", \"down_proj\"];"},
    {"ia3", "targets = [\"layers.1.self_attn.k_proj\"]; feedforward = [];"},
    {"ia3", "targets = [\"layers.0.self_attn.v_proj\", \"layers.1.mlp.down_proj\"]; "
            "feedforward = [\"layers.1.mlp.down_proj\"];"},
    {"lntuning", ""},
    {"lntuning", "targets = [\"norm\"];"},
    {"bitfit", ""},
    {"bitfit", ALL_LINEAR},
    {"bn_adapter", "size = 3; activation = \"tanh\";"},
    {"bn_adapter", "placement = \"pfeiffer\"; activation = \"silu\"; reduction_factor = 4;"},
    {"hra", "r = 4; targets = [\"k_proj\", \"o_proj\", \"down_proj\"];"},
    {"hra", "r = 3;"},
    {"svft", "pattern = \"plain\"; targets = [\"k_proj\"];"},
    {"svft", "off_diagonals = 3; targets = [\"k_proj\", \"o_proj\", \"up_proj\", \"down_proj\"];"},
    {"svft", "pattern = \"random\"; targets = [\"k_proj\", \"down_proj\"];"},
    {"svft", "pattern = \"top_k\"; off_diagonals = 99; targets = [\"o_proj\"];"},
    {"prompt", "num_virtual_tokens = 3; init = \"normal\";"},
    {"prompt", "num_virtual_tokens = 3; init = \"vocabulary\";"},
    {"prefix", "num_virtual_tokens = 3; projection = false;"},
    {"prefix", "num_virtual_tokens = 3; projection = true; encoder_hidden_size = 5;"},
    {"ptuning", "num_virtual_tokens = 3; encoder = \"mlp\"; encoder_hidden_size = 5;"},
    {"ptuning", "num_virtual_tokens = 6; encoder = \"lstm\"; encoder_hidden_size = 16; "
                "encoder_num_layers = 3;"},
    {"ptuning", "num_virtual_tokens = 3; encoder = \"none\";"},
};

enum { SMALL = sizeof small / sizeof *small, CASES = 256 };

static method_case cases[CASES];

int method_case_count(void)
{
    static int count;

    if (count > 0) {
        return count;
    }
    int used = 0;
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL; ops++) {
        const char *name = (*ops)->name;
        int first        = count;
        for (int i = 0; i < SMALL; i++) {
            if (strcmp(small[i].method, name) == 0) {
                cases[count++] = small[i];
            }
        }
        used += count - first;
        if (count == first && (*ops)->baseline == NULL) {
            cases[count++] = (method_case){name, ""};
        }
        assert_in_range(count, first, CASES - SMALL);
    }
    assert_int_equal(used, SMALL); /* every line is for a registered method */
    return count;
}

const method_case *method_case_at(int index)
{
    assert_in_range(index, 0, method_case_count() - 1);
    return &cases[index];
}

bool method_case_is_first(int index)
{
    const char *method = method_case_at(index)->method;
    return index == 0 || strcmp(method, method_case_at(index - 1)->method) != 0;
}

int method_case_step(void)
{
    return strcmp(device_name(), "cuda") == 0 ? 7 : 1;
}

const char *method_case_text(const method_case *c)
{
    static char text[512];

    (void)snprintf(text, sizeof text, "%s { %s }", c->method, c->options);
    return text;
}
