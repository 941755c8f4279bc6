// SPDX-License-Identifier: Apache-2.0
/* peftbench bench: speed and memory of training and evaluation, on random weights and synthetic
 * rows. */
#include "bench.h"
#include "commands.h"
#include "evaluation.h"
#include "session.h"
#include "shapes.h"

#include "pb/cell.h"
#include "pb/clock.h"
#include "pb/json.h"
#include "pb/kernels.h"
#include "pb/memory.h"
#include "pb/train.h"
#include "pb/usage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const pb_option options[] = {
    PB_CLI_TEXT("model", "DIR", NULL, "a checkpoint instead of a shape"),
    PB_CLI_FLAG("load", "measure how fast the checkpoint is opened, instead of training"),
    PB_CLI_TEXT("shape", "SHAPE", "40m", "a name, or keys as in layers=8,width=512; see below"),
    PB_CLI_TEXT("method", "NAME", "lora", "name of a method"),
    PB_CLI_INT("steps", "N", "8", 2, 100000,
               "timed steps and forward passes, after two untimed ones"),
    PB_CLI_INT("batch", "N", "4", 1, 65536, "rows per step; a test has twice as many at once"),
    PB_CLI_TEXT("profile", "NAME", NULL,
                "rows like those of a kind of data set: glue, gsm8k, long"),
    PB_CLI_INT("prompt", "N", "128", 1, 1048576, "prompt tokens per row"),
    PB_CLI_INT("answer", "N", "8", 1, 1048576, "answer tokens per row"),
    PB_CLI_FLAG("ablate", "measure again without each saving in turn"),
    PB_OPTION_END,
};

/* Without a saving. */
typedef struct ablation {
    double step; /* seconds */
    double rows; /* per second of a test */
} ablation;

typedef struct sample_stats {
    double *seconds, *forward; /* [steps] of the timed steps; of passes without a gradient */
    int64_t count, warm;
    int64_t tokens; /* of one step */
    pb_backend *backend;
} sample_stats;

static pb_status on_step(void *opaque, const pb_train_step *step)
{
    sample_stats *s = opaque;
    if (step->step <= s->warm) {
        pb_backend_work_reset(s->backend, true);
        return PB_OK;
    }
    s->seconds[s->count++] = step->seconds;
    s->tokens              = step->tokens;
    return PB_OK;
}

typedef struct figures {
    const char *method, *backend;
    int64_t parameters, trainable;
    double step, step_min, step_max; /* seconds: median, smallest, largest */
    double tokens_per_second;
    double forward; /* seconds, median */
    double forward_tokens_per_second;
    double gemm_share, attention_share; /* of the steps' time */
    double elementwise_share, head_share, optimizer_share, other_share;
    const char *profile;
    double eval_rows_per_second, eval_tokens; /* generated tokens per row */
    double gflops, gemm_gflops;               /* of the steps; of the square product */
    const char *peak;                         /* the best known kernels, */
    double peak_gflops;                       /* and the square product's rate with them */
    double peak_mb;
} figures;

/* `done`: the backend's work in the timed steps. */
static figures summarise(const session *s, const sample_stats *stats, pb_backend_work done,
                         double gemm)
{
    double total  = 0.0;
    size_t device = 0;
    pb_backend_memory(s->backend, NULL, &device);
    for (int64_t i = 0; i < stats->count; i++) {
        total += stats->seconds[i];
    }
    pb_clock_sort(stats->seconds, (size_t)stats->count);
    pb_clock_sort(stats->forward, (size_t)stats->count);
    double median        = stats->seconds[stats->count / 2];
    double forward       = stats->forward[stats->count / 2];
    double layers        = done.part_seconds[PB_PART_LAYERS];
    double head          = done.part_seconds[PB_PART_HEAD];
    double optimizer     = done.part_seconds[PB_PART_OPTIMIZER];
    double head_products = done.part_matmul_seconds[PB_PART_HEAD];
    double elementwise = layers - done.part_matmul_seconds[PB_PART_LAYERS] - done.attention_seconds;
    return (figures){
        .method                    = s->method->ops->name,
        .backend                   = pb_backend_describe(s->backend),
        .parameters                = pb_model_parameters(s->model),
        .trainable                 = s->method->parameters,
        .step                      = median,
        .step_min                  = stats->seconds[0],
        .step_max                  = stats->seconds[stats->count - 1],
        .tokens_per_second         = (double)stats->tokens / median,
        .forward                   = forward,
        .forward_tokens_per_second = (double)stats->tokens / forward,
        .gemm_share                = (done.matmul_seconds - head_products) / total,
        .attention_share           = done.attention_seconds / total,
        .elementwise_share         = elementwise / total,
        .head_share                = head / total,
        .optimizer_share           = optimizer / total,
        .other_share               = 1.0 - (layers + head + optimizer) / total,
        .gflops                    = pb_backend_flops(done) / total / 1e9,
        .gemm_gflops               = gemm,
        .peak_mb                   = (double)(pb_memory_peak() + device) / 1e6,
    };
}

