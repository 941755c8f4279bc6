// SPDX-License-Identifier: Apache-2.0
/* Hugging Face's PEFT on the same work: the same losses from the same weights and adapter, and the
 * time of a step, one after the other on the same device. */
#include "script.h"
#include "shapes.h"
#include "steps.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/json.h"
#include "pb/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Tasks --------------------------------------------------------------------------------------- */

static void put_shape(pb_json *json, const pb_model_config *c)
{
    pb_json_put_object(json, "shape", PB_JSON_INLINE);
    pb_json_put_int(json, "num_hidden_layers", c->layers);
    pb_json_put_int(json, "hidden_size", c->width);
    pb_json_put_int(json, "num_attention_heads", c->heads);
    pb_json_put_int(json, "num_key_value_heads", c->kv_heads);
    pb_json_put_int(json, "head_dim", c->head_dim);
    pb_json_put_int(json, "intermediate_size", c->ff);
    pb_json_put_int(json, "vocab_size", c->vocab);
    pb_json_put_float(json, "rms_norm_eps", c->rms_eps);
    pb_json_put_bool(json, "tie_word_embeddings", c->tied);
    pb_json_end(json);
}

static void put_rows(pb_json *json, const made_rows *rows)
{
    pb_json_put_array(json, "rows", PB_JSON_INLINE);
    for (int64_t i = 0; i < rows->count; i++) {
        pb_json_put_array(json, NULL, PB_JSON_INLINE);
        for (int64_t t = 0; t < rows->samples[i].length; t++) {
            pb_json_put_int(json, NULL, rows->samples[i].ids[t]);
        }
        pb_json_end(json);
    }
    pb_json_end(json);
}

static pb_json begin_task(const bench *b, const workload *w, const made_rows *rows, pb_dtype type,
                          pb_string *line)
{
    const char *cuda = b->number > 0 ? b->device : "cuda"; /* as torch numbers them too */
    bool on_cpu      = b->tiny || strcmp(b->backend, "cpu") == 0;
    pb_json json     = pb_json_begin(line, PB_JSON_INLINE, 0);
    pb_json_put_text(&json, "device", on_cpu ? "cpu" : cuda);
    pb_json_put_text(&json, "dtype", type == PB_DTYPE_F32 ? "float32" : "bfloat16");
    pb_json_put_int(&json, "batch", w->rows);
    pb_json_put_int(&json, "answer_start", w->answer_start);
    pb_json_put_int(&json, "warm", w->warm);
    pb_json_put_int(&json, "steps", w->steps);
    put_rows(&json, rows);
    return json;
}

static pb_status ask(script *s, pb_json *json, pb_string *line, json_t **answer)
{
    pb_status status = pb_json_finish(json, "\n");
    status           = status == PB_OK ? script_ask(s, line, answer) : status;
    pb_string_clear(line);
    return PB_FRAME(status);
}

static double last_loss(const json_t *answer)
{
    const json_t *losses = json_object_get(answer, "losses");
    return json_number_value(json_array_get(losses, json_array_size(losses) - 1));
}

/* The same losses ----------------------------------------------------------------------------- */

/* As the curves against the CPU; see curves.c. */
#define TOLERANCE_F32  1e-3
#define TOLERANCE_BF16 3e-2

static const workload short_run = {"tiny", 4, 24, 16, 0, 10};

static pb_status save_model(const pb_model *model, const char *folder)
{
    int64_t sites    = pb_model_site_count(model);
    pb_tensor *all   = NULL;
    pb_status status = PB_OK;
    PB_TRY(PB_ALLOC(all, sites));
    for (int64_t i = 0; i < sites; i++) {
        all[i] = pb_model_site_at(model, i)->weight;
    }
    status = pb_model_save(folder, pb_model_get_config(model), NULL, all, NULL);
    pb_memory_free(all);
    return PB_FRAME(status);
}

/* Both folders, then the same steps on either side. */
static pb_status train_both(const bench *b, script *peer, const pb_model *model, pb_dtype type,
                            const char *folder, training *made, json_t **answer)
{
    static const char method[] = "name = \"lora\"; r = 8; dropout = 0.0; targets = \"all-linear\";";
    const workload *w          = &short_run;
    made_rows rows             = {0};
    char *adapter              = NULL;
    pb_string line             = {0};
    setup s                    = {0};
    pb_status status           = PB_OK;
    PB_TRY(setup_over(b->backend, b->number, model, type, method, 1, &s));
    PB_TRY_GOTO(status, pb_path_join(folder, "adapter", &adapter), done);
    PB_TRY_GOTO(status, pb_method_save(s.methods[0], adapter), done);
    PB_TRY_GOTO(status, workload_rows(w, &rows), done);
    PB_TRY_GOTO(status, train(&s, &rows, w->rows, 0, w->steps, made), done);
    pb_json json = begin_task(b, w, &rows, type, &line);
    pb_json_put_text(&json, "model", folder);
    pb_json_put_text(&json, "adapter", adapter);
    PB_TRY_GOTO(status, ask(peer, &json, &line, answer), done);
done:
    rows_free(&rows);
    pb_memory_free(adapter);
    setup_close(&s);
    return status;
}

static void put_losses(const bench *b, const training *made, const json_t *answer, pb_dtype type,
                       const char *sizes)
{
    const json_t *losses = json_object_get(answer, "losses");
    double allowed       = type == PB_DTYPE_F32 ? TOLERANCE_F32 : TOLERANCE_BF16;
    double most          = 0.0;
    char note[BENCH_TEXT];
    bool all = json_array_size(losses) == (size_t)made->steps;
    for (int64_t i = 0; all && i < made->steps; i++) {
        double d = fabs(json_number_value(json_array_get(losses, (size_t)i)) - made->losses[i]);
        most     = d <= most ? most : d;
    }
    (void)snprintf(note, sizeof note, "%.2g nats apart, at most %g; last loss %.4f", most, allowed,
                   made->losses[made->steps - 1]);
    put_verdict(b, "losses as PEFT's", sizes, all && most <= allowed, note);
}

