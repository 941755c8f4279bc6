// SPDX-License-Identifier: Apache-2.0
/* Where methods act: lists, regular expressions, layers and exclusions, from a configuration and
 * from an adapter_config.json, and patterns of widths and scales. */
#include "method_fixture.h"

#include "pb/adapter.h"
#include "pb/file.h"
#include "pb/memory.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Loads a configuration with the tensors that the method creates under `options`, and describes
 * where it acts: "0.q_proj 1.q_proj". */
static void check_targets(const method_fixture *f, const char *method, const char *options,
                          const char *json, const char *expected)
{
    char folder[512];
    pb_method *back = NULL;
    pb_string text  = {0};
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(f, method, options, 4);
    method_fixture_scatter(m, 9, 0.5);
    assert_ok(pb_method_save(m, folder));
    method_fixture_write(folder, "adapter_config.json", json);
    assert_ok(pb_method_load(folder, NULL, f->model, f->backend, 1, &back));
    method_fixture_same(m, back);
    for (int64_t i = 0; i < pb_model_site_count(f->model); i++) {
        const pb_site *site = pb_model_site_at(f->model, i);
        if (back->sites[i] >= 0) {
            assert_ok(pb_string_printf(&text, "%s%d.%s", text.length > 0 ? " " : "", site->layer,
                                       strrchr(site->hf_name, '.') + 1));
        }
    }
    assert_string_equal(text.data, expected);
    pb_string_clear(&text);
    pb_method_destroy(back);
    pb_method_destroy(m);
    method_fixture_remove(folder);
}

#define TARGETS(targets, rest) \
    "{\"peft_type\": \"LORA\", \"r\": 3, \"target_modules\": " targets rest "}"
#define ALL "q_proj 0.k_proj 0.v_proj 0.o_proj 0.gate_proj 0.up_proj 0.down_proj"

static void targets_are_chosen_as_in_peft(void **state)
{
    (void)state;
    static const struct {
        const char *options, *json, *expected;
    } cases[] = {
        {"targets = [\"q_proj\"];", TARGETS("[\"q_proj\", \"q_proj\"]", ""),
         "0.q_proj 1.q_proj 2.q_proj"},
        {"targets = [\"q_proj\"];", TARGETS("\".*\\\\.q_proj\"", ""), "0.q_proj 1.q_proj 2.q_proj"},
        {"targets = [\"layers.1.self_attn.q_proj\"];",
         TARGETS("\"model\\\\.layers\\\\.1\\\\.(?!mlp).*q.*\"", ""), "1.q_proj"},
        {"targets = [\"q_proj\"]; layers = [1];",
         TARGETS("[\"q_proj\"]", ", \"layers_to_transform\": 1"), "1.q_proj"},
        {"targets = [\"q_proj\"]; layers = [0, 1]; layer_lists = [\"layers\"];",
         TARGETS("[\"q_proj\"]",
                 ", \"layers_to_transform\": [1, 0], \"layers_pattern\": \"(h|layers)\""),
         "0.q_proj 1.q_proj"},
        /* layers narrow ends of paths, not paths */
        {"targets = [\"model.layers.0.mlp.up_proj\", \"q_proj\"]; layers = [1];",
         TARGETS("[\"model.layers.0.mlp.up_proj\", \"q_proj\"]", ", \"layers_to_transform\": [1]"),
         "0.up_proj 1.q_proj"},
        {"targets = [\"q_proj\", \"up_proj\"]; exclude = [\"layers.0.mlp.up_proj\"];",
         TARGETS("[\"q_proj\", \"up_proj\"]", ", \"exclude_modules\": [\"0.mlp.up_proj\"]"),
         "0.q_proj 1.q_proj 1.up_proj 2.q_proj 2.up_proj"},
        {"targets = [\"q_proj\", \"up_proj\"]; exclude_pattern = \".*1.*\";",
         TARGETS("[\"q_proj\", \"up_proj\"]", ", \"exclude_modules\": \".*1.*\""),
         "0.q_proj 0.up_proj 2.q_proj 2.up_proj"},
        {"targets = [\"all-linear\"]; exclude_pattern = \".*\\\\.[12]\\\\..*\";",
         TARGETS("\"ALL-linear\"", ", \"exclude_modules\": \".*\\\\.[12]\\\\..*\""), "0." ALL},
    };
    method_fixture f;
    method_fixture_open(&f, false, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char options[256];
        snprintf(options, sizeof options, "r = 3; %s", cases[i].options);
        check_targets(&f, "lora", options, cases[i].json, cases[i].expected);
    }
    check_targets(&f, "ia3", "targets = [\"k_proj\", \"up_proj\"]; feedforward = [\"up_proj\"];",
                  "{\"peft_type\": \"IA3\", \"target_modules\": [\"k_proj\", \"up_proj\"], "
                  "\"feedforward_modules\": \".*mlp.*\"}",
                  "0.k_proj 0.up_proj 1.k_proj 1.up_proj 2.k_proj 2.up_proj");
    method_fixture_close(&f);
}

