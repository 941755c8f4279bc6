// SPDX-License-Identifier: Apache-2.0
/* What lora and the methods built on it share: options, factors at a site, and the file of an
 * adapter. */
#pragma once

#include "low_rank.h"

typedef struct lora_options {
    pb_targets where;
    int64_t r;
    double alpha, dropout;
    bool rslora;
    pb_config_list rank_pattern, alpha_pattern;
    double lora_plus_ratio;
} lora_options;

extern const pb_config_field lora_fields[];

/* The first member of the state of a method with these options. */
typedef struct lora_state {
    float *scales; /* [sites] alpha / r */
    pb_site_plan plan_more;
} lora_state;

/* Makes a state of that size, and plans A and B of every site; `plan_more` (may be NULL) declares
 * what comes next at the site. */
pb_status lora_plan(pb_method *m, size_t state_size, pb_site_plan plan_more) PB_MUST_USE;
void lora_destroy(pb_method *m);

unsigned lora_acts(const pb_method *m, const pb_site *site);
bool lora_drops(const pb_method *m);
low_rank lora_at(const pb_method *m, const pb_site *site);

void lora_config_write(const pb_method *m, bool dora, pb_json *json);
/* All keys but use_dora. */
pb_status lora_config_read(void *options, const pb_adapter_config *c) PB_MUST_USE;