static pb_status compare_losses(const bench *b, script *peer, pb_dtype type, const char *sizes)
{
    pb_model_config config;
    pb_model *model  = NULL;
    char *folder     = NULL;
    json_t *answer   = NULL;
    training made    = {0};
    pb_status status = PB_OK;
    PB_TRY(bench_shape(short_run.shape, &config));
    PB_TRY(pb_model_open_random(&config, 1, 1, &model));
    PB_TRY_GOTO(status, pb_temporary_make("bench_gpu", &folder), done);
    PB_TRY_GOTO(status, save_model(model, folder), done);
    PB_TRY_GOTO(status, train_both(b, peer, model, type, folder, &made, &answer), done);
    put_losses(b, &made, answer, type, sizes);
done:
    training_free(&made);
    json_decref(answer);
    pb_temporary_remove(folder);
    pb_memory_free(folder);
    pb_model_close(model);
    return status;
}

static void put_same_losses(const bench *b, script *peer)
{
    static const pb_dtype types[] = {PB_DTYPE_F32, PB_DTYPE_BF16};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char more[32], sizes[BENCH_TEXT];
        (void)snprintf(more, sizeof more, ", %s", pb_dtype_name(types[i]));
        describe_workload(&short_run, more, sizes);
        if (!item_begin(b, "losses as PEFT's", sizes)) {
            continue;
        }
        pb_status status = compare_losses(b, peer, types[i], sizes);
        if (status != PB_OK) {
            put_failure(b, "losses as PEFT's", sizes, status);
        }
    }
}

/* Time ---------------------------------------------------------------------------------------- */

/* Seconds of a step of the peer. */
static pb_status measure_peer(const bench *b, script *peer, const workload *w,
                              const made_rows *rows, const char *sizes, double *seconds)
{
    pb_string line = {0};
    json_t *answer = NULL;
    pb_model_config config;
    PB_TRY(bench_shape(w->shape, &config));
    pb_json json = begin_task(b, w, rows, PB_DTYPE_BF16, &line);
    put_shape(&json, &config);
    PB_TRY(ask(peer, &json, &line, &answer));
    const char *versions = json_string_value(json_object_get(answer, "versions"));
    *seconds             = json_number_value(json_object_get(answer, "step_seconds"));
    if (versions == NULL || !(*seconds > 0.0)) {
        json_decref(answer);
        return PB_FAIL(PB_ERR_FORMAT, "the script's answer has no seconds or no versions");
    }
    put_text(b, "PEFT", versions);
    put_figure(b, "PEFT, step", sizes, 1e3 * *seconds, "ms");
    put_figure(b, "PEFT, training", sizes, (double)(w->rows * w->length) / *seconds, "tokens/s");
    put_figure(b, "PEFT, last loss", sizes, last_loss(answer), "nats");
    json_decref(answer);
    return PB_OK;
}

static pb_status compare_gang(const bench *b, const workload *w, const made_rows *rows, int members,
                              double peer, const char *sizes)
{
    char name[BENCH_TEXT];
    load l        = {0};
    double loss   = 0.0;
    bool has_goal = members > 1 && strcmp(w->shape, "llama-3.2-1b") == 0;
    PB_TRY(measure_gang(b, w, rows, members, true, &l, &loss));
    double seconds = l.seconds / members;
    (void)snprintf(name, sizeof name, "gang of %d, step per member", members);
    put_figure(b, name, sizes, 1e3 * seconds, "ms");
    (void)snprintf(name, sizeof name, "gang of %d, training", members);
    put_figure(b, name, sizes, (double)(w->rows * w->length) / seconds, "tokens/s");
    (void)snprintf(name, sizeof name, "gang of %d, last loss", members);
    put_figure(b, name, sizes, loss, "nats");
    (void)snprintf(name, sizeof name, "gang of %d, times as fast as PEFT", members);
    put_goal(b, name, sizes, peer / seconds, "", has_goal ? "3" : NULL);
    return PB_OK;
}

static pb_status compare_time(const bench *b, script *hf, const workload *w, const char *sizes)
{
    static const int gangs[] = {1, 4};
    made_rows rows           = {0};
    double peer              = 0.0;
    PB_TRY(workload_rows(w, &rows));
    pb_status status = measure_peer(b, hf, w, &rows, sizes, &peer);
    for (size_t i = 0; status == PB_OK && i < sizeof gangs / sizeof *gangs; i++) {
        status = compare_gang(b, w, &rows, gangs[i], peer, sizes);
    }
    rows_free(&rows);
    return PB_FRAME(status);
}

pb_status part_peer(const bench *b)
{
    script *peer = NULL;
    PB_TRY(script_open(b, &peer));
    put_same_losses(b, peer);
    for (int i = 0; short_workload(b, i) != NULL; i++) {
        char sizes[BENCH_TEXT];
        describe_workload(short_workload(b, i), "", sizes);
        if (!item_begin(b, "PEFT", sizes)) {
            continue;
        }
        pb_status status = compare_time(b, peer, short_workload(b, i), sizes);
        if (status != PB_OK) {
            put_failure(b, "PEFT", sizes, status);
        }
    }
    script_close(peer);
    return PB_OK;
}