static void put_ablations(const ablation *a, pb_json *json)
{
    pb_json_put_array(json, "ablations", PB_JSON_INLINE);
    for (int i = 0; i < PB_SAVING_COUNT; i++) {
        pb_json_put_object(json, NULL, PB_JSON_INLINE);
        pb_json_put_text(json, "without", pb_saving_names[i]);
        pb_json_put_fixed(json, "step_seconds", a[i].step, 6);
        pb_json_put_fixed(json, "eval_rows_per_second", a[i].rows, 3);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static pb_status put_json(const figures *f, const ablation *a, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_text(&json, "method", f->method);
    pb_json_put_int(&json, "parameters", f->parameters);
    pb_json_put_int(&json, "trainable", f->trainable);
    pb_json_put_fixed(&json, "step_seconds", f->step, 6);
    pb_json_put_fixed(&json, "step_seconds_min", f->step_min, 6);
    pb_json_put_fixed(&json, "step_seconds_max", f->step_max, 6);
    pb_json_put_fixed(&json, "tokens_per_second", f->tokens_per_second, 1);
    pb_json_put_fixed(&json, "forward_seconds", f->forward, 6);
    pb_json_put_fixed(&json, "forward_tokens_per_second", f->forward_tokens_per_second, 1);
    pb_json_put_text(&json, "profile", f->profile);
    pb_json_put_fixed(&json, "eval_rows_per_second", f->eval_rows_per_second, 3);
    pb_json_put_fixed(&json, "eval_new_tokens", f->eval_tokens, 2);
    pb_json_put_fixed(&json, "gemm_share", f->gemm_share, 4);
    pb_json_put_fixed(&json, "attention_share", f->attention_share, 4);
    pb_json_put_fixed(&json, "elementwise_share", f->elementwise_share, 4);
    pb_json_put_fixed(&json, "head_share", f->head_share, 4);
    pb_json_put_fixed(&json, "optimizer_share", f->optimizer_share, 4);
    pb_json_put_fixed(&json, "other_share", f->other_share, 4);
    pb_json_put_fixed(&json, "share_of_gemm_rate", f->gflops / f->gemm_gflops, 4);
    pb_json_put_fixed(&json, "gflops", f->gflops, 2);
    pb_json_put_fixed(&json, "gemm_gflops", f->gemm_gflops, 2);
    pb_json_put_fixed(&json, "mfu", f->gflops / f->peak_gflops, 4);
    pb_json_put_fixed(&json, "peak_gflops", f->peak_gflops, 2);
    pb_json_put_fixed(&json, "peak_mb", f->peak_mb, 1);
    pb_json_put_text(&json, "backend", f->backend);
    if (a != NULL) {
        put_ablations(a, &json);
    }
    return pb_json_finish(&json, "\n");
}

static pb_status put_ablation_text(const figures *f, const ablation *a, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "%-19s %12s %8s %12s %8s\n", "without", "s/step", "ratio",
                            "test rows/s", "ratio"));
    for (int i = 0; i < PB_SAVING_COUNT; i++) {
        PB_TRY(pb_string_printf(out, "%-19s %12.4f %8.3f %12.1f %8.3f\n", pb_saving_names[i],
                                a[i].step, a[i].step / f->step, a[i].rows,
                                a[i].rows / f->eval_rows_per_second));
    }
    return PB_OK;
}

static pb_status put_text(const figures *f, const ablation *a, pb_string *out)
{
    PB_TRY(pb_string_printf(
        out,
        "method              %s\n"
        "parameters          %" PRId64 "\n"
        "trainable           %" PRId64 "\n"
        "step                %.4f s median, %.4f … %.4f\n"
        "training            %.1f tokens/s\n"
        "forward             %.1f tokens/s, the loss without a gradient\n"
        "test                %.1f rows/s, %.1f new tokens each\n"
        "rows                %s\n"
        "time in products    %.4f of the step, in layers\n"
        "time in attention   %.4f of the step\n"
        "elementwise         %.4f of the step, and all else in layers\n"
        "head                %.4f of the step, with its products and the loss\n"
        "optimizer           %.4f of the step\n"
        "other               %.4f of the step\n"
        "rate                %.2f GFLOP/s\n"
        "square product      %.2f GFLOP/s\n"
        "MFU                 %.4f of %.2f GFLOP/s, the square product with %s\n"
        "peak memory         %.1f MB, accounted; without mapped checkpoints\n"
        "backend             %s\n",
        f->method, f->parameters, f->trainable, f->step, f->step_min, f->step_max,
        f->tokens_per_second, f->forward_tokens_per_second, f->eval_rows_per_second, f->eval_tokens,
        f->profile, f->gemm_share, f->attention_share, f->elementwise_share, f->head_share,
        f->optimizer_share, f->other_share, f->gflops, f->gemm_gflops, f->gflops / f->peak_gflops,
        f->peak_gflops, f->peak, f->peak_mb, f->backend));
    return a != NULL ? put_ablation_text(f, a, out) : PB_OK;
}

