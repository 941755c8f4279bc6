// SPDX-License-Identifier: Apache-2.0
/* Invalid contents of a file of rows: every case of the table has one documented outcome
 * (configs/dataset/README.md describes them in words), and none crashes, hangs or needs memory for
 * more than a record. */
#include "hostile.h"

#include "pb/memory.h"

#include <stdlib.h>
#include <string.h>

#define LINES(name, bytes, outcome, part) HOSTILE(name, "a.jsonl", bytes, outcome, part)
#define ARRAY(name, bytes, outcome, part) HOSTILE(name, "a.json", bytes, outcome, part)
#define COMMA(name, bytes, outcome, part) HOSTILE(name, "a.csv", bytes, outcome, part)
#define TABS(name, bytes, outcome, part)  HOSTILE(name, "a.tsv", bytes, outcome, part)

static const hostile_case json_cases[] = {
    LINES("NUL", "{\"s\":\"a\0b\"}\n{\"s\":1}", "!{\"s\":1}",
          "a.jsonl:1: byte 8 of the line is NUL"),
    LINES("escaped NUL", "{\"s\":\"\\u0000\"}", "!", "a string contains \\u0000; remove it"),
    LINES("lone high surrogate", "{\"s\":\"\\ud83d\"}", "!", "invalid JSON"),
    LINES("lone low surrogate", "{\"s\":\"\\ude00\"}", "!", "invalid JSON"),
    LINES("surrogates in the wrong order", "{\"s\":\"\\ude00\\ud83d\"}", "!", "invalid JSON"),
    LINES("pair of surrogates", "{\"s\":\"\\ud83d\\ude00\"}", "{\"s\":\"\xF0\x9F\x98\x80\"}", NULL),
    LINES("unknown escape", "{\"s\":\"\\x41\"}", "!", "invalid escape"),
    LINES("short escape", "{\"s\":\"\\u12\"}", "!", "invalid escape"),
    LINES("raw tab in a text", "{\"s\":\"a\tb\"}", "!", "control character 0x9"),
    LINES("line feed in a text", "{\"s\":\"a\nb\"}", "!!", "a.jsonl:1: invalid JSON"),
    LINES("key twice", "{\"s\":1,\"s\":2}", "!", "duplicate object key"),
    LINES("NaN", "{\"s\":NaN}", "!", "invalid token near 'NaN'"),
    LINES("Infinity", "{\"s\":Infinity}", "!", "invalid token"),
    LINES("minus Infinity", "{\"s\":-Infinity}", "!", "invalid token"),
    LINES("comment behind", "{\"s\":1} // one", "!", "end of file expected"),
    LINES("comment within", "{/* one */\"s\":1}", "!", "invalid JSON"),
    LINES("objects on one line", "{\"s\":1}{\"s\":2}\n{\"s\":3}", "!{\"s\":3}",
          "end of file expected"),
    LINES("comma between lines", "{\"s\":1},\n{\"s\":2}", "!{\"s\":2}", "end of file expected"),
    LINES("last line cut off", "{\"s\":1}\n{\"s\":\"b", "{\"s\":1}!", "a.jsonl:2: invalid JSON"),
    LINES("last line without end", "{\"s\":1}\n{\"s\":2}", "{\"s\":1}{\"s\":2}", NULL),
    LINES("CR LF", "{\"s\":1}\r\n\r\n{\"s\":2}\r\n", "{\"s\":1}{\"s\":2}", NULL),
    LINES("lone CR", "{\"s\":1}\r{\"s\":2}\r", "!", "end of file expected"),
    LINES("mixed line ends", "{\"s\":1}\r\n{\"s\":2}\n\n{\"s\":3}", "{\"s\":1}{\"s\":2}{\"s\":3}",
          NULL),
    LINES("byte order mark", "\xEF\xBB\xBF{\"s\":1}", "{\"s\":1}", NULL),
    LINES("byte order mark later", "{\"s\":1}\n\xEF\xBB\xBF{\"s\":2}", "{\"s\":1}!", "a.jsonl:2: "),
    LINES("nothing but a byte order mark", "\xEF\xBB\xBF", "", NULL),
    LINES("nothing but blank lines", "\n  \n\t\r\n", "", NULL),
    LINES("empty", "", "open", "a.jsonl is empty"),
    LINES("UTF-16", "\xFF\xFE{\0\"\0s\0", "open", "convert it to UTF-8"),
    LINES("UTF-16, big end first", "\xFE\xFF\0{\0\"", "open", "convert it to UTF-8"),
    LINES("UTF-16 without a mark", "{\0}\0\n\0", "!!", "byte 2 of the line is NUL"),
    LINES("no UTF-8", "{\"s\":\"\xFF\"}", "!", "byte 7 of the line is not UTF-8 (0xff)"),
    LINES("Latin-1", "{\"s\":\"caf\xE9\"}", "!", "byte 10 of the line is not UTF-8 (0xe9)"),
    LINES("overlong, two bytes", "{\"s\":\"\xC0\x80\"}", "!", "not UTF-8"),
    LINES("overlong, three bytes", "{\"s\":\"\xE0\x80\xAF\"}", "!", "not UTF-8"),
    LINES("surrogate in UTF-8", "{\"s\":\"\xED\xA0\x80\"}", "!", "not UTF-8"),
    LINES("beyond the last character", "{\"s\":\"\xF4\x90\x80\x80\"}", "!", "not UTF-8"),
    LINES("character cut off", "{\"s\":\"\xE2\x82\"}", "!", "not UTF-8"),
    LINES("non-characters", "{\"s\":\"\xEF\xBF\xBE\xEF\xBF\xBF\"}",
          "{\"s\":\"\xEF\xBF\xBE\xEF\xBF\xBF\"}", NULL),
    LINES("zero width, right to left", "{\"s\":\"a\xE2\x80\x8B\xE2\x80\xAE\xD7\x90\"}",
          "{\"s\":\"a\xE2\x80\x8B\xE2\x80\xAE\xD7\x90\"}", NULL),
    LINES("number too large", "{\"s\":1e999}", "!", "real number overflow"),
    LINES("integer too large", "{\"s\":9223372036854775808}", "!", "too big integer"),
    LINES("integer too small", "{\"s\":-9223372036854775809}", "!", "too big negative integer"),
    LINES("leading zero", "{\"s\":01}", "!", "invalid token"),
    LINES("plus sign", "{\"s\":+1}", "!", "invalid token"),
    LINES("hexadecimal", "{\"s\":0x10}", "!", "invalid JSON"),
    LINES("trailing comma", "{\"s\":1,}", "!", "invalid JSON"),
    LINES("single quotes", "{'s':1}", "!", "invalid JSON"),
    LINES("Python's None", "{\"s\":None}", "!", "invalid token"),
    LINES("no-break space", "{\"s\":1}\xC2\xA0", "!", "end of file expected"),
    LINES("form feed", "\f\n{\"s\":1}", "!{\"s\":1}", "invalid JSON"),
    LINES("no objects", "[1]\n\"s\"\n7\nnull\ntrue", "!!!!!", "the line is not a JSON object"),
    LINES("empty object, empty key", "{}\n{\"\":1}", "{}{\"\":1}", NULL),
    LINES("web page", "<!DOCTYPE html>\n<p>", "!!", "invalid JSON"),
    LINES("object over several lines", "{\n\"s\":1\n}", "!!!", "invalid JSON"),
    ARRAY("web page", "<!DOCTYPE html>", "open", "begins with neither [ (a JSON array) nor {"),
    ARRAY("Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid", "open",
          "git lfs pull"),
    ARRAY("parquet", "PAR1\x15\x04", "open", "is a parquet file"),
    ARRAY("lines", "{\"s\":1}\n{\"s\":2}\n", "{\"s\":1}{\"s\":2}", NULL),
    ARRAY("array", "\n [ {\"s\":1}\n,\n{\"s\":2} ]\n", "{\"s\":1}{\"s\":2}", NULL),
    ARRAY("array behind a byte order mark", "\xEF\xBB\xBF[{\"s\":1}]", "{\"s\":1}", NULL),
    ARRAY("empty array", "[ ]", "", NULL),
    ARRAY("array not closed", "[{\"s\":1},\n{\"s\":2}\n", "{\"s\":1}{\"s\":2}#",
          "a.json:3: the file ends before its array is closed"),
    ARRAY("array cut off in a record", "[{\"s\":1},\n{\"s\":\"b", "{\"s\":1}#",
          "a.json:2: the file ends inside the record that begins here"),
    ARRAY("nothing but a bracket", "[", "#", "a.json:1: the file ends before"),
    ARRAY("array of other things", "[1,\"]\",null,[[2]],{\"s\":1}]", "!!!!{\"s\":1}",
          "a.json:1: the record is not a JSON object"),
    ARRAY("comma at the end", "[{\"s\":1},\n]", "{\"s\":1}!", "a.json:2: a record is missing"),
    ARRAY("comma at the start", "[,{\"s\":1}]", "!{\"s\":1}", "a record is missing before a comma"),
    ARRAY("two commas", "[{\"s\":1},,{\"s\":2}]", "{\"s\":1}!{\"s\":2}", "missing before a comma"),
    ARRAY("comma missing", "[{\"s\":1}\n{\"s\":2}]", "{\"s\":1}!{\"s\":2}",
          "a.json:2: a comma is missing"),
    ARRAY("text behind the array", "[{\"s\":1}]\n[]", "{\"s\":1}#",
          "a.json:2: there is more after"),
    ARRAY("brackets that do not match", "[{\"s\":[1},{\"s\":2}]", "!#", "invalid JSON"),
    ARRAY("stray bracket", "[{\"s\":1}},{\"s\":2}]", "{\"s\":1}!!{\"s\":2}", "a comma is missing"),
    ARRAY("brackets and quotes in texts", "[{\"s\":\"]}\\\"[{\\\\\"},{\"s\":2}]",
          "{\"s\":\"]}\\\"[{\\\\\"}{\"s\":2}", NULL),
    ARRAY("NUL in an array", "[{\"s\":\"\0\"},{\"s\":2}]", "!{\"s\":2}", "of the record is NUL"),
    ARRAY("no UTF-8 in an array", "[{\"s\":\"\xFF\"},{\"s\":2}]", "!{\"s\":2}", "not UTF-8"),
    ARRAY("array of hub features", "{\"data\":[{\"s\":1}]}", "{\"data\":[{\"s\":1}]}", NULL),
};

