/* The JSON formats, without the process around them; argv[1] is docs/guest.schema.json. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/json/json_text.h"
#include "cli/json/report_json.h"
#include "cli/json/spec_json.h"

static const char *schema_path;

/* A copy without a zero at its end: a read beyond len is one that the sanitizer sees. */
static char *exact_copy(const char *text, size_t len)
{
        char *copy = malloc(len ? len : 1);

        assert_non_null(copy);
        memcpy(copy, text, len);
        return copy;
}

static int parse(const char *text, size_t len, struct guest_spec *s, struct err *e)
{
        _cleanup_free_ char *copy = exact_copy(text, len);

        return spec_json_parse(copy, len, s, e);
}

static struct guest_spec parse_good(const char *text)
{
        struct err e = ERR_INIT;
        struct guest_spec s;

        if (parse(text, strlen(text), &s, &e) < 0)
                fail_msg("%s: %s", text, e.text);
        return s;
}

static void assert_bad(const char *text, const char *message)
{
        struct guest_spec s, before;
        struct err e = ERR_INIT;

        memset(&s, 0x55, sizeof(s));
        before = s;
        assert_int_equal(parse(text, strlen(text), &s, &e), -EINVAL);
        if (!strstr(e.text, message))
                fail_msg("%s: '%s' instead of '%s'", text, e.text, message);
        assert_int_equal(e.status, STATUS_USAGE);
        assert_memory_equal(&s, &before, sizeof(s));
}

#define FULL                                                                                                      \
        "{\"name\": \"vm\", \"kernel\": \"/k\", \"initrd\": \"/i\", \"cmdline\": \"a=\\u00e4 \\\"b\\\"\","        \
        "\"memory\": \"3G\", \"cpus\": 2, \"cpu\": \"baseline\", \"on_reset\": \"exit\","                         \
        "\"cpu_limit_percent\": 250, \"require_all_layers\": true, \"test_device\": true,"                        \
        "\"io_limits\": [{\"device\": \"8:0\", \"read_bytes_per_s\": 1, \"write_bytes_per_s\": 2},"               \
        "{\"major\": 4095, \"minor\": 0, \"read_ops_per_s\": 1125899906842624, \"write_ops_per_s\": 4}],"         \
        "\"rng\": false, \"disks\": [{\"path\": \"/d,ro\", \"format\": \"raw\", \"id\": \"root\","                \
        "\"read_only\": true, \"direct\": true, \"engine\": \"sync\", \"queues\": 16,"                            \
        "\"bytes_per_s\": 1125899906842624, \"ops_per_s\": 1}, {\"path\": \"qcow2:/e\", \"format\": \"qcow2\"}]," \
        "\"devices\": [{\"protocol\": \"vhost-user\", \"type\": \"rng\", \"socket\": \"/s\", \"id\": \"other\"}]}"

static void every_key(void **state)
{
        struct guest_spec s = parse_good(FULL);

        assert_int_equal(guest_spec_validate(&s, NULL), 0);
        assert_string_equal(s.name, "vm");
        assert_string_equal(s.kernel, "/k");
        assert_string_equal(s.initrd, "/i");
        assert_string_equal(s.cmdline, "a=\xc3\xa4 \"b\"");
        assert_true(s.memory_bytes == 3ULL << 30);
        assert_int_equal(s.vcpus, 2);
        assert_int_equal(s.cpu_model, CPU_BASELINE);
        assert_int_equal(s.on_reset, ON_RESET_EXIT);
        assert_int_equal(s.cpu_limit_percent, 250);
        assert_int_equal(s.require_all_layers, 1);
        assert_int_equal(s.test_device, 1);
        assert_int_equal(s.io_limit_count, 2);
        assert_true(s.io_limits[0].major == 8 && s.io_limits[0].minor == 0);
        assert_true(s.io_limits[0].read_bytes_per_s == 1 && s.io_limits[0].write_bytes_per_s == 2);
        assert_true(s.io_limits[1].read_ops_per_s == 1ULL << 50 && s.io_limits[1].write_ops_per_s == 4);
        assert_int_equal(s.rng, 0);
        assert_int_equal(s.disk_count, 2);
        assert_string_equal(s.disks[0].path, "/d,ro");
        assert_string_equal(s.disks[0].id, "root");
        assert_true(s.disks[0].read_only == 1 && s.disks[0].direct == 1);
        assert_true(s.disks[0].engine == DISK_ENGINE_SYNC && s.disks[0].queues == 16);
        assert_true(s.disks[0].bytes_per_s == 1ULL << 50 && s.disks[0].ops_per_s == 1);
        assert_string_equal(s.disks[1].path, "qcow2:/e");
        assert_true(s.disks[0].format == DISK_FORMAT_RAW && s.disks[1].format == DISK_FORMAT_QCOW2);
        assert_string_equal(s.disks[1].id, "disk1");
        assert_true(s.disks[1].read_only == 0 && s.disks[1].engine == DISK_ENGINE_AUTO && s.disks[1].queues == 0);
        assert_int_equal(s.backend_count, 1);
        assert_int_equal(s.backends[0].type, BACKEND_RNG);
        assert_string_equal(s.backends[0].socket, "/s");
        assert_string_equal(s.backends[0].id, "other");
        assert_int_equal(parse_good("{\"memory\": 2097152}").memory_bytes, 2 << 20);
}

