// SPDX-License-Identifier: Apache-2.0
/* peftbench info: facts about this build and machine, and, if asked, the rates of products. */
#include "commands.h"

#include "pb/backend.h"
#include "pb/cell.h"
#include "pb/dataset.h"
#include "pb/json.h"
#include "pb/kernels.h"
#include "pb/method.h"
#include "pb/table.h"
#include "pb/usage.h"

static const pb_option options[] = {
    PB_CLI_FLAG("measure", "measure the rates of products too, which takes about a second"),
    {0},
};

/* The candidate kernels; the first one is in use. */
static void put_json_rates(double gflops, pb_json *json)
{
    pb_json_put_fixed(json, "f32_gflops", gflops, 2);
    pb_kernels_rate rates[PB_KERNELS_RATES];
    int count = pb_kernels_list(rates);
    pb_json_put_array(json, "candidates", PB_JSON_INLINE);
    for (int i = 0; i < count; i++) {
        pb_json_put_object(json, NULL, PB_JSON_INLINE);
        pb_json_put_text(json, "kernels", rates[i].name);
        pb_json_put_bool(json, "in_use", i == 0);
        pb_json_put_fixed(json, "gflops_1_thread", rates[i].gflops, 2);
        pb_json_put_int(json, "threads", rates[i].threads);
        pb_json_put_fixed(json, "gflops", rates[i].gflops_threads, 2);
        pb_json_end(json);
    }
    pb_json_end(json);
}

static pb_status put_rates(double gflops, pb_string *out)
{
    PB_TRY(pb_string_printf(out, "f32 product  %.2f GFLOP/s (square, median of five)\n", gflops));
    pb_kernels_rate rates[PB_KERNELS_RATES];
    int count = pb_kernels_list(rates);
    for (int i = 0; i < count; i++) {
        PB_TRY(pb_string_printf(out, "%-12s %-14s %.2f GFLOP/s on 1 thread",
                                i > 0 ? "" : "candidates", rates[i].name, rates[i].gflops));
        if (rates[i].threads > 1) {
            PB_TRY(
                pb_string_printf(out, ", %.2f on %d", rates[i].gflops_threads, rates[i].threads));
        }
        PB_TRY(pb_string_puts(out, i > 0 ? "\n" : " (in use)\n"));
    }
    return PB_OK;
}

/* The devices that the process sees, one on a line. */
static pb_status put_device(void *context, const char *name, const char *about)
{
    return pb_string_printf(context, "%-12s %s\n", name, about);
}

/* Having none is not an error. */
static pb_status put_devices(pb_string *out)
{
    pb_status status = pb_backend_list(put_device, out);
    if (status == PB_OK || status == PB_ERR_MEMORY) {
        return status;
    }
    status = pb_string_printf(out, "%-12s %s\n", "devices", pb_error_message());
    pb_error_clear();
    return status;
}

static pb_status put_json_device(void *context, const char *name, const char *about)
{
    pb_json *json = context;
    pb_json_put_object(json, NULL, PB_JSON_INLINE);
    pb_json_put_text(json, "device", name);
    pb_json_put_text(json, "about", about);
    pb_json_end(json);
    return PB_OK;
}

static void put_json_devices(pb_json *json)
{
    pb_json_put_array(json, "devices", PB_JSON_INLINE);
    if (pb_backend_list(put_json_device, json) != PB_OK) {
        pb_error_clear(); /* there is none */
    }
    pb_json_end(json);
}

/* gflops: 0 if it was not measured. */
static pb_status put_json(double gflops, const pb_record *facts, pb_string *out)
{
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    for (int64_t i = 0; i < facts->provenance_count; i++) {
        pb_json_put_text(&json, facts->provenance[i].name, facts->provenance[i].value);
    }
    if (gflops > 0.0) {
        put_json_rates(gflops, &json);
    }
    put_json_devices(&json);
    pb_json_put_array(&json, "methods", PB_JSON_INLINE);
    for (const pb_method_ops *const *m = pb_method_registry(); *m != NULL; m++) {
        pb_json_put_text(&json, NULL, (*m)->name);
    }
    pb_json_end(&json);
    pb_json_put_array(&json, "compressions", PB_JSON_INLINE);
    for (const char *const *c = pb_dataset_compressions(); *c != NULL; c++) {
        pb_json_put_text(&json, NULL, *c);
    }
    pb_json_end(&json);
    return pb_json_finish(&json, "\n");
}

static pb_status put_text(double gflops, const pb_record *facts, pb_string *out)
{
    for (int64_t i = 0; i < facts->provenance_count; i++) {
        const pb_record_pair *p = &facts->provenance[i];
        PB_TRY(pb_string_printf(out, "%-12s %s\n", p->name,
                                *p->value != '\0' ? p->value : PB_TABLE_NOTHING));
    }
    if (gflops > 0.0) {
        PB_TRY(put_rates(gflops, out));
    }
    PB_TRY(put_devices(out));
    PB_TRY(pb_string_puts(out, "methods     "));
    for (const pb_method_ops *const *m = pb_method_registry(); *m != NULL; m++) {
        PB_TRY(pb_string_printf(out, " %s", (*m)->name));
    }
    PB_TRY(pb_string_puts(out, "\ndata files   plain"));
    for (const char *const *c = pb_dataset_compressions(); *c != NULL; c++) {
        PB_TRY(pb_string_printf(out, " %s", *c));
    }
    return PB_FRAME(pb_string_puts(out, "\n"));
}

static pb_status run(pb_cli *cli)
{
    const char *device  = NULL;
    int number          = 0;
    pb_cell_setup setup = {0};
    pb_cell_env *env    = NULL;
    pb_backend *backend = NULL;
    double gflops       = 0.0;
    pb_string text      = {0};
    pb_record facts;
    pb_status status;
    pb_record_init(&facts);
    PB_TRY(pb_cli_device(cli, &device, &number));
    setup = (pb_cell_setup){
        .backend  = device,
        .device   = number,
        .threads  = (int)pb_cli_int(cli, "threads"),
        .dtype    = pb_cli_dtype(cli),
        .products = pb_cli_text(cli, "products"),
    };
    PB_TRY_GOTO(status, pb_cell_env_open(&setup, cli->comm, &env), done);
    PB_TRY_GOTO(status, pb_cell_provenance(env, &facts), done);
    PB_TRY_GOTO(status, pb_backend_open(device, number, setup.threads, &backend), done);
    PB_TRY_GOTO(status, pb_backend_use_dtype(backend, setup.dtype), done);
    if (pb_cli_flag(cli, "measure")) {
        PB_TRY_GOTO(status, pb_cell_gemm_rate(backend, 1024, &gflops), done);
    }
    status = pb_cli_flag(cli, "json") ? put_json(gflops, &facts, &text)
                                      : put_text(gflops, &facts, &text);
    status = cli_print_facts(cli, status, &text);
done:
    pb_record_clear(&facts);
    pb_backend_close(backend);
    pb_cell_env_close(env);
    return status;
}

/* Nothing is random, and there is no configuration. */
static const char *const without[] = {"seed", "set", NULL};

const pb_command command_info = {
    .name    = "info",
    .help    = "build, libraries, processor, devices; --measure: the rates of products",
    .usage   = "[--measure] [--json] [--threads N] [--device NAME]",
    .details = "--measure lists candidates: the kernels of OpenBLAS that suit this processor, each "
               "measured in a separate process; the first are in "
               "use. kernels_by: what chose them: library, program (if the library's are far "
               "slower) or user (OPENBLAS_CORETYPE).\n",
    .options = {options},
    .computes = true,
    .without  = without,
    .run      = run,
};