/* `a` NULL: nothing was left out. */
static pb_status print_result(const pb_cli *cli, const figures *f, const ablation *a)
{
    pb_string text = {0};
    pb_status made = pb_cli_flag(cli, "json") ? put_json(f, a, &text) : put_text(f, a, &text);

    return cli_print_facts(cli, made, &text);
}

/* The method as a configuration, for --set to change. */
static pb_status open_config(const pb_cli *cli, session *s)
{
    const pb_method_ops *ops = NULL;
    pb_string text           = {0};
    PB_TRY(pb_method_find(pb_cli_text(cli, "method"), &ops));
    pb_status status = pb_string_printf(&text, "method = { name = \"%s\"; };", ops->name);
    if (status == PB_OK) {
        status = pb_config_parse(text.data, "--method", &s->config);
    }
    pb_string_clear(&text);
    return status;
}

static pb_status open_bench(const pb_cli *cli, session *s)
{
    uint64_t seed = (uint64_t)pb_cli_int(cli, "seed");

    PB_TRY(open_config(cli, s)); /* before weights are made for a wrong name */
    PB_TRY(session_open_backend(cli, s));
    if (pb_cli_text(cli, "model") != NULL) {
        if (pb_cli_given(cli, "shape")) {
            return PB_FAIL(PB_ERR_USAGE, "bench: --model and --shape exclude each other");
        }
        PB_TRY(pb_model_open(pb_cli_text(cli, "model"), NULL, pb_backend_threads(s->backend),
                             &s->model));
    } else {
        pb_model_config config;
        PB_TRY(bench_shape(pb_cli_text(cli, "shape"), &config));
        PB_TRY(pb_model_open_random(&config, seed, pb_backend_threads(s->backend), &s->model));
    }
    PB_TRY(session_create_method(cli, seed, s));
    if (s->method->parameters == 0) {
        return PB_FAIL(PB_ERR_USAGE, "method %s has nothing to train", s->method->ops->name);
    }
    return session_create_network(s);
}

/* The batches of the steps again, as in a validation. */
static pb_status time_forward(const session *s, const pb_sample *rows, int64_t batch,
                              sample_stats *stats)
{
    for (int64_t i = 0; i < stats->warm + stats->count; i++) {
        double loss  = 0.0;
        double begin = pb_clock_seconds();
        PB_TRY(pb_train_loss(s->net, rows + i * batch, batch, batch, PB_MEAN_TOKENS, &loss));
        if (i >= stats->warm) {
            stats->forward[i - stats->warm] = pb_clock_seconds() - begin;
        }
    }
    return PB_OK;
}

/* A training of all rows, which must be as many as the steps want. */
static pb_status train(const pb_cli *cli, session *s, const bench_rows *rows, sample_stats *stats)
{
    pb_train_options how       = {0};
    pb_train_data data         = {.train = rows->samples, .train_count = rows->count};
    pb_train_observer observer = {.context = stats, .step = on_step};
    pb_train_result result;
    PB_TRY(pb_config_defaults(pb_train_fields, &how));
    how.batch        = pb_cli_int(cli, "batch");
    how.epochs       = 1.0;
    how.shuffle      = false;
    how.restore_best = false;
    stats->count     = 0;
    return pb_train_run(s->net, s->method, &how, (uint64_t)pb_cli_int(cli, "seed"), &data,
                        &observer, &result);
}

static pb_status test(const pb_cli *cli, session *s, const bench_rows *rows,
                      const bench_profile *profile, unsigned without, bench_evaluation *out)
{
    return bench_evaluate(s->net, rows, profile, 2 * pb_cli_int(cli, "batch"), without, out);
}

static pb_status ablate(const pb_cli *cli, session *s, const bench_rows *rows,
                        const bench_profile *profile, sample_stats *stats,
                        ablation out[PB_SAVING_COUNT])
{
    for (unsigned i = 0; i < PB_SAVING_COUNT; i++) {
        bench_evaluation tested;
        pb_network_without(s->net, 1U << i);
        PB_TRY(train(cli, s, rows, stats));
        PB_TRY(test(cli, s, rows, profile, 1U << i, &tested));
        pb_clock_sort(stats->seconds, (size_t)stats->count);
        out[i].step = stats->seconds[stats->count / 2];
        out[i].rows = (double)rows->count / tested.seconds;
    }
    return PB_OK;
}

