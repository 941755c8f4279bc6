// SPDX-License-Identifier: Apache-2.0
/* Adapters that this program saves load in HF PEFT and compute the same there: each is written with
 * our logits of one sequence beside it, and check_peft.py compares. Needs a Python with torch,
 * transformers and peft ($PB_PYTHON, default python3); skipped without one. */
#include "golden.h"
#include "method_fixture.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/network.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

/* BitFit is not a method of HF PEFT. */
static const struct {
    const char *method, *options;
} cases[] = {
    {"lora", "r = 4;"},
    {"lora", "r = 5; alpha = 3.0; rslora = true; dropout = 0.5; targets = "
             "[\"q_proj\", \"o_proj\"];"},
    {"lora", "r = 3; targets = [\"q_proj\", \"up_proj\", \"down_proj\"]; alpha_pattern = "
             "[\"mlp.up_proj=3.5\"]; rank_pattern = [\".*1.*q_proj=5\", \"up_proj=2\"];"},
    {"lora", "r = 3; target_pattern = \".*\\\\.(q|up)_proj\";"},
    {"lora", "r = 3; layers = [1]; exclude_pattern = \".*down.*\";"},
    {"lora", "r = 3; targets = [\"all-linear\"];"},
    {"adalora", "init_r = 4; target_r = 2;"},
    {"adalora", "init_r = 3; target_r = 1; tinit = 1; tfinal = 2; layers = [1];"},
    {"vera", "r = 12;"},
    {"vera", "r = 5; save_projection = false; projection_prng_key = 5; layers = [1];"},
    {"dora", "r = 4;"},
    {"dora", "r = 5; alpha = 3.0; rslora = true; dropout = 0.5; target_pattern = \".*proj\"; "
             "rank_pattern = [\"q_proj=2\"];"},
    {"ia3", ""},
    {"ia3", "layers = [0]; feedforward_pattern = \".*(up|down)_proj\"; targets = "
            "[\"k_proj\", \"down_proj\"];"},
    {"ia3", "feedforward_side = \"output\";"},
    {"lntuning", ""},
    {"hra", "r = 3; targets = [\"k_proj\", \"down_proj\"];"},
    {"prompt", "num_virtual_tokens = 8;"},
    {"prefix", "num_virtual_tokens = 4; projection = false;"},
    {"prefix", "num_virtual_tokens = 4; encoder_hidden_size = 16;"},
    {"ptuning", "num_virtual_tokens = 8; encoder_hidden_size = 16;"},
    {"ptuning", "num_virtual_tokens = 8; encoder = \"lstm\"; encoder_hidden_size = 16;"},
};

static const char *python(void)
{
    const char *given = getenv("PB_PYTHON");
    return given != NULL && *given != '\0' ? given : "python3";
}

/* The exit status of check_peft.py. */
static int check(const char *arguments)
{
    char command[4096];
    snprintf(command, sizeof command, "OMP_NUM_THREADS=1 '%s' '%s' %s", python(),
             PB_SOURCE_DIR "/tests/golden/method/check_peft.py", arguments);
    int result = system(command);
    return WIFEXITED(result) ? WEXITSTATUS(result) : -1;
}

static void write_logits(pb_network *net, const golden_rows *rows, const char *folder)
{
    pb_batch_options packing = pb_network_batch_options(net, false);
    pb_batch batch;
    int32_t wanted[256];
    char *path     = NULL;
    int64_t length = rows->samples[0].length;
    int64_t vocab  = 512;
    packing.trim   = false;
    assert_true(length <= 256);
    assert_ok(pb_batch_build(rows->samples, 1, &packing, &batch));
    for (int64_t t = 0; t < length; t++) {
        wanted[t] = (int32_t)(batch.virtual_rows + t);
    }
    float *logits = calloc((size_t)(length * vocab), sizeof *logits);
    assert_non_null(logits);
    assert_ok(pb_network_logits(net, &batch, wanted, length, logits, NULL));
    pb_named_tensor file = {"logits", pb_tensor_2d(logits, PB_DTYPE_F32, length, vocab)};
    assert_ok(pb_path_join(folder, "logits.safetensors", &path));
    assert_ok(pb_safetensors_write(path, &file, 1, NULL));
    pb_memory_free(path);
    free(logits);
    pb_batch_clear(&batch);
}

/* Lets a method with its own schedule reach the end of it. */
static void run_schedule(pb_method *m)
{
    enum { STEPS = 9 };
    assert_ok(m->ops->begin_steps != NULL ? m->ops->begin_steps(m) : PB_OK);
    for (int64_t step = 1; m->ops->after_step != NULL && step <= STEPS; step++) {
        assert_ok(pb_copy(m->backend, &m->grads, &m->values));
        assert_ok(m->ops->after_step(m, step, STEPS));
    }
    assert_ok(pb_method_values_changed(m));
}

static void saved_adapters_compute_the_same_in_peft(void **state)
{
    (void)state;
    enum { CASES = sizeof cases / sizeof *cases };
    method_fixture f = {0};
    golden_rows rows;
    char folders[CASES][512];
    pb_string arguments = {0};
    f.backend           = device_open(1);
    assert_ok(pb_model_open(shared_path("models/tiny-llama3"), NULL, 1, &f.model));
    assert_ok(pb_weights_open(f.model, f.backend, pb_backend_border(f.backend), &f.weights));
    json_t *data = golden_json(shared_path("golden/data/tiny-llama3.json"));
    golden_rows_sequence(json_array_get(json_object_get(data, "sequences"), 0), &rows);
    assert_ok(pb_string_printf(&arguments, "'%s' '%s'", shared_path("models/tiny-llama3"),
                               shared_path("golden/data/tiny-llama3.json")));
    for (int i = 0; i < CASES; i++) {
        pb_network *net = NULL;
        pb_method *m    = method_fixture_make(&f, cases[i].method, cases[i].options, 3);
        method_fixture_scatter(m, (uint64_t)i, 0.2);
        run_schedule(m);
        method_fixture_folder(folders[i], sizeof folders[i]);
        assert_ok(pb_method_save(m, folders[i]));
        assert_ok(pb_network_create(f.weights, m, &net));
        write_logits(net, &rows, folders[i]);
        pb_network_destroy(net);
        pb_method_destroy(m);
        assert_ok(pb_string_printf(&arguments, " '%s'", folders[i]));
    }
    assert_int_equal(check(arguments.data), 0);
    for (int i = 0; i < CASES; i++) {
        method_fixture_remove(folders[i]);
    }
    pb_string_clear(&arguments);
    golden_rows_free(&rows);
    json_decref(data);
    method_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saved_adapters_compute_the_same_in_peft),
    };
    shared_directory();
    if (check("--available") != 0) {
        fprintf(stderr, "%s has no torch, transformers and peft: set PB_PYTHON\n", python());
        return 77;
    }
    return cmocka_run_group_tests_name("golden_method_peft", tests, NULL, NULL);
}