static const hostile_case delimited_cases[] = {
    COMMA("plain", "s,t\na,b\n", "{\"s\":\"a\",\"t\":\"b\"}", NULL),
    COMMA("quotes, commas, line ends", "s,t\n\"a,\"\"b\"\"\r\nc\",d\n",
          "{\"s\":\"a,\\\"b\\\"\\r\\nc\",\"t\":\"d\"}", NULL),
    COMMA("quoted header", "\"s,\",t\na,b\n", "{\"s,\":\"a\",\"t\":\"b\"}", NULL),
    COMMA("CR LF, byte order mark", "\xEF\xBB\xBFs,t\r\na,b\r\n", "{\"s\":\"a\",\"t\":\"b\"}",
          NULL),
    COMMA("mixed line ends", "s,t\r\na,\"b\"\nc,d\r\n",
          "{\"s\":\"a\",\"t\":\"b\"}{\"s\":\"c\",\"t\":\"d\"}", NULL),
    COMMA("last line without end", "s,t\na,\"b\"", "{\"s\":\"a\",\"t\":\"b\"}", NULL),
    COMMA("empty fields", "s,t\n,\n\"\",\n", "{\"s\":\"\",\"t\":\"\"}{\"s\":\"\",\"t\":\"\"}",
          NULL),
    COMMA("spaces stay", "s,t\n a , \"b\n", "{\"s\":\" a \",\"t\":\" \\\"b\"}", NULL),
    COMMA("empty lines", "\n\ns\n\na\n\n\"\"\n", "{\"s\":\"a\"}{\"s\":\"\"}", NULL),
    COMMA("quote never closed", "s,t\na,b\n\"c,d\ne,f\n", "{\"s\":\"a\",\"t\":\"b\"}#",
          "a.csv:3: the quote that opens in line 3 is never closed"),
    COMMA("second quote never closed", "s,t\n\"c\nd\",\"e\nf\n", "#", "opens in line 3"),
    COMMA("text behind a quote", "s,t\n\"a\"b,c\nd,e\n", "!{\"s\":\"d\",\"t\":\"e\"}",
          "a.csv:2: field 1 continues after its closing quote"),
    COMMA("quote within a field", "s,t\n5\" disk,b\"\n", "{\"s\":\"5\\\" disk\",\"t\":\"b\\\"\"}",
          NULL),
    COMMA("too few fields", "s,t\na\nb,c\n", "!{\"s\":\"b\",\"t\":\"c\"}",
          "a.csv:2: the row has 1 fields where there are 2 columns"),
    COMMA("too many fields", "s,t\na,b,c\n", "!", "the row has 3 fields where there are 2 columns"),
    COMMA("comma at the end", "s,t\na,b,\n", "!", "the row has 3 fields"),
    COMMA("other separator", "s;t\na;b\n", "{\"s;t\":\"a;b\"}", NULL),
    COMMA("no row", "s,t\n", "", NULL),
    COMMA("no header", "\n\r\n", "open",
          "a.csv:3: the line with the names of the columns is missing"),
    COMMA("column twice", "s,t,s\na,b,c\n", "open", "a.csv:1: there are two columns \"s\""),
    COMMA("column without a name", "s,\na,b\n", "open", "a.csv:1: the name of column 2 is empty"),
    COMMA("lone CR", "s,t\ra,b\rc,d", "open", "the header holds a carriage return"),
    COMMA("CR within a row", "s,t\na\rb,c\n", "{\"s\":\"a\\rb\",\"t\":\"c\"}", NULL),
    COMMA("NUL", "s,t\na\0,b\nc,d\n", "!{\"s\":\"c\",\"t\":\"d\"}", "byte 2 of the row is NUL"),
    COMMA("NUL in the header", "s\0,t\n", "open", "a.csv:1: byte 2 of the header is NUL"),
    COMMA("no UTF-8", "s,t\n\xFF,b\n", "!", "a.csv:2: byte 1 of the row is not UTF-8"),
    COMMA("no UTF-8 in the header", "\xFF,t\n", "open", "of the header is not UTF-8"),
    COMMA("header in an open quote", "\"s,t\na,b\n", "open",
          "a.csv:1: the quote that opens in line 1"),
    COMMA("UTF-16", "\xFF\xFEs\0", "open", "is UTF-16"),
    TABS("quotes are characters", "s\tt\n\"a\tb\"\nc\t\"\"\n",
         "{\"s\":\"\\\"a\",\"t\":\"b\\\"\"}{\"s\":\"c\",\"t\":\"\\\"\\\"\"}", NULL),
    TABS("tab at the end", "s\tt\na\tb\t\n", "!", "a.tsv:2: the row has 3 fields"),
    TABS("CR LF", "s\tt\r\na\tb\r\n", "{\"s\":\"a\",\"t\":\"b\"}", NULL),
    TABS("blank fields", "s\tt\n\t\n", "{\"s\":\"\",\"t\":\"\"}", NULL),
    TABS("commas", "s\tt\na,b\tc\n", "{\"s\":\"a,b\",\"t\":\"c\"}", NULL),
    TABS("empty", "", "open", "a.tsv is empty"),
    TABS("nothing but a byte order mark", "\xEF\xBB\xBF", "open", "the line with the names"),
};

