// SPDX-License-Identifier: Apache-2.0
/* config.json: both styles of keys, defaults, bounds, and everything refused by name. Each case
 * replaces or adds keys in a valid file. */
#include "fixture.h"

#include "pb/memory.h"
#include "pb/random.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_MAX 4096

/* A valid file line by line, so that a case can leave out the line of its key. */
static const char *const base_lines[] = {
    "\"architectures\":[\"LlamaForCausalLM\"]",
    "\"model_type\":\"llama\"",
    "\"hidden_size\":8",
    "\"intermediate_size\":12",
    "\"num_hidden_layers\":1",
    "\"num_attention_heads\":2",
    "\"num_key_value_heads\":1",
    "\"vocab_size\":16",
    "\"max_position_embeddings\":32",
    "\"rms_norm_eps\":1e-05",
    "\"tie_word_embeddings\":true",
};

/* Writes the base without the key `without` and with the members `with` (either may be NULL). */
static const char *write_config(const char *without, const char *with)
{
    char text[FILE_MAX];
    size_t used      = 0;
    const char *path = fixture_path("config");
    (void)mkdir(path, 0700);
    for (size_t i = 0; i < sizeof base_lines / sizeof base_lines[0]; i++) {
        size_t length = without != NULL ? strlen(without) : 0;
        if (without != NULL && strncmp(base_lines[i] + 1, without, length) == 0 &&
            base_lines[i][1 + length] == '"') {
            continue;
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used == 0 ? "{" : ",\n",
                                 base_lines[i]);
    }
    if (with != NULL) {
        used += (size_t)snprintf(text + used, sizeof text - used, ",\n%s", with);
    }
    used += (size_t)snprintf(text + used, sizeof text - used, "}\n");
    assert_true(used < sizeof text);
    fixture_write(fixture_path("config/config.json"), text, used);
    return path;
}

static pb_model_config read_config(const char *without, const char *with)
{
    pb_model_config config = {0};
    pb_status status       = pb_model_config_read(write_config(without, with), &config);
    if (status != PB_OK) {
        print_message("%s\n", pb_error_message());
    }
    assert_int_equal(status, PB_OK);
    return config;
}

static void expect_refused(const char *without, const char *with, pb_status expected,
                           const char *word)
{
    pb_model_config config = {.layers = 4711};
    size_t held            = pb_memory_current();
    fixture_expect(pb_model_config_read(write_config(without, with), &config), expected,
                   "config.json", word, NULL);
    assert_int_equal(config.layers, 4711); /* unchanged on failure */
    assert_int_equal(pb_memory_current(), held);
}

static void keys_that_are_absent_have_the_defaults_of_the_class(void **state)
{
    (void)state;
    pb_model_config c = read_config("num_key_value_heads", NULL);
    assert_string_equal(pb_model_architecture(&c), "LlamaForCausalLM");
    assert_int_equal(c.layers, 1);
    assert_int_equal(c.width, 8);
    assert_int_equal(c.heads, 2);
    assert_int_equal(c.kv_heads, 2);
    assert_int_equal(c.head_dim, 4);
    assert_int_equal(c.ff, 12);
    assert_int_equal(c.vocab, 16);
    assert_int_equal(c.max_positions, 32);
    assert_true(c.rms_eps == 1e-5);
    assert_true(c.tied);
    assert_false(c.qkv_bias);
    assert_false(c.o_bias);
    assert_false(c.mlp_bias);
    assert_int_equal(c.rope.type, PB_ROPE_DEFAULT);
    assert_true(c.rope.theta == 10000.0);
    assert_int_equal(c.bos_id, 1);
    assert_int_equal(c.eos_count, 1);
    assert_int_equal(c.eos_ids[0], 2);
    assert_false(read_config("tie_word_embeddings", NULL).tied);
}

