// SPDX-License-Identifier: Apache-2.0
/* Where and with what a record was made. */
#include "internal.h"

#include "build.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/kernels.h"
#include "pb/processors.h"
#include "pb/results.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "model name" of the first processor; empty if the system does not report it. */
static void processor_name(char *text, size_t size)
{
    static const char key[] = "model name";
    text[0]                 = '\0';
    FILE *file              = fopen("/proc/cpuinfo", "r");
    char line[512];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, sizeof key - 1) == 0 && colon != NULL) {
            snprintf(text, size, "%s", colon + 2);
            text[strcspn(text, "\n")] = '\0';
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static pb_status add_number(pb_record *record, const char *name, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    return pb_record_add_provenance(record, name, text);
}

/* "12.60"; omitted if nothing was measured. */
static pb_status add_rate(pb_record *record, const char *name, double gflops)
{
    char text[32];
    snprintf(text, sizeof text, "%.2f", gflops);
    return gflops > 0.0 ? pb_record_add_provenance(record, name, text) : PB_OK;
}

/* How the kernels were chosen, and by which measurement. */
static pb_status add_kernels(pb_record *record)
{
    pb_kernels k;
    pb_kernels_get(&k);
    if (*k.name == '\0') {
        return PB_OK;
    }
    PB_TRY(pb_record_add_provenance(record, "kernels", k.name));
    PB_TRY(pb_record_add_provenance(record, "kernels_by", pb_kernels_by_names[k.by]));
    PB_TRY(add_rate(record, "kernels_gflops", k.gflops));
    if (*k.other != '\0') {
        PB_TRY(pb_record_add_provenance(record, "kernels_other", k.other));
        PB_TRY(add_rate(record, "kernels_other_gflops", k.other_gflops));
    }
    return PB_OK;
}

static pb_status put_fact(void *context, const char *name, const char *value)
{
    return pb_record_add_provenance(context, name, value);
}

pb_status pb_cell_provenance(const pb_cell_env *env, pb_record *record)
{
    char text[256];
    char host[256] = "";
    pb_processors processors;
    char directory[4096] = "";
    gethostname(host, sizeof host - 1);
    if (getcwd(directory, sizeof directory) == NULL) {
        directory[0] = '\0'; /* too long, or removed */
    }
    processor_name(text, sizeof text);
    PB_TRY(pb_record_add_provenance(record, "program", "peftbench " PB_BUILD_VERSION));
    PB_TRY(pb_record_add_provenance(record, "commit", PB_BUILD_COMMIT));
    PB_TRY(pb_record_add_provenance(record, "results_version", cell_results_version()));
    PB_TRY(pb_record_add_provenance(record, "compiler", PB_BUILD_COMPILER));
    PB_TRY(pb_record_add_provenance(record, "flags", PB_BUILD_FLAGS));
    PB_TRY(pb_record_add_provenance(record, "host", host));
    PB_TRY(pb_record_add_provenance(record, "directory", directory));
    PB_TRY(pb_record_add_provenance(record, "cpu", text));
    PB_TRY(pb_record_add_provenance(record, "backend", pb_backend_name(env->backend)));
    PB_TRY(pb_record_add_provenance(record, "products", pb_backend_describe(env->backend)));
    if (*pb_backend_products(env->backend) != '\0') {
        PB_TRY(
            pb_record_add_provenance(record, "products_choice", pb_backend_products(env->backend)));
    }
    PB_TRY(pb_backend_facts(env->backend, put_fact, record));
    PB_TRY(add_kernels(record));
    PB_TRY(pb_record_add_provenance(record, "hdf5", pb_results_library()));
    PB_TRY(pb_record_add_provenance(record, "tree-sitter", pb_metric_parser()));
    PB_TRY(pb_record_add_provenance(record, "dtype",
                                    env->setup.dtype == PB_DTYPE_BF16 ? "bf16" : "f32"));
    PB_TRY(add_number(record, "threads", env->setup.threads));
    pb_processors_get(&processors);
    PB_TRY(add_number(record, "processors", pb_processors_usable(&processors)));
    PB_TRY(pb_record_add_provenance(record, "mpi", pb_comm_library(env->comm)));
    PB_TRY(add_number(record, "ranks", pb_comm_size(env->comm)));
    PB_TRY(add_number(record, "rank", pb_comm_rank(env->comm)));
    PB_TRY(add_rate(record, "gemm_gflops", env->gemm_gflops));
    PB_TRY(add_rate(record, "peak_gflops", env->peak_gflops));
    return pb_record_add_provenance(record, "peak_source", env->peak_source);
}
