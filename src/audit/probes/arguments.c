/* Command lines: they are open to every user of the host, and tell how a monitor was started. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "audit/probes/inventory.h"
#include "audit/text.h"
#include "base/cleanup.h"

/* ---- secrets ---- */

static const char *const secret_words[] = {
        "password", "passwd",     "passphrase", "secret",      "token",       "api_key",    "api-key",
        "apikey",   "access_key", "access-key", "private_key", "private-key", "secret_key",
};

/* What stands behind "password=" without being one: switches, and names of files. */
static bool harmless_value(const char *value)
{
        static const char *const words[] = {"on", "off", "yes", "no", "true", "false", "none", "null", "0", "1"};
        size_t n = strcspn(value, ",;& \"'}");

        if (n == 0 || value[0] == '/')
                return true;
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
                if (strlen(words[i]) == n && strncasecmp(value, words[i], n) == 0)
                        return true;
        return false;
}

/* The value behind a word of an argument: "word=VALUE", "\"word\": \"VALUE\"", or the next argument; NULL: none. */
static const char *value_behind(const char *end, const char *next)
{
        end += *end == '"' || *end == '\'';
        if (*end == '\0')
                return next && next[0] != '-' ? next : NULL;
        if (*end != '=' && *end != ':')
                return NULL;
        end += 1 + strspn(end + 1, " ");
        return end + (*end == '"' || *end == '\'');
}

/* QEMU's "password-secret=NAME" and its like name an object; "--secret=VALUE" does not. */
static bool names_object(const char *arg, const char *word)
{
        return strncasecmp(word, "secret", 6) == 0 && word > arg + 1 && word[-1] == '-' &&
               isalnum((unsigned char)word[-2]);
}

static const char *secret_word(const char *arg, const char *next)
{
        bool option = arg[0] == '-';

        for (size_t i = 0; i < ARRAY_LEN(secret_words); i++) {
                const char *word = arg;

                while ((word = strcasestr(word, secret_words[i]))) {
                        const char *end = word + strlen(secret_words[i]);
                        const char *value = value_behind(end, option ? next : NULL);

                        if (value && !harmless_value(value) && !names_object(arg, word))
                                return secret_words[i];
                        word = end;
                }
        }
        return NULL;
}

/* QEMU's -object secret: data in the open, unless it is encrypted with another secret (keyid). */
static bool secret_object(const char *arg)
{
        bool plain = text_has_prefix(arg, "secret,") && strstr(arg, ",data=") && !strstr(arg, ",keyid=");
        bool json = strstr(arg, "\"qom-type\":\"secret\"") && strstr(arg, "\"data\":") && !strstr(arg, "\"keyid\":");

        return plain || json;
}

/* "scheme://user:password@host" */
static bool secret_url(const char *arg)
{
        const char *start = strstr(arg, "://");
        size_t n = start ? strcspn(start + 3, "/@ ,?#") : 0;

        return start && start[3 + n] == '@' && memchr(start + 3, ':', n);
}

static const char *secret_in(const char *arg, const char *next)
{
        if (secret_object(arg))
                return "data of a secret object";
        if (secret_url(arg))
                return "password in a URL";
        if (strstr(arg, ":key=")) /* rbd:POOL/IMAGE:id=NAME:key=KEY */
                return "key of a storage cluster";
        return secret_word(arg, next);
}

static void cmdline_unknown(struct audit *a, struct guest *g, const struct process *p)
{
        finding_unknown(a, g, -ENODATA, arena_printf(a->arena, "read /proc/%d/cmdline", p->pid));
}

/* A monitor without a command line hides it; another process may have none. false, with a finding. */
static bool cmdlines_known(struct audit *a, struct guest *g)
{
        if (g->vmm->argc == 0) {
                cmdline_unknown(a, g, g->vmm);
                return false;
        }
        for (size_t i = 1; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;
                char *question = arena_printf(a->arena, "read /proc/%d/cmdline", p->pid);
                struct answer again;
                int r = p->argc > 0 ? 0 : observe(a->observer, &again, "%s", question);

                if (r < 0 && r != -ESRCH) {
                        finding_unknown(a, g, r, question);
                        return false;
                }
        }
        return true;
}

void arguments_secrets_guest(struct audit *a, struct guest *g)
{
        struct finding *f = NULL;
        size_t arguments = 0;

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                arguments += p->argc;
                for (size_t k = 1; k < p->argc; k++) {
                        const char *what = secret_in(p->argv[k], p->argv[k + 1]);

                        if (!what)
                                continue;
                        if (!f)
                                f = finding_add(
                                        a, VERDICT_WARN, g,
                                        "The command line of a process of %s seems to hold a secret, which every user "
                                        "of the host can read.",
                                        GUEST_MARK(a, g));
                        /* It would be open to all readers of this report, too. */
                        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/cmdline", p->pid),
                                      "argument %zu: %s (value not shown)", k, what);
                }
        }
        if (f || !cmdlines_known(a, g))
                return;
        f = finding_add(a, VERDICT_PASS, g, "No command line of %s holds what looks like a secret.", GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/cmdline", g->vmm->pid),
                      "%zu processes with %zu arguments", g->members.count, arguments);
}