static void null_counts_as_absent(void **state)
{
    (void)state;
    pb_model_config c = read_config(
        "num_key_value_heads",
        "\"num_key_value_heads\":null,\"head_dim\":null,\"rope_theta\":null,\"rope_scaling\":null,"
        "\"rope_parameters\":null,\"attention_bias\":null,\"hidden_act\":null,\"torch_dtype\":null,"
        "\"sliding_window\":null,\"quantization_config\":null,\"bos_token_id\":null,"
        "\"eos_token_id\":null,\"pad_token_id\":null");
    assert_int_equal(c.kv_heads, 2);
    assert_int_equal(c.head_dim, 4);
    assert_true(c.rope.theta == 10000.0);
    assert_int_equal(c.bos_id, -1);
    assert_int_equal(c.eos_count, 0);
}

static void end_tokens_are_a_number_or_a_list(void **state)
{
    (void)state;
    pb_model_config c = read_config(NULL, "\"eos_token_id\":[3,5,7],\"bos_token_id\":15");
    assert_int_equal(c.bos_id, 15);
    assert_int_equal(c.eos_count, 3);
    assert_int_equal(c.eos_ids[0], 3);
    assert_int_equal(c.eos_ids[2], 7);
    assert_int_equal(read_config(NULL, "\"eos_token_id\":0").eos_ids[0], 0);
    assert_int_equal(read_config(NULL, "\"eos_token_id\":[]").eos_count, 0);
    expect_refused(NULL, "\"eos_token_id\":16", PB_ERR_FORMAT, "eos_token_id");
    expect_refused(NULL, "\"eos_token_id\":-1", PB_ERR_FORMAT, "eos_token_id");
    expect_refused(NULL, "\"eos_token_id\":[1,null]", PB_ERR_FORMAT, "eos_token_id");
    expect_refused(NULL, "\"eos_token_id\":[0,1,2,3,4,5,6,7,8]", PB_ERR_UNSUPPORTED,
                   "eos_token_id");
    expect_refused(NULL, "\"bos_token_id\":\"<s>\"", PB_ERR_FORMAT, "bos_token_id");
}

#define LLAMA3                                                         \
    "\"factor\":8.0,\"low_freq_factor\":1.0,\"high_freq_factor\":4.0," \
    "\"original_max_position_embeddings\":64"

static void expect_llama3(const char *with)
{
    pb_model_config c = read_config(NULL, with);
    assert_int_equal(c.rope.type, PB_ROPE_LLAMA3);
    assert_true(c.rope.theta == 500000.0);
    assert_true(c.rope.factor == 8.0);
    assert_true(c.rope.low_freq == 1.0);
    assert_true(c.rope.high_freq == 4.0);
    assert_int_equal(c.rope.original_positions, 64);
}

static void rope_is_read_in_the_old_and_the_new_style(void **state)
{
    (void)state;
    expect_llama3("\"rope_theta\":500000,\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3 "}");
    expect_llama3("\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3 "}");
    expect_llama3("\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"llama3\"," LLAMA3
                  "}");
    expect_llama3("\"rope_theta\":500000,\"rope_parameters\":{\"rope_theta\":500000.0,"
                  "\"rope_type\":\"llama3\"," LLAMA3 "}");
    pb_model_config c =
        read_config(NULL, "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":77.0}");
    assert_int_equal(c.rope.type, PB_ROPE_DEFAULT);
    assert_true(c.rope.theta == 77.0);
    /* Without a type; the old context beside the object overrides the one inside. */
    c = read_config(NULL, "\"rope_parameters\":{\"rope_theta\":78.0}");
    assert_true(c.rope.type == PB_ROPE_DEFAULT && c.rope.theta == 78.0);
    c = read_config(NULL, "\"original_max_position_embeddings\":16,"
                          "\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3 "}");
    assert_int_equal(c.rope.original_positions, 16);
    c = read_config(NULL, "\"original_max_position_embeddings\":16,"
                          "\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":2.0}");
    assert_int_equal(c.rope.original_positions, 16);
}

#define OLD_LLAMA3 "\"rope_scaling\":{\"type\":\"llama3\"," LLAMA3 "}"