/* The saved file means the same, with the keys that HF PEFT has. */
static void narrowed_targets_and_patterns_survive(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"lora", "r = 3; rank_pattern = [\"^model.*q_proj=5\", \"q_proj=4\"]; alpha_pattern = "
                 "[\"layers.1.self_attn.q_proj=0.5\"]; targets = [\"q_proj\", \"k_proj\"];"},
        {"lora", "r = 3; targets = [\"q_proj\"]; layers = [1];"},
        {"lora", "r = 3; target_pattern = \".*(q|k)_proj\";"},
        {"lora", "r = 3; targets = [\"all-linear\"];"},
        {"dora", "r = 3; target_pattern = \".*(q|k)_proj\"; exclude = [\"1.self_attn.k_proj\"];"},
        {"ia3", "targets = [\"all-linear\"]; feedforward_pattern = \".*up_proj\"; "
                "exclude = [\"o_proj\"];"},
        {"lntuning", "target_pattern = \".*norm\";"},
        {"bitfit", "targets = [\"q_proj\"]; layers = [0];"},
    };
    method_fixture f;
    char folder[512];
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_method *back = NULL;
        pb_method *m    = method_fixture_make(&f, cases[i][0], cases[i][1], 4);
        assert_ok(pb_method_save(m, folder));
        assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 1, &back));
        assert_string_equal(back->ops->name, cases[i][0]);
        method_fixture_same(m, back);
        pb_method_destroy(back);
        pb_method_destroy(m);
    }
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* HF PEFT refuses a list of feed-forward modules whose texts are not all among the targets. */
static void listed_feedforward_modules_are_saved_as_targets_too(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "targets = [\"k_proj\", \"down_proj\"]; exclude = [\"layers.0.mlp.down_proj\"];",
        "targets = [\"k_proj\", \"down_proj\"]; layers = [1];",
        "targets = [\"all-linear\"]; exclude = [\"o_proj\"]; feedforward = [\"down_proj\"];",
        "target_pattern = \".*(k|down)_proj\"; exclude_pattern = \".*0.*\";",
        "targets = [\"self_attn.k_proj\", \"mlp.down_proj\"];",
        "targets = [\"k_proj\", \"down_proj\"];",
    };
    method_fixture f;
    char folder[512];
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path      = NULL;
        pb_method *back = NULL;
        pb_method *m    = method_fixture_make(&f, "ia3", cases[i], 4);
        assert_ok(pb_method_save(m, folder));
        assert_ok(pb_path_join(folder, "adapter_config.json", &path));
        json_t *json = json_load_file(path, 0, NULL);
        json_t *all = json_object_get(json, "target_modules"), *listed = NULL, *module = NULL;
        size_t k, n;
        listed = json_object_get(json, "feedforward_modules");
        assert_true(json_array_size(listed) > 0);
        json_array_foreach(listed, k, module)
        {
            bool found = false;
            for (n = 0; n < json_array_size(all) && !found; n++) {
                found = json_equal(module, json_array_get(all, n)) != 0;
            }
            assert_true(found);
        }
        json_decref(json);
        assert_ok(pb_method_load(folder, NULL, f.model, f.backend, 1, &back));
        method_fixture_same(m, back);
        pb_method_destroy(back);
        pb_method_destroy(m);
        pb_memory_free(path);
    }
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

static void options_that_name_nothing_are_errors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"layers = [0, 3];", "layer 3 is not in this model, which has 0 … 2"},
        {"target_pattern = \".*x_proj\";", "target \".*x_proj\" matches no module"},
        {"target_pattern = \".*q_proj)\";", "has a ) without its ("},
        {"target_pattern = \"([a-z._0-9]+)+[!?]\";", "match limit exceeded"},
        {"target_pattern = \".*q_proj\"; layers = [0];", "layers narrow a list of targets alone"},
        {"layer_lists = [\"layers\"];", "layer_lists is given without layers"},
        {"targets = [\"k_proj\"]; target_pattern = \".*q_proj\";",
         "target_pattern takes the place of targets, which is also given"},
        {"layers = [1]; layer_lists = [\"h\"];",
         "test:1: lora: layers and exclude leave none of the targets"},
        {"exclude_pattern = \"(\";", "has a ( without its )"},
        {"rank_pattern = [\"q_proj=3\"];", "\"q_proj\" matches none of the targets"},
        {"rank_pattern = [\"k_proj=0\"];", "a whole number of 1 … 1048576"},
        {"rank_pattern = [\"k_proj\"];", "\"k_proj\" is not a pattern, =, and"},
        {"alpha_pattern = [\"k_proj=x\"];", "\"k_proj=x\" is not a pattern"},
        {"alpha_pattern = [\"(k_proj=1\"];",
         "expression \"(k_proj\" has a ( without its ) (byte 7)"},
        {"rank_pattern = [\"k_proj=3\", \"v_proj=2\", \"k_proj=5\"];",
         "\"k_proj=3\" and \"k_proj=5\" have the same pattern"},
    };
    method_fixture f;
    pb_method *m = NULL;
    method_fixture_open(&f, false, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pb_status status = method_fixture_try(&f, "lora", cases[i][0], 1, &m);
        assert_true(status == PB_ERR_CONFIG || status == PB_ERR_FORMAT);
        assert_error(status, status, cases[i][1]);
        assert_null(m);
    }
    assert_error(
        method_fixture_try(
            &f, "ia3", "feedforward = [\"down_proj\"]; feedforward_pattern = \".*mlp.*\";", 1, &m),
        PB_ERR_CONFIG, "feedforward_pattern takes the place of feedforward");
    assert_ok(method_fixture_try(&f, "ia3", "feedforward = []; feedforward_pattern = \".*mlp.*\";",
                                 1, &m));
    pb_method_destroy(m);
    method_fixture_close(&f);
}