static pb_status measure(const pb_cli *cli, session *s, const bench_rows *rows,
                         const bench_profile *profile, sample_stats *stats)
{
    ablation ablations[PB_SAVING_COUNT];
    bench_evaluation tested;
    pb_kernels kernels;
    double gemm = 0.0;
    bool more   = pb_cli_flag(cli, "ablate");
    pb_kernels_get(&kernels);
    PB_TRY(pb_cell_gemm_rate(s->backend, 1024, &gemm));
    pb_memory_peak_reset();
    pb_backend_memory_peak_reset(s->backend);
    PB_TRY(train(cli, s, rows, stats));
    pb_backend_work done = pb_backend_work_get(s->backend);
    PB_TRY(time_forward(s, rows->samples, pb_cli_int(cli, "batch"), stats));
    PB_TRY(test(cli, s, rows, profile, 0, &tested));
    figures made              = summarise(s, stats, done, gemm);
    made.profile              = profile->name;
    made.eval_rows_per_second = (double)rows->count / tested.seconds;
    made.eval_tokens          = tested.tokens;
    made.peak_gflops          = pb_kernels_best(&kernels, &made.peak) * gemm;
    made.peak                 = *made.peak != '\0' ? made.peak : "this CBLAS";
    if (pb_cli_dtype(cli) == PB_DTYPE_BF16) { /* kernels are compared with F32 factors */
        made.peak_gflops = gemm;
        made.peak        = "BF16 factors";
    }
    PB_TRY(more ? ablate(cli, s, rows, profile, stats, ablations) : PB_OK);
    return print_result(cli, &made, more ? ablations : NULL);
}

static pb_status refuse_beside_load(const pb_cli *cli)
{
    static const char *const others[] = {"shape",  "method", "steps", "batch", "prompt", "profile",
                                         "ablate", "answer", "seed",  "dtype", "set"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (pb_cli_given(cli, others[i])) {
            return PB_FAIL(PB_ERR_USAGE, "bench: --%s has no effect with --load", others[i]);
        }
    }
    return PB_OK;
}

static pb_status run(pb_cli *cli)
{
    session s             = {0};
    bench_rows rows       = {0};
    bench_profile profile = {0};
    int64_t steps         = pb_cli_int(cli, "steps");
    sample_stats stats    = {.warm = 2};
    pb_status status;
    if (pb_cli_flag(cli, "load")) {
        PB_TRY(refuse_beside_load(cli));
        return bench_load(cli);
    }
    PB_TRY(bench_profile_get(cli, &profile));
    PB_TRY_GOTO(status, open_bench(cli, &s), done);
    stats.backend = s.backend;
    PB_TRY_GOTO(status,
                bench_profile_make(&profile, (steps + stats.warm) * pb_cli_int(cli, "batch"),
                                   pb_model_get_config(s.model)->vocab,
                                   (uint64_t)pb_cli_int(cli, "seed"), &rows),
                done);
    PB_TRY_GOTO(status, PB_ALLOC(stats.seconds, steps), done);
    PB_TRY_GOTO(status, PB_ALLOC(stats.forward, steps), done);
    PB_TRY_GOTO(status, measure(cli, &s, &rows, &profile, &stats), done);
done:
    pb_memory_free(stats.seconds);
    pb_memory_free(stats.forward);
    bench_profile_clear(&rows);
    session_close(&s);
    return status;
}

const pb_command command_bench = {
    .name  = "bench",
    .help  = "speed and memory of training and evaluation, on random weights and synthetic rows",
    .usage = "[--shape SHAPE | --model DIR [--load]] [--method NAME] [--steps N] [--batch N] "
             "[--profile NAME | --prompt N --answer N] [--ablate]",
    .details =
        "Shapes by name: tiny, 15m, 40m, 42m, smollm2-135m, llama-3.2-1b, llama-3-8b; the "
        "keys of a shape are layers, width, heads, kv_heads, ff, vocab and "
        "architecture, as in layers=8,width=512; omitted keys are those of "
        "40m. Tokens per second count real tokens of the rows. Without --profile the rows have "
        "nothing in common. Those of glue share an instruction, of long also a passage by "
        "twelve; both have short answers that are known, as class names are. In training a "
        "prefix is shared only without dropout: --set method.dropout=0.0. --ablate does what "
        "eval.without does, one saving at a time. --set changes keys of the "
        "method: Phi3ForCausalLM has other modules than LoRA's defaults and needs "
        "--set 'method.targets=[\"qkv_proj\", \"down_proj\"]'.\n",
    .options  = {options},
    .computes = true,
    .alone    = true,
    .run      = run,
};