static void json_has_the_outcome_of_the_table(void **state)
{
    (void)state;
    HOSTILE_CHECK_ALL(json_cases);
}

static void delimited_text_has_the_outcome_of_the_table(void **state)
{
    (void)state;
    HOSTILE_CHECK_ALL(delimited_cases);
}

static void quoted_tsv_is_read_when_asked_for(void **state)
{
    const hostile_case c = TABS("tab in quotes", "s\tt\n\"a\tb\"\t\"c\n\"\n",
                                "{\"s\":\"a\\tb\",\"t\":\"c\\n\"}", NULL);
    (void)state;
    hostile_check_as(&c, FORMAT_TSV_QUOTED);
}

/* `front`, `count` times `middle`, `back`. */
static void check_repeated(const char *name, const char *file, const char *front,
                           const char *middle, size_t count, const char *back, const char *outcome,
                           const char *part)
{
    size_t step    = strlen(middle);
    size_t head    = strlen(front);
    size_t size    = head + count * step + strlen(back);
    char *text     = malloc(size + 1);
    hostile_case c = {name, file, text, size, outcome, part};

    assert_non_null(text);
    memcpy(text, front, head);
    if (step == 1) {
        memset(text + head, *middle, count);
    }
    for (size_t i = 0; step > 1 && i < count; i++) {
        memcpy(text + head + i * step, middle, step);
    }
    strcpy(text + head + count * step, back);
    hostile_check(&c);
    free(text);
}