/* The same in other words: 8 for 8.0, null for absent, theta inside, outside or in both. */
#define NEW_LLAMA3(more)                                                                \
    "\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1," \
    "\"high_freq_factor\":4,\"original_max_position_embeddings\":64.0,\"beta_fast\":null" more "}"

static void both_spellings_of_rope_may_stand_together_when_they_mean_the_same(void **state)
{
    static const char *const same[] = {
        "\"rope_theta\":500000," OLD_LLAMA3 "," NEW_LLAMA3(""),
        "\"rope_theta\":5e5," OLD_LLAMA3 "," NEW_LLAMA3(",\"rope_theta\":500000"),
        "\"rope_theta\":500000.0,\"rope_scaling\":null," NEW_LLAMA3(""),
        "\"rope_theta\":500000.0,\"rope_scaling\":{}," NEW_LLAMA3(""),
        "\"rope_theta\":500000.0,\"rope_parameters\":{}," OLD_LLAMA3,
        "\"rope_scaling\":{\"rope_theta\":5e5,\"rope_type\":\"llama3\"," LLAMA3
        "}," NEW_LLAMA3(",\"rope_theta\":500000"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        expect_llama3(same[i]);
    }
    pb_model_config c =
        read_config(NULL, "\"rope_theta\":77,\"rope_scaling\":{\"rope_type\":\"default\"},"
                          "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":77.0}");
    assert_true(c.rope.type == PB_ROPE_DEFAULT && c.rope.theta == 77.0);
    c = read_config(NULL, "\"rope_scaling\":{\"type\":\"linear\",\"factor\":1},"
                          "\"rope_parameters\":{\"rope_type\":\"default\"}");
    assert_true(c.rope.factor == 1.0);
    /* The defaults of yarn, once omitted and once written out. */
    c = read_config(NULL,
                    "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":1.0},"
                    "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":1,\"beta_fast\":32,"
                    "\"beta_slow\":1,\"attention_factor\":1,\"truncate\":true}");
    assert_int_equal(c.rope.type, PB_ROPE_YARN);
}