static void round_trip(void **state)
{
        struct guest_spec defaults = parse_good("{}"), init;
        char *const last = defaults.cmdline + SPEC_CMDLINE_MAX - 2;

        guest_spec_init(&init);
        assert_memory_equal(&defaults, &init, sizeof(init));
        memset(defaults.cmdline, '\x01', SPEC_CMDLINE_MAX - 1); /* the longest text, and the most escapes */
        assert_int_equal(*last, 1);
        for (const struct guest_spec *s = (const struct guest_spec[]){parse_good(FULL), init, defaults, {0}};
             s->version; s++) {
                _cleanup_free_ char *text = NULL;
                struct guest_spec again;

                assert_int_equal(spec_json_print(s, &text, NULL), 0);
                assert_true(text[strlen(text) - 1] == '\n');
                again = parse_good(text);
                assert_memory_equal(&again, s, sizeof(again));
        }

        /* What JSON cannot express is refused, not changed. */
        for (const char *const *bad = (const char *const[]){"\xff", "\xc0\x80", "\xed\xa0\x80", "a\xc3", NULL}; *bad;
             bad++) {
                struct err e = ERR_INIT;
                char *text = NULL;

                assert_int_equal(guest_spec_set_kernel(&init, *bad, NULL), 0);
                assert_int_equal(spec_json_print(&init, &text, &e), -EINVAL);
                assert_string_equal(e.text, "kernel is not UTF-8 and cannot be written as JSON");
                assert_null(text);
        }
}

static void bad_values(void **state)
{
        assert_bad("{\"bogus\": 1}", "unknown key \"bogus\"");
        assert_bad("{\"Name\": \"a\"}", "unknown key \"Name\"");
        assert_bad("{\"name\": 1}", "name must be a string");
        assert_bad("{\"name\": null}", "name must be a string");
        assert_bad("{\"name\": \"a/b\"}", "name must be 1 to 63");
        assert_bad("{\"name\": \"\"}", "name must be 1 to 63");
        assert_bad("{\"kernel\": \"\"}", "kernel must not be empty");
        assert_bad("{\"initrd\": []}", "initrd must be a string");
        assert_bad("{\"memory\": true}", "memory must be a size like \"512M\" or a number of bytes");
        assert_bad("{\"memory\": 1.5e9}", "memory must be a size like");
        assert_bad("{\"memory\": \"512MB\"}", "memory must be a size like");
        assert_bad("{\"memory\": \"1M\"}", "memory must be a multiple of 1M from 2M to 64T");
        assert_bad("{\"memory\": \"99999P\"}", "memory must be a multiple of 1M from 2M to 64T");
        assert_bad("{\"memory\": -2097152}", "memory must be a multiple of 1M from 2M to 64T");
        assert_bad("{\"cpus\": 0}", "cpus must be 1 to 64");
        assert_bad("{\"cpus\": 65}", "cpus must be 1 to 64");
        assert_bad("{\"cpus\": -1}", "cpus must be 1 to 64");
        assert_bad("{\"cpus\": \"1\"}", "cpus must be an integer");
        assert_bad("{\"cpus\": 99999999999999999999}", "too big");
        assert_bad("{\"cpu\": \"fast\"}", "cpu must be host or baseline");
        assert_bad("{\"on_reset\": \"\"}", "on_reset must be restart or exit");
        assert_bad("{\"cpu_limit_percent\": 6501}", "cpu_limit_percent must be 1 to 6500");
        assert_bad("{\"require_all_layers\": 1}", "require_all_layers must be true or false");
        assert_bad("{\"test_device\": \"true\"}", "test_device must be true or false");
        assert_bad("{\"io_limits\": {}}", "io_limits must be an array of objects");
}