static void large_values_are_read(void **state)
{
    pb_string keys = {0};

    (void)state;
    check_repeated("text of 10 MB", "a.jsonl", "{\"s\":\"", "x", 10 * MIB, "\"}\n{}", "..", NULL);
    check_repeated("key of 1 MB", "a.jsonl", "{\"", "x", MIB, "\":1}", ".", NULL);
    check_repeated("integer of 10,000 digits", "a.jsonl", "{\"s\":", "9", 10000, "}\n{}", "!.",
                   "too big integer");
    check_repeated("number of 10,000 digits", "a.jsonl", "{\"s\":0.", "3", 10000, "}", ".", NULL);
    check_repeated("CSV field of 10 MB", "a.csv", "s,t\n\"", "x\n", 5 * MIB, "\",b\n", ".", NULL);
    check_repeated("CSV row of 100,000 fields", "a.csv", "s\n", ",", 100000, "\na\n", "!.",
                   "100001 fields");
    assert_ok(pb_string_puts(&keys, "{\"k\":0"));
    for (int i = 0; i < 100000; i++) {
        assert_ok(pb_string_printf(&keys, ",\"k%d\":%d", i, i));
    }
    assert_ok(pb_string_puts(&keys, "}"));
    hostile_case c = {"100,000 keys", "a.jsonl", keys.data, keys.length, ".", NULL};
    hostile_check(&c);
    pb_string_clear(&keys);
}