static void spellings_of_rope_that_mean_different_things_are_refused_with_both_values(void **state)
{
    static const struct {
        const char *old, *new, *word;
    } cases[] = {
        {"\"type\":\"linear\",\"factor\":8", "\"rope_type\":\"linear\",\"factor\":4.0",
         "factor is 8 in the one and 4 in the other"},
        {"\"type\":\"linear\",\"factor\":8", "\"rope_type\":\"dynamic\",\"factor\":8",
         "rope_type is \"linear\" in the one and \"dynamic\" in the other"},
        {"\"type\":\"linear\",\"factor\":8", "\"rope_type\":\"default\"",
         "rope_type is \"linear\" in the one and \"default\" in the other"},
        {"\"type\":\"dynamic\",\"factor\":1", "\"rope_type\":\"default\"",
         "rope_type is \"dynamic\" in the one and \"default\" in the other"},
        {"\"type\":\"linear\",\"factor\":8",
         "\"rope_type\":\"linear\",\"factor\":8,\"rope_theta\":77",
         "rope_theta is 10000 in the one and 77 in the other"},
        {"\"type\":\"llama3\"," LLAMA3,
         "\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1,\"high_freq_factor\":4,"
         "\"original_max_position_embeddings\":32",
         "original_max_position_embeddings is 64 in the one and 32 in the other"},
        {"\"type\":\"yarn\",\"factor\":2", "\"rope_type\":\"yarn\",\"factor\":2,\"beta_fast\":16",
         "beta_fast is 32 in the one and 16 in the other"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[512];
        (void)snprintf(text, sizeof text, "\"rope_scaling\":{%s},\"rope_parameters\":{%s}",
                       cases[i].old, cases[i].new);
        expect_refused(NULL, text, PB_ERR_FORMAT, cases[i].word);
    }
}

static pb_status parse_gemma3(const char *rope, pb_model_config *config)
{
    char text[FILE_MAX];
    (void)snprintf(text, sizeof text,
                   "{\"architectures\":[\"Gemma3ForCausalLM\"],\"num_hidden_layers\":2,"
                   "\"hidden_size\":8,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
                   "\"head_dim\":4,\"intermediate_size\":8,\"vocab_size\":16,"
                   "\"sliding_window_pattern\":2,\"sliding_window\":4,%s}",
                   rope);
    return pb_model_config_parse(text, strlen(text), "config.json", config);
}

#define GEMMA3_OLD                                           \
    "\"rope_theta\":1000000,\"rope_local_base_freq\":10000," \
    "\"rope_scaling\":{\"type\":\"linear\",\"factor\":8}"
#define GEMMA3_FULL(factor) \
    "\"full_attention\":{\"rope_type\":\"linear\",\"rope_theta\":1e6,\"factor\":" factor "}"
#define GEMMA3_SLIDING(theta) \
    "\"sliding_attention\":{\"rope_type\":\"default\",\"rope_theta\":" theta "}"

static void gemma3_has_a_rope_for_each_type_of_layer_in_either_spelling(void **state)
{
    static const char *const same[] = {
        GEMMA3_OLD,
        "\"rope_parameters\":{" GEMMA3_FULL("8.0") "," GEMMA3_SLIDING("1e4") "}",
        GEMMA3_OLD ",\"rope_parameters\":{" GEMMA3_FULL("8.0") "," GEMMA3_SLIDING("1e4") "}",
        GEMMA3_OLD ",\"rope_parameters\":{" GEMMA3_FULL("8.0") ",\"sliding_attention\":null}",
        "\"rope_parameters\":{" GEMMA3_FULL("8.0") "}", /* the other one has its defaults */
    };
    static const struct {
        const char *rope, *word;
    } refused[] = {
        {GEMMA3_OLD ",\"rope_parameters\":{" GEMMA3_FULL("4") "," GEMMA3_SLIDING("1e4") "}",
         "for full_attention: factor is 8 in the one and 4 in the other"},
        {GEMMA3_OLD ",\"rope_parameters\":{" GEMMA3_FULL("8") "," GEMMA3_SLIDING("2e4") "}",
         "rope_local_base_freq is given twice, 10000 and 20000"},
        {"\"rope_scaling\":{\"type\":\"linear\",\"factor\":8},\"rope_parameters\":{" GEMMA3_FULL(
             "8") "," GEMMA3_SLIDING("2e4") "}",
         "for sliding_attention: rope_theta is 10000 in the one and 20000 in the other"},
        {"\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":8}", "lacks full_attention"},
        {"\"rope_parameters\":{" GEMMA3_FULL("8") ",\"factor\":8}", "keys beside full_attention"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        pb_model_config c = {0};
        assert_int_equal(parse_gemma3(same[i], &c), PB_OK);
        assert_true(c.two_ropes && c.rope.type == PB_ROPE_LINEAR && c.rope.factor == 8.0);
        assert_true(c.rope.theta == 1e6 && c.rope_sliding.theta == 1e4);
        assert_true(c.rope_sliding.type == PB_ROPE_DEFAULT);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        pb_model_config c = {0};
        assert_true(parse_gemma3(refused[i].rope, &c) != PB_OK);
        if (strstr(pb_error_message(), refused[i].word) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", refused[i].word, pb_error_message());
        }
    }
}

static void rope_that_is_not_supported_or_incomplete_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *with;
        pb_status status;
        const char *word;
    } cases[] = {
        {"\"rope_scaling\":{\"rope_type\":\"yarn\"}", PB_ERR_FORMAT, "factor"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"mscale\":1.0}",
         PB_ERR_UNSUPPORTED, "mscale"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"beta_fast\":0.5}",
         PB_ERR_FORMAT, "beta_fast"},
        {"\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,\"truncate\":1}", PB_ERR_FORMAT,
         "truncate"},
        {"\"rope_scaling\":{\"type\":\"linear\"}", PB_ERR_FORMAT, "factor"},
        {"\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":\"2\"}", PB_ERR_FORMAT, "factor"},
        {"\"rope_parameters\":{\"rope_type\":\"longrope\"}", PB_ERR_UNSUPPORTED, "longrope"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"type\":\"linear\"," LLAMA3 "}",
         PB_ERR_FORMAT, "linear"},
        {"\"rope_scaling\":{" LLAMA3 "}", PB_ERR_FORMAT, "rope_type"},
        {"\"rope_scaling\":{\"rope_type\":3}", PB_ERR_FORMAT, "rope_type"},
        {"\"rope_scaling\":[]", PB_ERR_FORMAT, "rope_scaling"},
        {"\"rope_scaling\":\"llama3\"", PB_ERR_FORMAT, "rope_scaling"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\"}", PB_ERR_FORMAT, "factor"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":0.5,\"low_freq_factor\":1.0,"
         "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}",
         PB_ERR_FORMAT, "factor"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4.0,"
         "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}",
         PB_ERR_FORMAT, "high_freq_factor"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":1.0,"
         "\"high_freq_factor\":4.0}",
         PB_ERR_FORMAT, "original_max_position_embeddings"},
        {"\"rope_scaling\":{\"rope_type\":\"llama3\",\"attention_factor\":2," LLAMA3 "}",
         PB_ERR_UNSUPPORTED, "attention_factor"},
        {"\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}", PB_ERR_UNSUPPORTED,
         "full_attention"},
        {"\"rope_scaling\":{\"factor\":2.0}", PB_ERR_FORMAT, "rope_type"},
        {"\"rope_parameters\":{\"rope_type\":\"longrope\",\"short_factor\":[1.0]}",
         PB_ERR_UNSUPPORTED, "longrope"},
        {"\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}",
         PB_ERR_UNSUPPORTED, "partial_rotary_factor"},
        {"\"rope_theta\":1e4,\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":2e4}",
         PB_ERR_FORMAT, "rope_theta"},
        {"\"rope_scaling\":{\"rope_type\":\"default\"},\"rope_parameters\":{\"rope_type\":"
         "\"default\",\"rope_theta\":2e4}",
         PB_ERR_FORMAT, "differ"},
        {"\"rope_theta\":0", PB_ERR_FORMAT, "rope_theta"},
        {"\"rope_theta\":-1e4", PB_ERR_FORMAT, "rope_theta"},
        {"\"rope_theta\":\"1e4\"", PB_ERR_FORMAT, "rope_theta"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_refused(NULL, cases[i].with, cases[i].status, cases[i].word);
    }
}