#define IO(members) "{\"io_limits\": [{\"device\": \"8:0\", \"read_ops_per_s\": 1}, {" members "}]}"

static void bad_io_limits(void **state)
{
        assert_bad("{\"io_limits\": [1]}", "io_limits[0]: must be an object");
        assert_bad(IO(""), "io_limits[1]: must have either device or major and minor");
        assert_bad(IO("\"major\": 8"), "io_limits[1]: must have either device or major and minor");
        assert_bad(IO("\"device\": \"8:1\", \"minor\": 1"), "must have either device or major and minor");
        assert_bad(IO("\"device\": \"8:1\""), "io_limits[1]: io_limits: device 8:1 has no limit");
        assert_bad(IO("\"device\": 8"), "io_limits[1]: device must be a string");
        assert_bad(IO("\"device\": \"/dev/null\""), "io_limits[1]: device /dev/null: not a block device");
        assert_bad(IO("\"major\": 0, \"minor\": 0"), "major must be an integer from 1 to 4095");
        assert_bad(IO("\"major\": 8, \"minor\": -1"), "minor must be an integer from 0 to 1048575");
        assert_bad(IO("\"device\": \"8:1\", \"write_ops_per_s\": 0"), "write_ops_per_s must be an integer from 1");
        assert_bad(IO("\"device\": \"8:1\", \"write_ops_per_s\": 1125899906842625"), "write_ops_per_s must");
        assert_bad(IO("\"device\": \"8:1\", \"x\": 0"), "io_limits[1]: unknown key \"x\"");
}

static void io_limits_count(void **state)
{
        char text[1024] = "{\"io_limits\": [";

        for (int i = 0; i < SPEC_IO_LIMITS_MAX + 1; i++) {
                char one[64], whole[1100];

                snprintf(one, sizeof(one), "%s{\"device\":\"8:%d\",\"read_ops_per_s\":1}", i ? "," : "", i);
                strncat(text, one, sizeof(text) - strlen(text) - 1);
                snprintf(whole, sizeof(whole), "%s]}", text);
                if (i < SPEC_IO_LIMITS_MAX)
                        assert_int_equal(parse_good(whole).io_limit_count, i + 1);
                else
                        assert_bad(whole, "io_limits[8]: io_limits must be at most 8 devices");
        }
}

#define DISK(members) "{\"disks\": [{\"path\": \"a\"}, {" members "}]}"

static void bad_devices(void **state)
{
        assert_bad("{\"devices\": {}}", "devices must be an array of objects");
        assert_bad("{\"devices\": [1]}", "devices[0]: must be an object");
        assert_bad("{\"devices\": [{\"type\": \"blk\", \"socket\": \"s\"}]}", "devices[0]: must have a protocol");
        assert_bad("{\"devices\": [{\"protocol\": \"x\"}]}", "devices[0]: protocol must be vhost-user");
        assert_bad("{\"devices\": [{\"protocol\": \"vhost-user\", \"type\": 1}]}", "devices[0]: type must be a string");
        assert_bad("{\"devices\": [{\"protocol\": \"vhost-user\", \"x\": \"\"}]}", "devices[0]: unknown key \"x\"");
        assert_bad("{\"devices\": [{\"protocol\": \"vhost-user\", \"type\": \"blk\"}]}",
                   "devices[0]: devices[0]: socket must be 1 to 107 bytes");
}

