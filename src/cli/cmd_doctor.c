#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli/commands.h"
#include "cli/doctor/host.h"
#include "cli/report.h"
#include "cli/report_options.h"

static const char doctor_help[] =
        "Usage: bulkhead doctor [--json]\n\n"
        "Tells whether this host can run guests, and what it lacks. Ends with status 0 when it can, else 3.\n"
        "An absent layer of isolation that guests can do without is listed and does not change the "
        "status.\n\n"
        "  --json  print JSON\n";

struct examination {
        struct doctor_check checks[DOCTOR_CHECKS_MAX];
        struct doctor_answer answers[DOCTOR_CHECKS_MAX];
        size_t count;
        struct doctor_verdict verdict;
        char lacking[256]; /* the instructions that guests cannot run */
};

static const char *result_word(const struct doctor_check *check, enum doctor_result result)
{
        switch (result) {
        case RESULT_OK:
                return "OK";
        case RESULT_UNKNOWN:
                return "UNKNOWN";
        case RESULT_MISSING:
                break;
        }
        return check->kind == OPTIONAL || check->kind == INFORMATIVE ? "ABSENT" : "MISSING";
}

static const char *remedy_of(const struct doctor_check *check, const struct doctor_answer *a)
{
        return a->remedy[0] ? a->remedy : check->remedy;
}

static void instructions_list(struct examination *x)
{
        for (size_t i = 0; i < x->count; i++)
                if (x->checks[i].kind == NEEDED_BY_KERNELS && x->answers[i].result == RESULT_MISSING) {
                        size_t used = strlen(x->lacking);

                        snprintf(x->lacking + used, sizeof(x->lacking) - used, "%s%s", used ? ", " : "",
                                 x->checks[i].title);
                }
}

static void print_verdict(const struct examination *x)
{
        const struct doctor_verdict *v = &x->verdict;
        const char *no = v->missing ? "MISSING" : "UNKNOWN";

        printf("\n%-7s  bare-metal guests\n", v->guests ? "OK" : no);
        printf("%-7s  unmodified kernels", v->kernels ? "OK" : no);
        if (x->lacking[0])
                printf(": this KVM back end cannot run %s: unmodified kernels will not boot; bare-metal "
                       "guests %s",
                       x->lacking, v->guests ? "do" : "would");
        printf("\n");
        if (v->absent)
                printf("         %u optional %s of isolation absent\n", v->absent, v->absent == 1 ? "layer" : "layers");
}

static void print_text(const struct examination *x)
{
        int width = 0;

        for (size_t i = 0; i < x->count; i++)
                if ((int)strlen(x->checks[i].title) > width)
                        width = (int)strlen(x->checks[i].title);
        for (size_t i = 0; i < x->count; i++) {
                const struct doctor_check *c = &x->checks[i];
                const struct doctor_answer *a = &x->answers[i];
                bool told = a->detail[0] != '\0', needs = a->result == RESULT_MISSING;

                printf("%-7s  ", result_word(c, a->result));
                if (!told && !needs) {
                        printf("%s\n", c->title);
                        continue;
                }
                printf("%-*s  %s%s%s%s\n", width, c->title, a->detail, told && needs ? "; " : "", needs ? "needs " : "",
                       needs ? remedy_of(c, a) : "");
        }
        print_verdict(x);
}

static int print_json(const struct examination *x, struct err *e)
{
        static const char *const kinds[] = {
                [NEEDED_BY_GUESTS] = "required",
                [NEEDED_BY_KERNELS] = "required by unmodified kernels",
                [OPTIONAL] = "optional",
                [INFORMATIVE] = "informative",
        };
        static const char *const results[] = {
                [RESULT_OK] = "ok", [RESULT_MISSING] = "missing", [RESULT_UNKNOWN] = "unknown"};
        struct report rep;
        int r = report_open(&rep, e);

        if (r < 0)
                return r;
        report_boolean(&rep, x->verdict.guests, "bare_metal_guests");
        report_boolean(&rep, x->verdict.kernels, "unmodified_kernels");
        report_integer(&rep, x->verdict.absent, "optional_layers_absent");
        report_array(&rep, "checks");
        for (size_t i = 0; i < x->count; i++) {
                const struct doctor_check *c = &x->checks[i];
                const struct doctor_answer *a = &x->answers[i];

                report_text(&rep, c->id, "checks/%zu/id", i);
                report_text(&rep, c->title, "checks/%zu/title", i);
                report_text(&rep, kinds[c->kind], "checks/%zu/kind", i);
                report_text(&rep, results[a->result], "checks/%zu/result", i);
                if (a->detail[0])
                        report_text(&rep, a->detail, "checks/%zu/detail", i);
                if (a->result == RESULT_MISSING)
                        report_text(&rep, remedy_of(c, a), "checks/%zu/needs", i);
        }
        return report_print(&rep, e);
}

int cmd_doctor(int argc, char *argv[], struct err *e)
{
        static struct examination x;
        struct report_options o;
        struct real_host ctx;
        struct doctor_host host;
        int r = report_options_parse(argc, argv, false, &o, e);

        if (r < 0)
                return (int)e->status;
        if (o.help) {
                fputs(doctor_help, stdout);
                return STATUS_OK;
        }
        real_host_open(&ctx, &host);
        x.count = doctor_checks(geteuid() == 0, x.checks);
        doctor_ask(&host, x.checks, x.count, x.answers, &x.verdict);
        real_host_close(&ctx);
        instructions_list(&x);
        if (o.json)
                r = print_json(&x, e);
        else
                print_text(&x);
        if (r < 0)
                return (int)e->status;
        return x.verdict.guests && x.verdict.kernels ? STATUS_OK : STATUS_HOST;
}