static void keys_that_change_the_mathematics_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const keys[][2] = {
        {"attn_logit_softcapping", "50.0"},
        {"final_logit_softcapping", "30.0"},
        {"quantization_config", "{\"quant_method\":\"gptq\"}"},
        {"sliding_window", "16"},
        {"use_sliding_window", "true"},
        {"layer_types", "[\"sliding_attention\"]"},
        {"rope_local_base_freq", "10000"},
        {"num_local_experts", "8"},
        {"num_experts", "4"},
        {"n_routed_experts", "4"},
        {"pretraining_tp", "2"},
        {"rope_interleaved", "true"},
        {"partial_rotary_factor", "0.25"},
        {"attention_dropout", "0.1"},
        {"query_pre_attn_scalar", "24"},
        {"embedding_multiplier", "12.0"},
        {"logits_scaling", "8.0"},
        {"residual_multiplier", "0.22"},
        {"qk_layernorm", "true"},
        {"no_rope_layers", "[1]"},
        {"attention_chunk_size", "8192"},
        {"clip_qkv", "8"},
        {"alibi", "true"},
        {"scale_emb", "12.0"},
        {"rotary_pct", "0.5"},
        {"qk_norm", "true"},
        {"use_logn_attn", "true"},
        {"use_bidirectional_attention", "true"},
        {"is_encoder_decoder", "true"},
        {"hidden_act", "\"gelu\""},
    };
    char with[160];
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        snprintf(with, sizeof with, "\"%s\":%s", keys[i][0], keys[i][1]);
        expect_refused(NULL, with, PB_ERR_UNSUPPORTED, keys[i][0]);
    }
}

