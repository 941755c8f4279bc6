// SPDX-License-Identifier: Apache-2.0
/* Unsupported forms of weights, recognised by file name, so that the message can say how to obtain
 * safetensors. */
#include "pb/file.h"
#include "pb/memory.h"
#include "pb/safetensors.h"

#include <string.h>

typedef struct form {
    const char *pattern; /* of a file's name */
    const char *what;
    const char *remedy; /* with one %s, the folder */
} form;

#define SAVED(more)                                                       \
    "load and save it once with transformers, which writes safetensors: " \
    "AutoModelForCausalLM.from_pretrained(\"%s\"" more ").save_pretrained(\"NEW\")"
#define PICKLE "a pickle of PyTorch"
#define CONVERTED                                                                    \
    "download the checkpoint in Hugging Face layout, or convert it with the script " \
    "convert_…_weights_to_hf.py of its model in transformers (--input_dir %s)"

static const form model_forms[] = {
    {"pytorch_model.bin", PICKLE, SAVED("")},
    {"pytorch_model.bin.index.json", "the index of pickles of PyTorch", SAVED("")},
    {"pytorch_model*.bin", PICKLE, SAVED("")},
    {"*.gguf", "a file of llama.cpp", SAVED(", gguf_file=\"…\"")},
    {"consolidated*.pth", "in the layout of the model's makers", CONVERTED},
    {"consolidated*.safetensors", "in the layout of the model's makers", CONVERTED},
    {"tf_model*.h5", "of TensorFlow", SAVED(", from_tf=True") ", with transformers 4"},
    {"flax_model*.msgpack", "of Flax", SAVED(", from_flax=True") ", with transformers 4"},
    {"adapter_config.json", "of an adapter, no model",
     "give %s as --adapter, and the folder of its base model as --model"},
    {"model-*-of-*.safetensors", "a shard without its index",
     "copy or download the whole folder %s again, with model.safetensors.index.json"},
    {"*.bin", PICKLE, SAVED("")},
    {"*.pt", PICKLE, SAVED("")},
    {"*.pth", PICKLE, SAVED("")},
    {"*.ckpt", "a checkpoint of a training program",
     "load its state_dict into the model in %s with PyTorch, and save that with save_pretrained"},
    {"*.npz", "of MLX or NumPy", "download the checkpoint in Hugging Face layout to %s"},
    {"*.onnx", "of ONNX", "download the checkpoint in Hugging Face layout to %s"},
    {"*.safetensors", "a safetensors file of another name",
     "rename it to model.safetensors if it holds the whole model in %s"},
};

#define PEFT_SAVED                                                                            \
    "load and save it once with HF PEFT, which writes safetensors: "                          \
    "PeftModel.from_pretrained(BASE, \"%s\").save_pretrained(\"NEW\"), BASE being the model " \
    "that it was trained on"

static const form adapter_forms[] = {
    {"adapter_model*.bin", PICKLE, PEFT_SAVED},
    {"adapter*.bin", PICKLE, PEFT_SAVED},
    {"*.pt", PICKLE, PEFT_SAVED},
    {"*.pth", PICKLE, PEFT_SAVED},
    {"*.ckpt", "a checkpoint of a training program",
     "load its state_dict into the adapter in %s with HF PEFT, and save that with save_pretrained"},
    {"*.gguf", "a file of llama.cpp", "download the adapter as HF PEFT saves it to %s"},
    {"*.npz", "of MLX or NumPy", "download the adapter as HF PEFT saves it to %s"},
    {"*.msgpack", "of Flax", "download the adapter as HF PEFT saves it to %s"},
    {"model*.safetensors", "of a whole model, no adapter", "give %s as --model"},
    {"pytorch_model*.bin", "of a whole model, no adapter", PEFT_SAVED},
    {"*.safetensors", "a safetensors file of another name",
     "rename it to adapter_model.safetensors if it is that of the adapter in %s"},
    {"*.bin", PICKLE, PEFT_SAVED},
};

/* The first form with a file in the folder. */
static pb_status find_form(const char *directory, const form *forms, size_t count,
                           const form **found, char **name)
{
    *found = NULL;
    for (size_t i = 0; i < count && *found == NULL; i++) {
        PB_TRY(pb_path_match(directory, forms[i].pattern, name));
        *found = *name != NULL ? &forms[i] : NULL;
    }
    return PB_OK;
}

static pb_status append_remedy(const char *remedy, const char *directory, pb_string *out)
{
    const char *at = strstr(remedy, "%s");

    PB_TRY(pb_string_append(out, remedy, (size_t)(at - remedy)));
    PB_TRY(pb_string_puts(out, directory));
    return pb_string_puts(out, at + 2);
}

pb_status pb_safetensors_missing(const char *directory, const char *wanted, bool adapter)
{
    const form *forms = adapter ? adapter_forms : model_forms;
    size_t count =
        adapter ? sizeof adapter_forms / sizeof *forms : sizeof model_forms / sizeof *forms;
    const form *found = NULL;
    char *name        = NULL;
    pb_string remedy  = {0};
    pb_status status  = PB_OK;

    PB_TRY(find_form(directory, forms, count, &found, &name));
    if (found == NULL) {
        return PB_FAIL(PB_ERR_NOT_FOUND,
                       "%s holds no %s; give the folder of %s in safetensors form", directory,
                       wanted, adapter ? "an adapter" : "a checkpoint");
    }
    PB_TRY_GOTO(status, append_remedy(found->remedy, directory, &remedy), out_name);
    status = PB_FAIL(PB_ERR_NOT_FOUND, "%s holds no %s, but %s (%s), which is not read here; %s",
                     directory, wanted, name, found->what, remedy.data);
out_name:
    pb_string_clear(&remedy);
    pb_memory_free(name);
    return status;
}