static void options_of_adalora_and_vera_are_checked(void **state)
{
    (void)state;
#define ADALORA(rest) "{\"peft_type\": \"ADALORA\", \"target_modules\": [\"q_proj\"]" rest "}"
    static const struct {
        const char *json, *text;
    } cases[] = {
        {ADALORA(", \"target_r\": 13"), "target_r is above init_r"},
        {ADALORA(", \"tinit\": 3, \"tfinal\": 7, \"total_step\": 10"),
         "tinit 3 and tfinal 7 leave none of 10 steps"},
        {ADALORA(", \"beta1\": 1.0"), "beta1 and beta2 must be between 0 and 1"},
        {ADALORA(", \"lora_alpha\": 0"), "only a scale above 0"},
        {ADALORA(", \"use_dora\": true"), "use_dora = true"},
        {ADALORA(", \"rank_pattern\": [1]"), "rank_pattern must be an object"},
        {ADALORA(", \"rank_pattern\": {\"model.layers.0.self_attn.q_proj.lora_E\": [1]}"),
         "rank_pattern must hold lists of true and false"},
        {ADALORA(", \"rank_pattern\": {\"model.layers.0.self_attn.q_proj.lora_E\": [true]}"),
         "rank_pattern of model.layers.0.self_attn.q_proj is not one of 12 rows"},
        {ADALORA(", \"rank_pattern\": {\"a.lora_E\": [true], \"a\": [false]}"),
         "\"a=0\" and \"a=1\" have the same pattern"},
        {"{\"peft_type\": \"VERA\", \"target_modules\": [\"q_proj\"], \"projection_prng_key\": "
         "0.5}",
         "projection_prng_key must be an integer"},
    };
    method_fixture f;
    char folder[512];
    pb_method *back = NULL;
    method_fixture_open(&f, false, false);
    method_fixture_folder(folder, sizeof folder);
    pb_method *m = method_fixture_make(&f, "adalora", "targets = [\"q_proj\"];", 4);
    assert_ok(pb_method_save(m, folder));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        method_fixture_write(folder, "adapter_config.json", cases[i].json);
        pb_status status = pb_method_load(folder, NULL, f.model, f.backend, 1, &back);
        assert_true(status == PB_ERR_FORMAT || status == PB_ERR_UNSUPPORTED);
        assert_error(status, status, cases[i].text);
    }
    pb_method_destroy(m);
    method_fixture_remove(folder);
    method_fixture_close(&f);
}

/* The first matching pattern counts; it matches the path, or the part after one of its dots. */
static void patterns_set_widths_and_scales(void **state)
{
    (void)state;
    method_fixture f;
    method_fixture_open(&f, false, false);
    pb_method *m = method_fixture_make(
        &f, "lora",
        "r = 3; dropout = 0.0; targets = [\"q_proj\", \"up_proj\"]; rank_pattern = "
        "[\"1.self_attn.q_proj=5\", \"up_.*=2\", \"q_proj=4\"];",
        1);
    static const struct {
        const char *name;
        int64_t r;
    } expected[] = {
        {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", 4},
        {"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", 5},
        {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", 2},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(method_fixture_find(m, expected[i].name)->shape[0], expected[i].r);
    }
    pb_method_destroy(m);
    method_fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_chosen_as_in_peft),
        cmocka_unit_test(narrowed_targets_and_patterns_survive),
        cmocka_unit_test(listed_feedforward_modules_are_saved_as_targets_too),
        cmocka_unit_test(options_that_name_nothing_are_errors),
        cmocka_unit_test(options_of_adalora_and_vera_are_checked),
        cmocka_unit_test(patterns_set_widths_and_scales),
    };
    return cmocka_run_group_tests_name("unit_method_targets", tests, NULL, NULL);
}