static void bad_disks(void **state)
{
        assert_bad("{\"rng\": 0}", "rng must be true or false");
        assert_bad("{\"disks\": {}}", "disks must be an array of objects");
        assert_bad("{\"disks\": [\"a\"]}", "disks[0]: must be an object");
        assert_bad(DISK(""), "disks[1]: must have a path");
        assert_bad(DISK("\"path\": \"\""), "disks[1]: path must be 1 to 1023 bytes");
        assert_bad(DISK("\"path\": 1"), "disks[1]: path must be a string");
        assert_bad(DISK("\"path\": \"b\", \"x\": 0"), "disks[1]: unknown key \"x\"");
        assert_bad(DISK("\"path\": \"b\", \"id\": \"disk0\""), "two have the id \"disk0\"");
        assert_bad(DISK("\"path\": \"b\", \"id\": \"rng\""), "disks[1]: id must be 1 to 20");
        assert_bad(DISK("\"path\": \"b\", \"format\": \"vdi\""), "disks[1]: format must be raw or qcow2");
        assert_bad(DISK("\"path\": \"b\", \"format\": 2"), "disks[1]: format must be a string");
        assert_bad(DISK("\"path\": \"b\", \"format\": \"qcow2\", \"engine\": \"sync\""),
                   "cannot be chosen for a disk in format qcow2");
        assert_bad(DISK("\"path\": \"b\", \"read_only\": 1"), "read_only must be true or false");
        assert_bad(DISK("\"path\": \"b\", \"engine\": \"aio\""), "engine must be auto, io_uring or sync");
        assert_bad(DISK("\"path\": \"b\", \"queues\": 17"), "queues must be 1 to 16");
        assert_bad(DISK("\"path\": \"b\", \"queues\": 0"), "queues must be 1 to 16");
        assert_bad(DISK("\"path\": \"b\", \"bytes_per_s\": -1"), "bytes_per_s must be 1 to 1125899906842624");
        assert_bad(DISK("\"path\": \"b\", \"ops_per_s\": \"1\""), "ops_per_s must be an integer");
}

static void bad_syntax(void **state)
{
        static const char with_zero[] = "{\"name\": \"a\0b\"}";
        char cmdline[SPEC_CMDLINE_MAX + 32];
        struct err e = ERR_INIT;
        struct guest_spec s;

        assert_bad("", "line 1");
        assert_bad("[]", "must be a JSON object");
        assert_bad("1", "line 1");
        assert_bad("{\"name\": \"a\"} x", "line 1");
        assert_bad("{\"name\": \"a\", \"name\": \"b\"}", "duplicate");
        assert_bad("{\"name\": \"a\\u0000b\"}", "u0000");
        assert_bad("{\"na\\u0000me\": \"a\"}", "u0000");
        assert_bad("{\"name\": \"\xff\"}", "unable to decode");
        assert_bad("\xef\xbb\xbf{}", "line 1");
        assert_int_equal(parse(with_zero, sizeof(with_zero) - 1, &s, &e), -EINVAL);
        for (size_t len = 0; len < strlen(FULL); len++)
                assert_int_equal(parse(FULL, len, &s, NULL), -EINVAL);

        snprintf(cmdline, sizeof(cmdline), "{\"cmdline\": \"%0*d\"}", SPEC_CMDLINE_MAX - 1, 0);
        assert_int_equal(parse(cmdline, strlen(cmdline), &s, &e), 0);
        snprintf(cmdline, sizeof(cmdline), "{\"cmdline\": \"%0*d\"}", SPEC_CMDLINE_MAX, 0);
        assert_int_equal(parse(cmdline, strlen(cmdline), &s, &e), -EINVAL);
        assert_int_equal(e.status, STATUS_IMAGE);
}

/* Every property of the schema is a key with the schema's example and default, and every key is a property.
 */
