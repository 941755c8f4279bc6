// SPDX-License-Identifier: Apache-2.0
#include "quantities.h"

#include <math.h>
#include <string.h>

void cost_quantities(const summary_cost *c, quantity out[COSTS])
{
    static const char *const energies[SUMMARY_COMPONENTS][SUMMARY_PARTS] = {
        {"energy", "energy_train", "energy_validation", "energy_test"},
        {"energy_package", "energy_package_train", "energy_package_validation",
         "energy_package_test"},
        {"energy_dram", "energy_dram_train", "energy_dram_validation", "energy_dram_test"},
        {"energy_node", "energy_node_train", "energy_node_validation", "energy_node_test"},
    };
    const quantity first[] = {
        {"trainable_params", "1", c->params.mean, NAN, c->params.n},
        {"flops_minus_base", "TFLOP", c->flops_t.mean, NAN, c->flops_t.n},
        {"memory_peak", "GB", c->memory_gb.mean, c->memory_gb.std, c->memory_gb.n},
        {"memory_system_peak", "GB", c->system_gb.mean, c->system_gb.std, c->system_gb.n},
        {"seconds_train", "s", c->seconds_train.mean, c->seconds_train.std, c->seconds_train.n},
        {"tokens_per_second", "token/s", c->tokens_per_second.mean, c->tokens_per_second.std,
         c->tokens_per_second.n},
        {"memory_mean", "GB", c->memory_mean_gb.mean, c->memory_mean_gb.std, c->memory_mean_gb.n},
        {"memory_p99", "GB", c->memory_p99_gb.mean, c->memory_p99_gb.std, c->memory_p99_gb.n},
        {"adapter_bytes", "byte", c->adapter_bytes.mean, c->adapter_bytes.std, c->adapter_bytes.n},
        {"mfu", "1", c->mfu.mean, c->mfu.std, c->mfu.n},
        {"mfu_validation", "1", c->mfu_validation.mean, c->mfu_validation.std, c->mfu_validation.n},
        {"mfu_test", "1", c->mfu_test.mean, c->mfu_test.std, c->mfu_test.n},
    };
    quantity *next = out + sizeof first / sizeof *first;
    memcpy(out, first, sizeof first);
    for (int i = 0; i < SUMMARY_COMPONENTS; i++) {
        for (int p = 0; p < SUMMARY_PARTS; p++) {
            const stats_mean *of = &c->energy_j[i][p];
            *next++              = (quantity){energies[i][p], "J", of->mean, of->std, of->n};
        }
    }
}

void pscp_quantities(const summary_cost *c, quantity out[TERMS])
{
    double none               = c->has_pscp ? 0 : NAN; /* added: turns all terms into NaN */
    const quantity all[TERMS] = {
        {"pscp", "1", c->pscp.pscp + none, c->pscp_std, c->datasets},
        {"score", "percent", c->score, NAN, c->datasets},
        {"cost_p", "1", c->pscp.cost_p + none, NAN, c->datasets},
        {"cost_f", "1", c->pscp.cost_f + none, NAN, c->datasets},
        {"cost_m", "1", c->pscp.cost_m + none, NAN, c->datasets},
        {"params", "1", c->params.mean, NAN, c->params.n},
        {"flops_t", "TFLOP", c->flops_t.mean, NAN, c->flops_t.n},
        {"memory_gb", "GB", c->memory_gb.mean, NAN, c->memory_gb.n},
    };
    memcpy(out, all, sizeof all);
}
