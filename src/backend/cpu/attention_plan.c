// SPDX-License-Identifier: Apache-2.0
/* The plan of attention over a forest: its queries cut into blocks, its keys into pieces. */
#include "attention.h"

/* Fills blocks [count] in order of segments and rows; returns how many. NULL: only counts. */
static int64_t cut(const attention_plan *plan, attention_block *blocks)
{
    const pb_forest *forest = plan->args.forest;
    int64_t queries         = query_count(&plan->args);
    int64_t slot            = 0;
    int64_t count           = 0;
    for (int64_t i = 0; i < forest->count && slot < queries; i++) {
        const pb_segment *s = &forest->segments[i];
        int64_t last        = slot;
        while (last < queries && s->rows > 0 && query_row(&plan->args, last) < s->row + s->rows) {
            last++;
        }
        for (; slot < last; slot += plan->queries) {
            int64_t width = last - slot < plan->queries ? last - slot : plan->queries;
            if (blocks != NULL) {
                blocks[count] =
                    (attention_block){.segment = (int32_t)i, .count = (int32_t)width, .slot = slot};
            }
            count++;
        }
        slot = last;
    }
    return count;
}

/* Pieces of every segment's ancestors, of all segments and of the longest chain. */
static void count_pieces(attention_plan *plan)
{
    const pb_forest *forest = plan->args.forest;
    for (int64_t i = 0; i < forest->count; i++) {
        const pb_segment *s = &forest->segments[i];
        int64_t own         = attention_pieces(s);
        plan->before[i]     = 0;
        if (s->parent >= 0) {
            plan->before[i] =
                plan->before[s->parent] + attention_pieces(&forest->segments[s->parent]);
        }
        plan->pieces += own;
        plan->chain = plan->before[i] + own > plan->chain ? plan->before[i] + own : plan->chain;
    }
}

pb_status cpu_page_plan(pb_backend *be, int index, pb_attention_plan *out)
{
    const pb_attention_args *args = &out->args;
    attention_plan plan           = {.args = *args, .width = args->head_dim};
    plan.group                    = args->heads / args->kv_heads;
    plan.queries = ATTENTION_ROWS / plan.group > 1 ? ATTENTION_ROWS / plan.group : 1;
    plan.rows    = plan.queries * plan.group;
    plan.count   = cut(&plan, NULL);

    void *memory        = NULL;
    size_t own_bytes    = cpu_bytes(1, sizeof plan);
    size_t block_bytes  = cpu_bytes(plan.count, sizeof *plan.blocks);
    size_t before_bytes = cpu_bytes(args->backward ? args->forest->count : 0, sizeof *plan.before);
    PB_TRY(cpu_block_take(&((cpu *)be)->plans[index], own_bytes + block_bytes + before_bytes,
                          &memory));
    plan.blocks = (void *)((char *)memory + own_bytes);
    plan.before = (void *)((char *)memory + own_bytes + block_bytes);
    cut(&plan, plan.blocks);
    if (args->backward) {
        count_pieces(&plan);
    }
    *(attention_plan *)memory = plan;
    out->parts                = memory;
    return PB_OK;
}