static void schema_agrees(void **state)
{
        _cleanup_json_ json_t *schema = json_load_file(schema_path, JSON_REJECT_DUPLICATES, NULL);
        _cleanup_free_ char *text = NULL;
        _cleanup_json_ json_t *printed = NULL;
        struct guest_spec full = parse_good(FULL), defaults;
        json_t *properties, *value;
        const char *key;

        guest_spec_init(&defaults);
        assert_non_null(schema);
        properties = json_object_get(schema, "properties");
        assert_true(json_object_size(properties) > 0);
        json_object_foreach(properties, key, value)
        {
                _cleanup_json_ json_t *example =
                        json_pack("{sO}", key, json_array_get(json_object_get(value, "examples"), 0));
                _cleanup_free_ char *example_text = NULL;
                json_t *initial = json_object_get(value, "default");

                assert_non_null(example);
                example_text = json_dumps(example, 0);
                parse_good(example_text);
                if (initial) {
                        _cleanup_json_ json_t *one = json_pack("{sO}", key, initial);
                        _cleanup_free_ char *one_text = json_dumps(one, 0);
                        struct guest_spec s = parse_good(one_text);

                        assert_memory_equal(&s, &defaults, sizeof(s));
                }
        }
        assert_int_equal(spec_json_print(&full, &text, NULL), 0);
        printed = json_loads(text, 0, NULL);
        assert_int_equal(json_object_size(printed), json_object_size(properties));
        json_object_foreach(printed, key, value) assert_non_null(json_object_get(properties, key));
}

static int report(const char *lines, size_t len, char **ret, struct err *e)
{
        _cleanup_free_ char *copy = exact_copy(lines, len);

        return report_json_build(copy, len, ret, e);
}

static void assert_report(const char *lines, const char *compact)
{
        _cleanup_json_ json_t *got = NULL, *want = json_loads(compact, JSON_ALLOW_NUL, NULL);
        _cleanup_free_ char *text = NULL;
        struct err e = ERR_INIT;

        if (report(lines, strlen(lines), &text, &e) < 0)
                fail_msg("%s: %s", lines, e.text);
        got = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(want);
        if (!json_equal(got, want))
                fail_msg("%s instead of %s", text, compact);
        for (const char *p = text; *p; p++)
                assert_true(*p == '\n' || (*p >= ' ' && *p <= '~'));
}

static void reports(void **state)
{
        char *text = NULL;

        assert_report("", "{}");
        assert_report("a\t\t\n", "[]");
        assert_report("o\t\t\ni\tx\t1\n", "{\"x\": 1}");
        assert_report("s\ta/b/c\tv\nb\ta/b/d\ttrue\nb\ta/e\tfalse\nn\tf\t\na\tg\t\no\th\t\n",
                      "{\"a\":{\"b\":{\"c\":\"v\",\"d\":true},\"e\":false},\"f\":null,\"g\":[],\"h\":{}}");
        assert_report("i\t0\t9223372036854775807\ni\t1\t-9223372036854775807\ns\t2/x\t\ns\t2/y\t \n",
                      "[9223372036854775807,-9223372036854775807,{\"x\":\"\",\"y\":\" \"}]");
        assert_report("a\tg\t\ni\tg/0/0\t1\ni\tg/0/1\t2\n", "{\"g\":[[1,2]]}");
        assert_report("s\tx\ta\\tb\\nc\\\\d\\\\n\n", "{\"x\":\"a\\tb\\nc\\\\d\\\\n\"}");
        assert_report("s\tk\xff\t\xc3\xa4 \xc3 \xed\xa0\x80 \xf4\x90\x80\x80 \xc0\x80 \xf0\x9f\x98\x80\x1b\n",
                      "{\"k?\":\"\xc3\xa4 ? ??? ???? ?? \xf0\x9f\x98\x80\\u001b\"}");
        assert_int_equal(report("s\tx\ta\0b\n", 8, &text, NULL), 0);
        assert_string_equal(text, "{\n  \"x\": \"a?b\"\n}\n");
        free(text);
}

static void assert_bad_report(const char *lines, const char *message)
{
        struct err e = ERR_INIT;
        char *text = NULL;

        assert_int_equal(report(lines, strlen(lines), &text, &e), -EINVAL);
        assert_string_equal(e.text, message);
        assert_int_equal(e.status, STATUS_FAILURE);
        assert_null(text);
}