/* ---- switches that weaken a monitor ---- */

static const struct {
        const char *kind, *option;
        const char *value; /* that matters; NULL: any */
} weak_switches[] = {
        {"Firecracker", "--no-seccomp", NULL},
        {"Firecracker", "--seccomp-level", "0"},
        {"Cloud Hypervisor", "--seccomp", "false"},
        {"Cloud Hypervisor", "--seccomp", "log"},
        {"crosvm", "--disable-sandbox", NULL},
        {"crosvm", "--seccomp-log-failures", NULL},
        {"QEMU", "-s", NULL},
        {"QEMU", "-gdb", NULL},
        {"QEMU", "-sandbox", "off"},
};

/* Without these, QEMU opens what nobody asked for. */
static const char *const qemu_switches[] = {"-sandbox", "-nodefaults"};

/* Whether argument i of p is this option, spelled "-o", "--o", "--o=VALUE" or "--o VALUE", with this value. */
static bool option_is(const struct process *p, size_t i, const char *option, const char *value)
{
        const char *arg = p->argv[i], *given;
        size_t n = strlen(option);

        if (arg[0] == '-' && arg[1] == '-' && option[1] != '-') /* QEMU takes both */
                arg++;
        if (strncmp(arg, option, n) != 0 || (arg[n] != '\0' && arg[n] != '='))
                return false;
        if (!value)
                return true;
        given = arg[n] == '=' ? arg + n + 1 : p->argv[i + 1] ? p->argv[i + 1] : "";
        n = strlen(value);
        return strncmp(given, value, n) == 0 && (given[n] == '\0' || given[n] == ',');
}

static bool option_given(const struct process *p, const char *option, const char *value)
{
        for (size_t i = 1; i < p->argc; i++)
                if (option_is(p, i, option, value))
                        return true;
        return false;
}

static char *weak_list(struct audit *a, const struct guest *g)
{
        char *list = arena_text(a->arena, "");

        for (size_t i = 0; i < ARRAY_LEN(weak_switches); i++)
                if (strcmp(weak_switches[i].kind, g->kind) == 0 &&
                    option_given(g->vmm, weak_switches[i].option, weak_switches[i].value))
                        list = arena_printf(a->arena, "%s%s%s%s%s", list, *list ? ", " : "", weak_switches[i].option,
                                            weak_switches[i].value ? " " : "",
                                            weak_switches[i].value ? weak_switches[i].value : "");
        for (size_t i = 0; strcmp(g->kind, "QEMU") == 0 && i < ARRAY_LEN(qemu_switches); i++)
                if (!option_given(g->vmm, qemu_switches[i], NULL))
                        list = arena_printf(a->arena, "%s%sno %s", list, *list ? ", " : "", qemu_switches[i]);
        return list;
}

/* kvmtool and monitors that are not known here have no such switches, or none that are known. */
static bool has_switches(const struct guest *g)
{
        if (strcmp(g->kind, "bulkhead") == 0) /* whose monitor has none at all */
                return true;
        for (size_t i = 0; i < ARRAY_LEN(weak_switches); i++)
                if (strcmp(weak_switches[i].kind, g->kind) == 0)
                        return true;
        return false;
}

void arguments_profile_guest(struct audit *a, struct guest *g)
{
        char *weak;
        struct finding *f;

        if (has_switches(g) && g->vmm->argc == 0) {
                cmdline_unknown(a, g, g->vmm);
                return;
        }
        weak = weak_list(a, g);
        if (!has_switches(g))
                f = finding_add(a, VERDICT_NA, g, "Switches that would weaken the monitor of %s are not known here.",
                                GUEST_MARK(a, g));
        else if (*weak)
                f = finding_add(a, VERDICT_FAIL, g,
                                "The monitor of %s was started with less protection than it has: %s.", GUEST_MARK(a, g),
                                weak);
        else
                f = finding_add(a, VERDICT_PASS, g, "The monitor of %s was started without switches that weaken it.",
                                GUEST_MARK(a, g));
        finding_showf(a, f, GUEST_OWNER(g), arena_printf(a->arena, "read /proc/%d/cmdline", g->vmm->pid),
                      "%s: %zu arguments; %s", g->kind, g->vmm->argc, *weak ? weak : "none of the known switches");
}
