/*
 * bulkhead-audit: the program behind `bulkhead audit`. It finds every KVM guest of the host, examines each boundary of
 * each guest and of each pair, and reports. It changes nothing, and with --deep stops threads for milliseconds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "audit/audit.h"
#include "audit/options.h"
#include "audit/report/report.h"
#include "audit/text.h"
#include "base/cleanup.h"
#include "base/io.h"

static void __attribute__((noreturn)) exhausted(void)
{
        static const char line[] = "bulkhead: audit: out of memory; there is no verdict\n";

        (void)io_write_all(STDERR_FILENO, line, sizeof(line) - 1);
        _exit(STATUS_FAILURE);
}

static void progress_print(void *ctx, const char *id)
{
        (void)ctx;
        fprintf(stderr, "\r\033[Kexamining %s", id);
}

static struct observer *observer_open(struct arena *arena, const struct audit_options *opt, struct err *e)
{
        struct observer *o = opt->fixture ? observer_fixture(arena, opt->fixture, e) : observer_live(arena, e);

        return o && opt->record ? observer_recording(arena, o, opt->record, e) : o;
}

/* Guests that claim one name have their pids behind it. The names of those that begin like that, or NULL. */
static char *namesakes(const struct audit *a, const char *name)
{
        char *start = arena_printf(a->arena, "%s (pid ", name), *all = NULL;

        for (size_t i = 0; i < a->inv.guests.count; i++) {
                const char *other = a->inv.guests.items[i]->name;

                if (text_has_prefix(other, start))
                        all = arena_printf(a->arena, "%s%s\"%s\"", all ? all : "", all ? ", " : "", other);
        }
        return all;
}

static const struct guest *tenant_find(const struct audit *a, const char *name, struct err *e)
{
        char *others;

        for (size_t i = 0; i < a->inv.guests.count; i++)
                if (strcmp(a->inv.guests.items[i]->name, name) == 0)
                        return a->inv.guests.items[i];
        others = namesakes(a, name);
        if (others)
                err_bad(e, STATUS_NAME, "audit guest \"%s\": more than one calls itself that; choose from %s", name,
                        others);
        else
                err_bad(e, STATUS_NAME,
                        "audit guest \"%s\": there is no KVM guest of that name; bulkhead audit lists them all", name);
        return NULL;
}

/* https://no-color.org */
static bool colour_wanted(void)
{
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return isatty(STDOUT_FILENO) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

/* 0: not known. */
static unsigned int terminal_width(void)
{
        struct winsize size;

        return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* page: open already; negative: it is not. */
static int page_write(const struct report_view *v, const char *path, int page, struct err *e)
{
        return page < 0 ? report_write_html(v, path, e) : report_fill_html(v, page, path, e);
}

static int report(struct audit *a, const struct audit_options *opt, int page, struct err *e)
{
        struct report_view view;
        const struct guest *tenant = NULL;

        if (opt->guest) {
                tenant = tenant_find(a, opt->guest, e);
                if (!tenant)
                        return (int)e->status;
        }
        report_view_make(a, tenant, &view);
        view.verbose = opt->verbose;
        view.colour = colour_wanted();
        view.width = terminal_width();
        if (opt->html && page_write(&view, opt->html, page, e) < 0)
                return (int)e->status;
        if (!opt->json)
                report_print_text(&view, stdout);
        else if (report_print_json(&view, stdout, e) < 0)
                return (int)e->status;
        if (fflush(stdout) == EOF || ferror(stdout)) {
                err_set(e, -EIO, "write the report");
                return STATUS_FAILURE;
        }
        return view.failed ? STATUS_ISOLATION : view.undetermined ? STATUS_UNDETERMINED : STATUS_OK;
}

static int audit(const struct audit_options *opt, struct err *e)
{
        struct arena arena = {.exhausted = exhausted};
        struct audit a = {.arena = &arena};
        bool progress = isatty(STDERR_FILENO);
        int status = STATUS_FAILURE, page = -1;

        a.observer = observer_open(&arena, opt, e);
        if (!a.observer)
                return (int)e->status;
        if (opt->html && opt->tier != TIER_ALL) { /* with the caller's rights, as the recording */
                page = report_open_html(opt->html, opt->guest != NULL, e);
                if (page < 0)
                        return (int)e->status;
        }
        if (tier_enter(opt->tier, e) < 0)
                return (int)e->status;
        if (host_read(a.observer, opt->deep, &a.host, e) == 0 && inventory_read(a.observer, &a.host, &a.inv, e) == 0) {
                pairs_read(&a);
                audit_run(&a, progress ? progress_print : NULL, NULL);
                if (progress)
                        fprintf(stderr, "\r\033[K");
                status = report(&a, opt, page, e);
        } else
                status = (int)e->status;
        a.observer->close(a.observer);
        arena_free(&arena);
        return status;
}

int main(int argc, char *argv[])
{
        struct err e = ERR_INIT;
        struct audit_options opt;
        int status;

        if (audit_options_parse(argc, argv, &opt, &e) < 0)
                status = (int)e.status;
        else if (opt.help) {
                fputs(audit_help, stdout);
                status = STATUS_OK;
        } else
                status = audit(&opt, &e);
        if (e.text[0])
                err_print(&e, STDERR_FILENO, "bulkhead");
        return status;
}
