// SPDX-License-Identifier: Apache-2.0
/* Graphs: when a pass comes for the second time, what it queues is recorded, and from then on
 * launched as a whole.
 *
 * Launches of a graph have the arguments of the pass that was recorded. So they must follow from
 * its key, which is the caller's and the plans of the page: what else differs is read from the
 * page, at addresses that are the same for lists of the same sizes. Memory that was released, or a
 * larger page, invalidates all graphs. Nothing is allocated or waited for while one is recorded:
 * cuda_reserve and the first pass have taken all memory but that of longer plans. */
#include "cuda.h"

#include "pb/memory.h"

#include <string.h>

enum { KEPT = 32, KEY = 8192 /* bytes; the pass of a gang of 64 has fewer */ };

typedef struct graph_key {
    size_t bytes; /* 0: none */
    char data[KEY];
} graph_key;

typedef struct graph {
    graph_key key;
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
    graph_key key;       /* of the pass */
};

static void forget(graph *g)
{
    if (g->exec != NULL) {
        CUDA_DROP(cudaGraphExecDestroy(g->exec));
    }
    g->exec      = NULL;
    g->key.bytes = 0;
    g->used      = 0;
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
    pb_memory_free(all);
    c->graphs = NULL;
}

/* Keys ---------------------------------------------------------------------------------------- */

static void put(graph_key *key, const void *data, size_t bytes)
{
    if (key->bytes + bytes <= KEY) {
        memcpy(key->data + key->bytes, data, bytes);
    }
    key->bytes += bytes;
}

/* False where it is too long. */
static bool make_key(cuda *c, const void *data, size_t bytes)
{
    graph_key *key = &c->graphs->key;
    key->bytes     = 0;
    put(key, data, bytes);
    for (int i = 0; i < c->base.plans; i++) {
        const cuda_plan *plan = &c->plans[i];
        put(key, &plan->queries, sizeof plan->queries);
        put(key, &plan->keys, sizeof plan->keys);
        put(key, &plan->cut, sizeof plan->cut);
    }
    return key->bytes <= KEY;
}

static bool is_same(const graph_key *a, const graph_key *b)
{
    return a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0;
}

/* The place of the key, which may be that of the one that was used least recently; *known: it came
 * before. */
static graph *find(cuda_graphs *all, bool *known)
{
    graph *oldest = &all->kept[0];
    *known        = false;
    for (int i = 0; i < KEPT && !*known; i++) {
        graph *g = &all->kept[i];
        *known   = g->used > 0 && is_same(&g->key, &all->key);
        oldest   = *known || g->used < oldest->used ? g : oldest;
    }
    if (!*known) {
        forget(oldest);
        memcpy(oldest->key.data, all->key.data, all->key.bytes);
        oldest->key.bytes = all->key.bytes;
    }
    oldest->used = ++all->uses;
    return oldest;
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

pb_status cuda_graphs_reserve(cuda *c)
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
    bool known = false;
    PB_TRY(provide_scratch(c));
    PB_TRY(cuda_graphs_reserve(c));
    if (c->graphs->refused || !make_key(c, key, bytes)) {
        return run(context);
    }
    graph *g = find(c->graphs, &known);
    if (known && g->exec == NULL) {
        PB_TRY(record(c, g, run, context));
    }
    return g->exec != NULL ? launch(c, g) : run(context);
}
