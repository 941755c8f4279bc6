// SPDX-License-Identifier: Apache-2.0
/* Hugging Face's PEFT on the same shape and rows, by a script in a process of its own, one after
 * the other on the same device. */
#include "shapes.h"
#include "steps.h"

#include "pb/file.h"
#include "pb/json.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWER = 1 << 16 };

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

/* What the script is to do. */
static pb_status task_text(const bench *b, const workload *w, const made_rows *rows, pb_string *out)
{
    pb_model_config config;
    PB_TRY(bench_shape(w->shape, &config));
    pb_json json = pb_json_begin(out, PB_JSON_INLINE, 0);
    pb_json_put_text(&json, "device",
                     b->tiny || strcmp(b->backend, "cpu") == 0 ? "cpu" : b->device);
    put_shape(&json, &config);
    pb_json_put_int(&json, "batch", w->rows);
    pb_json_put_int(&json, "answer_start", w->answer_start);
    pb_json_put_int(&json, "warm", w->warm);
    pb_json_put_int(&json, "steps", w->steps);
    pb_json_put_array(&json, "rows", PB_JSON_INLINE);
    for (int64_t i = 0; i < rows->count; i++) {
        pb_json_put_array(&json, NULL, PB_JSON_INLINE);
        for (int64_t t = 0; t < rows->samples[i].length; t++) {
            pb_json_put_int(&json, NULL, rows->samples[i].ids[t]);
        }
        pb_json_end(&json);
    }
    pb_json_end(&json);
    return pb_json_finish(&json, "\n");
}

static pb_status write_task(const char *path, int file, const pb_string *text)
{
    size_t written = 0;
    while (written < text->length) {
        ssize_t more = write(file, text->data + written, text->length - written);
        if (more <= 0) {
            return PB_FAIL(PB_ERR_IO, "%s: %s", path, strerror(errno));
        }
        written += (size_t)more;
    }
    return PB_OK;
}

/* Runs the script; `answer` is what it printed. */
static pb_status run_script(const char *python, const char *script, const char *task,
                            char answer[ANSWER])
{
    int ends[2];
    int state = 0;
    if (access(script, R_OK) != 0) {
        return PB_FAIL(PB_ERR_NOT_FOUND, "%s: %s; --peer names the script", script,
                       strerror(errno));
    }
    if (pipe(ends) != 0) {
        return PB_FAIL(PB_ERR_IO, "no pipe: %s", strerror(errno));
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp(python, python, script, task, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t got = 1; child > 0 && got > 0 && used < ANSWER - 1; used += (size_t)got) {
        got = read(ends[0], answer + used, ANSWER - 1 - used);
        got = got < 0 ? 0 : got;
    }
    close(ends[0]);
    answer[used] = '\0';
    if (child < 0 || waitpid(child, &state, 0) != child) {
        return PB_FAIL(PB_ERR_IO, "no process: %s", strerror(errno));
    }
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
        return PB_FAIL(PB_ERR_LIBRARY,
                       "%s %s failed (status %d); it needs torch, transformers and "
                       "peft, and --python names the interpreter",
                       python, script, WIFEXITED(state) ? WEXITSTATUS(state) : -1);
    }
    return PB_OK;
}

static pb_status ask_script(const bench *b, const workload *w, const made_rows *rows,
                            char answer[ANSWER])
{
    const char *folder = getenv("TMPDIR");
    pb_string text     = {0};
    char path[4096];
    char script[4096];
    (void)snprintf(path, sizeof path, "%s/bench_gpu_XXXXXX",
                   folder != NULL && *folder != '\0' ? folder : "/tmp");
    const char *slash = strrchr(b->program, '/');
    (void)snprintf(script, sizeof script, "%.*s/bench_peer.py",
                   slash != NULL ? (int)(slash - b->program) : 1, slash != NULL ? b->program : ".");
    int file = mkstemp(path);
    if (file < 0) {
        return PB_FAIL(PB_ERR_IO, "%s: %s", path, strerror(errno));
    }
    pb_status status = task_text(b, w, rows, &text);
    status           = status == PB_OK ? write_task(path, file, &text) : status;
    close(file);
    if (status == PB_OK) {
        status = run_script(b->python != NULL ? b->python : "python3",
                            b->peer != NULL ? b->peer : script, path, answer);
    }
    (void)unlink(path);
    pb_string_clear(&text);
    return PB_FRAME(status);
}

/* Seconds of a step of the peer. */
static pb_status measure_peer(const bench *b, const workload *w, const made_rows *rows,
                              const char *sizes, double *seconds)
{
    static char answer[ANSWER];
    PB_TRY(ask_script(b, w, rows, answer));
    json_t *told       = json_loads(answer, 0, NULL);
    const json_t *step = json_object_get(told, "step_seconds");
    const char *what   = json_string_value(json_object_get(told, "versions"));
    pb_status status =
        json_is_number(step)
            ? PB_OK
            : PB_FAIL(PB_ERR_FORMAT, "the script printed no step_seconds: %.200s", answer);
    if (status == PB_OK) {
        *seconds = json_number_value(step);
        put_text(b, "peer", what != NULL ? what : "");
        put_figure(b, "PEFT, step", sizes, 1e3 * *seconds, "ms");
    }
    json_decref(told);
    return status;
}

static pb_status compare(const bench *b, const workload *w, const char *sizes)
{
    static const int gangs[] = {1, 4};
    made_rows rows           = {0};
    double peer              = 0.0;
    PB_TRY(workload_rows(w, &rows));
    pb_status status = measure_peer(b, w, &rows, sizes, &peer);
    for (size_t i = 0; status == PB_OK && i < sizeof gangs / sizeof *gangs; i++) {
        char name[BENCH_TEXT];
        double seconds = 0.0;
        status         = measure_gang(b, w, &rows, gangs[i], &seconds);
        if (status == PB_OK) {
            (void)snprintf(name, sizeof name, "gang of %d, step per member", gangs[i]);
            put_figure(b, name, sizes, 1e3 * seconds / gangs[i], "ms");
            (void)snprintf(name, sizeof name, "gang of %d, times as fast as PEFT", gangs[i]);
            put_figure(b, name, sizes, peer * gangs[i] / seconds, "");
        }
    }
    rows_free(&rows);
    return PB_FRAME(status);
}

pb_status part_peer(const bench *b)
{
    for (int i = 0; short_workload(b, i) != NULL; i++) {
        char sizes[BENCH_TEXT];
        describe_workload(short_workload(b, i), "", sizes);
        if (!time_is_left(b, "peer", sizes)) {
            break;
        }
        pb_status status = compare(b, short_workload(b, i), sizes);
        if (status != PB_OK) {
            put_failure(b, "peer", sizes, status);
        }
    }
    return PB_OK;
}
