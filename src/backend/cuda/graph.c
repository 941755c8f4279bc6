// SPDX-License-Identifier: Apache-2.0
/* Graphs: when a pass comes for the second time, what it queues is recorded, and from then on
 * launched as a whole.
 *
 * Launches of a graph have the arguments of the pass that was recorded. So they must follow from
 * its key, which is the caller's and the plans of the page: what else differs is read from the
 * page, at addresses that are the same for lists of the same sizes. Memory that was released, or a
 * larger page, makes all graphs worthless. Nothing is allocated or waited for while one is
 * recorded: cuda_reserve and the first pass have taken all memory but that of longer plans. */
#include "cuda.h"

#include "pb/memory.h"

#include <string.h>

enum { KEPT = 32 };

typedef struct graph {
    char *key;
    size_t bytes;         /* of the key; 0: none */
    uint64_t used;        /* which use of any graph was its last */
    cudaGraphExec_t exec; /* NULL: the pass came once */
    double matmul_flops;
    double rates[PB_PAGE_PLANS]; /* see pb_backend */
} graph;

struct cuda_graphs {
    graph kept[KEPT];
    uint64_t uses;
    uint64_t generation; /* of the memory that they are for */
    bool refused;        /* none can be made */
    char *key;           /* of the pass */
    size_t bytes;
};

static void forget(graph *g)
{
    if (g->exec != NULL) {
        CUDA_DROP(cudaGraphExecDestroy(g->exec));
    }
    pb_memory_free(g->key);
    *g = (graph){0};
}

void cuda_graphs_close(cuda *c)
{
    cuda_graphs *all = c->graphs;
    if (all == NULL) {
        return;
    }
    for (int i = 0; i < KEPT; i++) {
        forget(&all->kept[i]);
    }
    pb_memory_free(all->key);
    pb_memory_free(all);
    c->graphs = NULL;
}

/* Keys ---------------------------------------------------------------------------------------- */

static pb_status put(cuda_graphs *all, const void *data, size_t bytes)
{
    PB_TRY(PB_GROW(all->key, all->bytes + bytes));
    memcpy(all->key + all->bytes, data, bytes);
    all->bytes += bytes;
    return PB_OK;
}

static pb_status make_key(cuda *c, const void *key, size_t bytes)
{
    cuda_graphs *all = c->graphs;
    all->bytes       = 0;
    PB_TRY(put(all, key, bytes));
    for (int i = 0; i < c->base.plans; i++) {
        const cuda_plan *plan = &c->plans[i];
        PB_TRY(put(all, &plan->queries, sizeof plan->queries));
        PB_TRY(put(all, &plan->keys, sizeof plan->keys));
        PB_TRY(put(all, &plan->cut, sizeof plan->cut));
    }
    return PB_OK;
}

/* The place of the key, which may be that of the one that was used least recently; *known: it came
 * before. */
static pb_status find(cuda_graphs *all, graph **out, bool *known)
{
    graph *oldest = &all->kept[0];
    *known        = false;
    for (int i = 0; i < KEPT && !*known; i++) {
        graph *g = &all->kept[i];
        *known   = g->bytes == all->bytes && memcmp(g->key, all->key, all->bytes) == 0;
        oldest   = *known || g->used < oldest->used ? g : oldest;
    }
    if (!*known) {
        forget(oldest);
        PB_TRY(PB_GROW(oldest->key, all->bytes));
        memcpy(oldest->key, all->key, all->bytes);
        oldest->bytes = all->bytes;
    }
    oldest->used = ++all->uses;
    *out         = oldest;
    return PB_OK;
}

/* Memory for the plans of the page, which a graph expects where it was. */
static pb_status provide_scratch(cuda *c)
{
    for (int i = 0; i < c->base.plans; i++) {
        void *unused = NULL;
        PB_TRY(cuda_scratch(&c->base, c->plans[i].scratch, &unused));
    }
    return PB_OK;
}

static pb_status open_graphs(cuda *c)
{
    if (c->graphs == NULL) {
        PB_TRY(PB_ALLOC(c->graphs, 1));
    }
    for (int i = 0; i < KEPT && c->graphs->generation != c->generation; i++) {
        forget(&c->graphs->kept[i]);
    }
    c->graphs->generation = c->generation;
    return PB_OK;
}

/* Recording ----------------------------------------------------------------------------------- */

/* What no graph is made for, with the call that failed. */
#define PLAIN(call) "passes are queued call by call and not as graphs: " call

/* Sets *out, unless there can be no graph: *why then is what failed, with *code. */
static pb_status capture(cuda *c, pb_repeated *run, void *context, cudaGraph_t *out,
                         cudaError_t *code, const char **why)
{
    *why  = PLAIN("cudaStreamBeginCapture");
    *code = cudaStreamBeginCapture(c->stream, cudaStreamCaptureModeThreadLocal);
    if (*code != cudaSuccess) {
        return PB_OK;
    }
    pb_status status = run(context);
    *why             = PLAIN("cudaStreamEndCapture");
    *code            = cudaStreamEndCapture(c->stream, out);
    if (status != PB_OK) {
        (void)cudaGetLastError(); /* the capture fails with the pass */
        pb_error_prefix(status, "while a graph was recorded (run.graphs = false records none)");
    }
    return PB_FRAME(status);
}

/* Sets g->exec, or refuses to make graphs from now on. The pass is not queued, nor its work
 * counted. */
static pb_status record(cuda *c, graph *g, pb_repeated *run, void *context)
{
    const pb_backend_work before = c->base.work;
    cudaGraph_t recorded         = NULL;
    const char *why              = NULL;
    cudaError_t code;
    pb_status status = capture(c, run, context, &recorded, &code, &why);
    g->matmul_flops  = c->base.work.matmul_flops - before.matmul_flops;
    memcpy(g->rates, c->base.rates, sizeof g->rates);
    memset(c->base.rates, 0, sizeof c->base.rates);
    c->base.work = before;
    if (status == PB_OK && code == cudaSuccess) {
        why  = PLAIN("cudaGraphInstantiate");
        code = cudaGraphInstantiate(&g->exec, recorded, 0);
    }
    if (recorded != NULL) {
        CUDA_DROP(cudaGraphDestroy(recorded));
    }
    if (status == PB_OK && code != cudaSuccess) {
        c->graphs->refused = true;
        cuda_drop(code, why);
    }
    return PB_FRAME(status);
}

static pb_status launch(cuda *c, const graph *g)
{
    CUDA_TRY(cudaGraphLaunch(g->exec, c->stream));
    c->base.work.matmul_flops += g->matmul_flops;
    for (int i = 0; i < c->base.plans; i++) {
        c->base.work.attention_flops += g->rates[i] * c->base.pairs[i];
    }
    return PB_OK;
}

pb_status cuda_repeat(pb_backend *be, const void *key, size_t bytes, pb_repeated *run,
                      void *context)
{
    cuda *c    = cuda_of(be);
    graph *g   = NULL;
    bool known = false;
    PB_TRY(provide_scratch(c));
    PB_TRY(open_graphs(c));
    if (c->graphs->refused) {
        return run(context);
    }
    PB_TRY(make_key(c, key, bytes));
    PB_TRY(find(c->graphs, &g, &known));
    if (known && g->exec == NULL) {
        PB_TRY(record(c, g, run, context));
    }
    return g->exec != NULL ? launch(c, g) : run(context);
}