static void neutral_values_of_such_keys_are_accepted(void **state)
{
    (void)state;
    read_config(NULL, "\"attn_logit_softcapping\":null,\"pretraining_tp\":1,"
                      "\"rope_interleaved\":false,\"partial_rotary_factor\":1.0,"
                      "\"attention_dropout\":0.0,\"num_local_experts\":0,"
                      "\"layer_types\":[\"full_attention\"],\"sliding_window\":512,"
                      "\"use_sliding_window\":false,\"embedding_multiplier\":1.0");
    read_config(NULL, "\"a_key_nobody_knows\":{\"x\":1}"); /* named in a warning */
}

static void sizes_out_of_bounds_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"num_hidden_layers", "0"},
        {"num_hidden_layers", "-1"},
        {"num_hidden_layers", "1001"},
        {"num_hidden_layers", "1.0"},
        {"num_hidden_layers", "\"1\""},
        {"num_hidden_layers", "true"},
        {"num_hidden_layers", "9223372036854775807"},
        {"hidden_size", "0"},
        {"hidden_size", "1000001"},
        {"hidden_size", "7"},
        {"hidden_size", "[8]"},
        {"num_attention_heads", "0"},
        {"num_attention_heads", "8"},
        {"num_key_value_heads", "3"},
        {"num_key_value_heads", "0"},
        {"intermediate_size", "0"},
        {"intermediate_size", "100000000"},
        {"vocab_size", "0"},
        {"vocab_size", "100000001"},
        {"max_position_embeddings", "0"},
        {"max_position_embeddings", "2e3"},
        {"rms_norm_eps", "-1e-5"},
        {"rms_norm_eps", "2"},
        {"rms_norm_eps", "\"1e-5\""},
    };
    char with[160];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(with, sizeof with, "\"%s\":%s", cases[i][0], cases[i][1]);
        /* Too many heads leave a width of 1 for each, which is odd. */
        const char *word =
            strcmp(with, "\"num_attention_heads\":8") == 0 ? "head_dim 1 is odd" : cases[i][0];
        expect_refused(cases[i][0], with, PB_ERR_FORMAT, word);
    }
    expect_refused(NULL, "\"head_dim\":3", PB_ERR_FORMAT, "head_dim");
    expect_refused(NULL, "\"head_dim\":1000000", PB_ERR_FORMAT, "head_dim");
    expect_refused(NULL, "\"head_dim\":\"4\"", PB_ERR_FORMAT, "head_dim");
    assert_int_equal(read_config(NULL, "\"head_dim\":16").head_dim, 16);
}

static void missing_keys_are_refused_by_name(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "architectures",       "hidden_size", "intermediate_size",       "num_hidden_layers",
        "num_attention_heads", "vocab_size",  "max_position_embeddings", "rms_norm_eps"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        expect_refused(keys[i], NULL, PB_ERR_FORMAT, keys[i]);
    }
}

static void unknown_architectures_are_refused_with_the_known_ones(void **state)
{
    (void)state;
    expect_refused("architectures", "\"architectures\":[\"GPT2LMHeadModel\"]", PB_ERR_UNSUPPORTED,
                   "GPT2LMHeadModel");
    expect_refused("architectures", "\"architectures\":[\"GPT2LMHeadModel\"]", PB_ERR_UNSUPPORTED,
                   "LlamaForCausalLM");
    expect_refused("architectures", "\"architectures\":[]", PB_ERR_FORMAT, "architectures");
    expect_refused("architectures", "\"architectures\":[1]", PB_ERR_FORMAT, "architectures");
    expect_refused("architectures", "\"architectures\":\"LlamaForCausalLM\"", PB_ERR_FORMAT,
                   "architectures");
    expect_refused("model_type", "\"model_type\":\"qwen2\"", PB_ERR_FORMAT, "qwen2");
    expect_refused("tie_word_embeddings", "\"tie_word_embeddings\":1", PB_ERR_FORMAT,
                   "tie_word_embeddings");
    expect_refused(NULL, "\"attention_bias\":\"false\"", PB_ERR_FORMAT, "attention_bias");
    expect_refused(NULL, "\"torch_dtype\":32", PB_ERR_FORMAT, "torch_dtype");
}

