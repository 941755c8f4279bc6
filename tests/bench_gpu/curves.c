// SPDX-License-Identifier: Apache-2.0
/* Training curves of every method against those of the CPU. */
#include "setup.h"
#include "shapes.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 10, TINY_STEPS = 2, BATCH = 4 };

/* The largest distances of losses from those of the CPU in F32, in nats: as the tests of curves
 * against Hugging Face allow per pass, with room for ten updates that divide rounding noise by
 * itself. */
#define TOLERANCE_F32  1e-3
#define TOLERANCE_BF16 3e-2

static pb_status curve(const char *backend, int number, const pb_model *model, pb_dtype type,
                       const char *method, const made_rows *rows, int64_t steps, training *out)
{
    setup s;
    char text[BENCH_TEXT];
    (void)snprintf(text, sizeof text, "name = \"%s\";", method);
    PB_TRY(setup_over(backend, number, model, type, text, 1, &s));
    pb_status status = train(&s, rows, BATCH, 0, steps, out);
    setup_close(&s);
    return PB_FRAME(status);
}

static double distance(const training *a, const training *b)
{
    double most = 0.0;
    for (int64_t i = 0; i < a->steps; i++) {
        double d = fabs(a->losses[i] - b->losses[i]);
        most     = d <= most ? most : d;
    }
    return most;
}

static void put_curve(const bench *b, const pb_model *model, pb_dtype type, const char *method,
                      const made_rows *rows, const training *reference, const char *sizes)
{
    double allowed = type == PB_DTYPE_F32 ? TOLERANCE_F32 : TOLERANCE_BF16;
    training made  = {0};
    char what[BENCH_TEXT];
    char note[BENCH_TEXT];
    (void)snprintf(what, sizeof what, "curve, %s", pb_dtype_name(type));
    pb_status status =
        curve(b->backend, b->number, model, type, method, rows, reference->steps, &made);
    if (status != PB_OK) {
        put_failure(b, what, sizes, status);
        return;
    }
    double most = distance(&made, reference);
    (void)snprintf(note, sizeof note, "%.2g nats from the CPU, at most %g; last loss %.4f", most,
                   allowed, made.losses[made.steps - 1]);
    put_verdict(b, what, sizes, most <= allowed, note);
    training_free(&made);
}

/* One method on one model: F32 on the CPU is the reference. */
static void check_method(const bench *b, const pb_model *model, const char *method,
                         const made_rows *rows, const char *sizes)
{
    training reference = {0};
    pb_status status   = curve("cpu", 0, model, PB_DTYPE_F32, method, rows,
                             b->tiny ? TINY_STEPS : STEPS, &reference);
    if (status != PB_OK) {
        /* What the CPU refuses for this model, such as modules that it does not have. */
        put_text(b, sizes, pb_error_message());
        pb_error_clear();
        return;
    }
    put_curve(b, model, PB_DTYPE_F32, method, rows, &reference, sizes);
    put_curve(b, model, PB_DTYPE_BF16, method, rows, &reference, sizes);
    training_free(&reference);
}

static void check_model(const bench *b, const pb_model *model, const char *name)
{
    static const char *const few[] = {"lora", "ia3", "prefix", NULL};
    made_rows rows                 = {0};
    pb_status status               = rows_make(BATCH * STEPS, b->tiny ? 7 : 24, b->tiny ? 4 : 16,
                                               pb_model_get_config(model)->vocab, 5, &rows);
    if (status != PB_OK) {
        put_failure(b, name, "", status);
        return;
    }
    for (const pb_method_ops *const *ops = pb_method_registry(); *ops != NULL; ops++) {
        const char *method = (*ops)->name;
        bool chosen        = !b->tiny;
        for (const char *const *f = few; *f != NULL; f++) {
            chosen = chosen || strcmp(*f, method) == 0;
        }
        char sizes[BENCH_TEXT];
        (void)snprintf(sizes, sizeof sizes, "%s, %s", name, method);
        if (!chosen || (*ops)->baseline != NULL || strcmp(method, "none") == 0) {
            continue;
        }
        if (!item_begin(b, "curve", sizes)) {
            continue;
        }
        check_method(b, model, method, &rows, sizes);
    }
    rows_free(&rows);
}

static void check_made(const bench *b)
{
    static const char *const architectures[] = {"LlamaForCausalLM", "Qwen3ForCausalLM",
                                                "MistralForCausalLM", "Gemma3ForCausalLM"};
    for (size_t i = 0; i < (b->tiny ? 1 : sizeof architectures / sizeof *architectures); i++) {
        char shape[BENCH_TEXT];
        pb_model *model = NULL;
        pb_model_config config;
        (void)snprintf(shape, sizeof shape,
                       "layers=2,width=64,heads=4,kv_heads=2,ff=96,vocab=256,architecture=%s",
                       architectures[i]);
        pb_status status = bench_shape(shape, &config);
        status           = status == PB_OK ? pb_model_open_random(&config, 1, 1, &model) : status;
        if (status == PB_OK) {
            check_model(b, model, architectures[i]);
        } else {
            put_failure(b, "curve", architectures[i], status);
        }
        pb_model_close(model);
    }
}

static void check_checkpoint(const bench *b, const char *path, const char *name)
{
    pb_model *model  = NULL;
    pb_status status = pb_model_open(path, NULL, 1, &model);
    if (status == PB_OK) {
        check_model(b, model, name);
    } else {
        put_failure(b, "checkpoint", name, status);
    }
    pb_model_close(model);
}

static bool is_checkpoint(const char *folder)
{
    char *path = NULL;
    bool there = pb_path_join(folder, "config.json", &path) == PB_OK && pb_path_exists(path);
    pb_memory_free(path);
    return there;
}

/* The checkpoints of a folder by name. */
static pb_status check_folder(const bench *b, int *found)
{
    char **names = NULL;
    size_t count = 0;
    PB_TRY(pb_path_list(b->golden, NULL, &names, &count));
    for (size_t i = 0; i < count; i++) {
        char *path = NULL;
        if (pb_path_join(b->golden, names[i], &path) == PB_OK && is_checkpoint(path)) {
            check_checkpoint(b, path, names[i]);
            (*found)++;
        }
        pb_memory_free(path);
    }
    pb_memory_free_texts(names, count);
    return PB_OK;
}

pb_status part_curves(const bench *b)
{
    if (b->golden == NULL) {
        check_made(b);
        return PB_OK;
    }
    if (is_checkpoint(b->golden)) {
        const char *slash = strrchr(b->golden, '/');
        check_checkpoint(b, b->golden, slash != NULL && slash[1] != '\0' ? slash + 1 : b->golden);
        return PB_OK;
    }
    int found = 0;
    PB_TRY(check_folder(b, &found));
    return found > 0 ? PB_OK
                     : PB_FAIL(PB_ERR_NOT_FOUND, "--golden %s: no checkpoint is there", b->golden);
}