static void depth_does_not_overflow_the_stack(void **state)
{
    (void)state;
    check_repeated("deep line", "a.jsonl", "{\"s\":", "[", 100 * KIB, "\n{}", "!.",
                   "maximum parsing depth reached");
    check_repeated("deep record of an array", "a.json", "[{}, {\"s\":", "[", 100 * KIB, "", ".#",
                   "inside the record");
    check_repeated("deep objects", "a.jsonl", "", "{\"a\":", 100 * KIB, "", "!",
                   "maximum parsing depth reached");
    check_repeated("brackets that close nothing", "a.json", "[", "]", 100 * KIB, "", "#",
                   "there is more after");
}

static void deep_array_record_is_bad_and_the_next_is_read(void **state)
{
    pb_string text = {0};

    (void)state;
    assert_ok(pb_string_puts(&text, "["));
    for (int i = 0; i < 100000; i++) {
        assert_ok(pb_string_puts(&text, "["));
    }
    for (int i = 0; i < 100000; i++) {
        assert_ok(pb_string_puts(&text, "]"));
    }
    assert_ok(pb_string_puts(&text, ",{}]"));
    hostile_case c = {"100,000 arrays", "a.json", text.data,
                      text.length,      "!.",     "maximum parsing depth reached"};
    hostile_check(&c);
    pb_string_clear(&text);
}

static void absurd_records_are_skipped_and_the_next_is_read(void **state)
{
    const char *part = "more than the 67108864 allowed";

    (void)state;
    check_repeated("line", "a.jsonl", "{\"s\":\"", "x", 65 * MIB, "\"}\n{}\n", "!.", part);
    check_repeated("record", "a.json", "[{\"s\":\"", "x", 65 * MIB, "\"},{}]", "!.", part);
    check_repeated("quotes", "a.csv", "s\n\"", "x", 65 * MIB, "\"\na\n", "!.", part);
    check_repeated("GLUE's line", "a.tsv", "s\n", "x", 65 * MIB, "\na\n", "!.", part);
    check_repeated("header", "a.csv", "", "x", 65 * MIB, "\na\n", "open", part);
    check_repeated("quote never closed", "a.csv", "s\n\n\"", "x", 65 * MIB, "\na\n", "#",
                   "the quote that opens in line 3 is never closed");
    check_repeated("one line without end", "a.jsonl", "", " ", 65 * MIB, "", "!", part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_the_outcome_of_the_table),
        cmocka_unit_test(delimited_text_has_the_outcome_of_the_table),
        cmocka_unit_test(quoted_tsv_is_read_when_asked_for),
        cmocka_unit_test(large_values_are_read),
        cmocka_unit_test(depth_does_not_overflow_the_stack),
        cmocka_unit_test(deep_array_record_is_bad_and_the_next_is_read),
        cmocka_unit_test(absurd_records_are_skipped_and_the_next_is_read),
    };
    return cmocka_run_group_tests(tests, fixture_open, fixture_close);
}