static void files_that_are_no_json_object_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",        " ",         "{",          "[]",
                                        "null",    "{\"a\":}",  "{\"a\":1,}", "{\"a\":1}x",
                                        "{'a':1}", "{\"a\":1 ", "\xff\xfe{}"};
    pb_model_config config;
    const char *path = write_config(NULL, NULL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        fixture_write_text(fixture_path("config/config.json"), texts[i]);
        fixture_expect(pb_model_config_read(path, &config), PB_ERR_FORMAT, "config.json", NULL);
    }
    expect_refused(NULL, "\"hidden_size\":8", PB_ERR_FORMAT, "duplicate");
    fixture_expect(pb_model_config_read(fixture_path("absent"), &config), PB_ERR_NOT_FOUND,
                   "absent/config.json", NULL);
    fixture_expect(pb_model_config_read("", &config), PB_ERR_NOT_FOUND, "config.json", NULL);
}

/* Bytes are replaced at random: the file is read or refused with its name. */
static void random_damage_never_crashes(void **state)
{
    (void)state;
    enum { ROUNDS = 400 };
    size_t size      = 0;
    uint64_t draw    = 0;
    int refused      = 0;
    pb_random stream = pb_random_stream(2, PB_RANDOM_TEST, 0);
    const char *path = write_config(NULL, "\"rope_scaling\":{\"rope_type\":\"llama3\"," LLAMA3 "},"
                                          "\"eos_token_id\":[1,2],\"torch_dtype\":\"float32\"");
    char *text       = fixture_read(fixture_path("config/config.json"), &size);
    size_t held      = pb_memory_current();
    for (int round = 0; round < ROUNDS; round++) {
        char copy[FILE_MAX];
        pb_model_config config;
        memcpy(copy, text, size);
        uint64_t changes = 1 + pb_random_below(stream, draw++, 3);
        for (uint64_t c = 0; c < changes; c++) {
            uint64_t at = pb_random_below(stream, draw++, size);
            copy[at]    = (char)(unsigned char)pb_random_below(stream, draw++, 256);
        }
        fixture_write(fixture_path("config/config.json"), copy, size);
        if (pb_model_config_read(path, &config) != PB_OK) {
            refused++;
            assert_non_null(strstr(pb_error_message(), "config.json"));
        }
        assert_int_equal(pb_memory_current(), held);
    }
    assert_true(refused > ROUNDS / 2);
    pb_memory_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_are_absent_have_the_defaults_of_the_class),
        cmocka_unit_test(null_counts_as_absent),
        cmocka_unit_test(end_tokens_are_a_number_or_a_list),
        cmocka_unit_test(rope_is_read_in_the_old_and_the_new_style),
        cmocka_unit_test(both_spellings_of_rope_may_stand_together_when_they_mean_the_same),
        cmocka_unit_test(spellings_of_rope_that_mean_different_things_are_refused_with_both_values),
        cmocka_unit_test(gemma3_has_a_rope_for_each_type_of_layer_in_either_spelling),
        cmocka_unit_test(rope_that_is_not_supported_or_incomplete_is_refused),
        cmocka_unit_test(keys_that_change_the_mathematics_are_refused_by_name),
        cmocka_unit_test(neutral_values_of_such_keys_are_accepted),
        cmocka_unit_test(sizes_out_of_bounds_are_refused_by_name),
        cmocka_unit_test(missing_keys_are_refused_by_name),
        cmocka_unit_test(unknown_architectures_are_refused_with_the_known_ones),
        cmocka_unit_test(files_that_are_no_json_object_are_refused),
        cmocka_unit_test(random_damage_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, fixture_finish);
}
