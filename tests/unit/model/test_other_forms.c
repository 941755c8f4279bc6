// SPDX-License-Identifier: Apache-2.0
/* Folders with weights in unsupported forms: the message names the file and the remedy. */
#include "fixture.h"

#include "pb/memory.h"
#include "pb/safetensors.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct known {
    const char *name, *remedy;
} known;

static const char *folder_with(const char *name)
{
    char path[1024];

    fixture_remove(); /* left by the previous case; the next call creates another one */
    const char *folder = fixture_path("folder");
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fixture_write_text(path, "x");
    return folder;
}

static void checkpoints_in_other_forms_are_named_with_the_way_out(void **state)
{
    static const known forms[] = {
        {"pytorch_model.bin", "AutoModelForCausalLM.from_pretrained("},
        {"pytorch_model.bin.index.json", ".save_pretrained("},
        {"pytorch_model-00001-of-00002.bin", ".save_pretrained("},
        {"model.pt", ".save_pretrained("},
        {"model.pth", ".save_pretrained("},
        {"last.ckpt", "state_dict"},
        {"model-q4_k_m.gguf", "gguf_file="},
        {"consolidated.00.pth", "convert_"},
        {"consolidated.safetensors", "convert_"},
        {"tf_model.h5", "from_tf=True"},
        {"flax_model.msgpack", "from_flax=True"},
        {"model.onnx", "download"},
        {"weights.npz", "download"},
        {"adapter_config.json", "--adapter"},
        {"model-00001-of-00002.safetensors", "model.safetensors.index.json"},
        {"other.safetensors", "rename it to model.safetensors"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        pb_safetensors *file = NULL;
        const char *folder   = folder_with(forms[i].name);
        fixture_expect(pb_safetensors_open(folder, &file), PB_ERR_NOT_FOUND, folder,
                       "model.safetensors", forms[i].name, "not read here", forms[i].remedy, NULL);
    }
}

static void adapters_in_other_forms_are_named_with_the_way_out(void **state)
{
    static const known forms[] = {
        {"adapter_model.bin", "PeftModel.from_pretrained("},
        {"adapter_model-00001-of-00002.bin", ".save_pretrained("},
        {"adapter_model.pt", "PeftModel.from_pretrained("},
        {"adapter.ckpt", "state_dict"},
        {"adapter.gguf", "download the adapter"},
        {"model.safetensors", "--model"},
        {"pytorch_model.bin", "PeftModel.from_pretrained("},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const char *folder = folder_with(forms[i].name);
        fixture_expect(pb_safetensors_missing(folder, "adapter_model.safetensors", true),
                       PB_ERR_NOT_FOUND, folder, "adapter_model.safetensors", forms[i].name,
                       "not read here", forms[i].remedy, NULL);
    }
}

static void folders_without_any_form_say_what_is_looked_for(void **state)
{
    pb_safetensors *file = NULL;

    (void)state;
    fixture_expect(pb_safetensors_open(folder_with("README.md"), &file), PB_ERR_NOT_FOUND,
                   "model.safetensors, nor model.safetensors.index.json", NULL);
    fixture_expect(
        pb_safetensors_missing(folder_with("README.md"), "adapter_model.safetensors", true),
        PB_ERR_NOT_FOUND, "adapter_model.safetensors", "an adapter", NULL);
}

static void other_forms_under_the_right_name_are_recognised(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *word;
    } files[] = {
        {"PK\x03\x04\0\0\x08\x08\0\0\0\0\0\0\0\0", 16, "torch.save"},
        {"\x80\x02\x8a\x0alf\xc9\x46\xf9\x20", 10, "torch.save"},
        {"GGUF\x03\0\0\0\0\0\0\0", 12, "GGUF"},
        {"\x89HDF\r\n\x1a\n", 8, "HDF5"},
        {"<!doctype html>", 15, "an HTML page"},
        {"", 0, "is empty"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        pb_safetensors *file = NULL;
        const char *folder   = folder_with("x");
        const char *path     = fixture_path("folder/model.safetensors");
        fixture_write(path, files[i].bytes, files[i].size);
        pb_status status = pb_safetensors_open(folder, &file);
        fixture_expect(status, i < 4 ? PB_ERR_UNSUPPORTED : PB_ERR_FORMAT, path, files[i].word,
                       NULL);
    }
}

static void a_shard_that_is_not_there_is_named_with_its_index(void **state)
{
    pb_safetensors *file = NULL;

    (void)state;
    const char *folder = folder_with("model.safetensors.index.json");
    fixture_write_text(fixture_path("folder/model.safetensors.index.json"),
                       "{\"weight_map\": {\"a\": \"model-00001-of-00001.safetensors\"}}");
    fixture_expect(pb_safetensors_open(folder, &file), PB_ERR_NOT_FOUND,
                   "model.safetensors.index.json", "model-00001-of-00001.safetensors",
                   "not in the folder", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_in_other_forms_are_named_with_the_way_out),
        cmocka_unit_test(adapters_in_other_forms_are_named_with_the_way_out),
        cmocka_unit_test(folders_without_any_form_say_what_is_looked_for),
        cmocka_unit_test(other_forms_under_the_right_name_are_recognised),
        cmocka_unit_test(a_shard_that_is_not_there_is_named_with_its_index),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_finish);
}