static void bad_reports(void **state)
{
        assert_bad_report("i\tx\t1", "report, line 1: no newline at its end");
        assert_bad_report("i\tx\t1\n\n", "report, line 2: not TYPE, tab, PATH, tab, VALUE");
        assert_bad_report("i\tx\n", "report, line 1: not TYPE, tab, PATH, tab, VALUE");
        assert_bad_report("\tx\t1\n", "report, line 1: not TYPE, tab, PATH, tab, VALUE");
        assert_bad_report("ii\tx\t1\n", "report, line 1: not TYPE, tab, PATH, tab, VALUE");
        assert_bad_report("s\tx\t1\t2\n", "report, line 1: tab in the value");
        assert_bad_report("x\tx\t1\n", "report, line 1: unknown type 'x'");
        assert_bad_report("i\tx\t\n", "report, line 1: '' is not an integer of 64 bits with sign");
        assert_bad_report("i\tx\t--1\n", "report, line 1: '--1' is not an integer of 64 bits with sign");
        assert_bad_report("i\tx\t9223372036854775808\n",
                          "report, line 1: '9223372036854775808' is not an integer of 64 bits with sign");
        assert_bad_report("b\tx\t1\n", "report, line 1: '1' is not true or false");
        assert_bad_report("n\tx\t1\n", "report, line 1: type n takes no value");
        assert_bad_report("a\tx\t1\n", "report, line 1: type a takes no value");
        assert_bad_report("s\tx\ta\\\n", "report, line 1: backslash without t, n or backslash after it");
        assert_bad_report("s\tx\ta\\x\n", "report, line 1: backslash without t, n or backslash after it");
        assert_bad_report("s\t\ta\n", "report, line 1: empty path");
        assert_bad_report("i\tx\t1\no\t\t\n", "report, line 2: empty path");
        assert_bad_report("i\t/x\t1\n", "report, line 1: empty component in the path");
        assert_bad_report("i\tx/\t1\n", "report, line 1: empty component in the path");
        assert_bad_report("i\tx\t1\ni\tx\t1\n", "report, line 2: 'x' is set twice");
        assert_bad_report("i\t0\t1\ni\t0\t1\n", "report, line 2: '0' is set twice");
        assert_bad_report("i\tx/y\t1\ni\tx\t1\n", "report, line 2: 'x' is set twice");
        assert_bad_report("i\tx\t1\ni\tx/y\t1\n", "report, line 2: 'y' is a key, but not of an object");
        assert_bad_report("i\tx/0\t1\ni\tx/y\t1\n", "report, line 2: 'y' is a key, but not of an object");
        assert_bad_report("i\tx/y\t1\ni\tx/0\t1\n", "report, line 2: '0' is an index, but not into an array");
        assert_bad_report("i\tx/1\t1\n", "report, line 1: index 1 is not at most the next one");
        assert_bad_report("i\tx/0\t1\ni\tx/99999999999999999999\t1\n",
                          "report, line 2: index 99999999999999999999 is not at most the next one");
}

static void report_depth(void **state)
{
        char line[2 * REPORT_DEPTH_MAX + 16] = "i\t";
        _cleanup_free_ char *text = NULL;

        for (int i = 1; i < REPORT_DEPTH_MAX; i++)
                strncat(line, "k/", 3);
        strncat(line, "k", 2);
        strncat(line, "\t1\n", 4);
        assert_int_equal(report(line, strlen(line), &text, NULL), 0);
        memcpy(line + strlen(line) - 3, "/k\t1\n", 6);
        assert_bad_report(line, "report, line 1: path has more than 64 components");
}

int main(int argc, char *argv[])
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_key),       cmocka_unit_test(round_trip),  cmocka_unit_test(bad_values),
                cmocka_unit_test(bad_io_limits),   cmocka_unit_test(bad_disks),   cmocka_unit_test(bad_devices),
                cmocka_unit_test(io_limits_count), cmocka_unit_test(bad_syntax),  cmocka_unit_test(schema_agrees),
                cmocka_unit_test(reports),         cmocka_unit_test(bad_reports), cmocka_unit_test(report_depth),
        };

        if (argc != 2)
                return 1;
        schema_path = argv[1];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
