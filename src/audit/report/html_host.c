/* The picture of the host: a box for each guest, and what its walls are made of. */
#include <string.h>

#include "audit/report/html.h"
#include "audit/text.h"

static void fact(const struct html *h, const char *name, const char *value)
{
        html_put(h, "<dt>");
        html_text(h, name);
        html_put(h, "</dt><dd>");
        html_text(h, value);
        html_put(h, "</dd>");
}

static const char *state_class(enum layer_state s)
{
        return s == LAYER_OWN ? "own" : s == LAYER_SHARED ? "shared" : s == LAYER_NONE ? "missing" : "unread";
}

static char *state_text(const struct html *h, enum layer layer, enum layer_state s, size_t others)
{
        struct arena *a = h->view->audit->arena;

        if (s == LAYER_UNREAD)
                return arena_text(a, "not determined");
        if (layer == LAYER_SECCOMP)
                return arena_text(a, s == LAYER_OWN ? "every thread" : "not every thread");
        if (s == LAYER_SHARED)
                return arena_printf(a, "shared with %zu other guest%s", others, others == 1 ? "" : "s");
        return arena_text(a, s == LAYER_OWN ? "its own" : "none of its own");
}

static void compartments(const struct html *h, size_t guest)
{
        html_put(h, "<ul class=\"chips\">");
        for (int i = 0; i < LAYER_COUNT; i++) {
                size_t others;
                enum layer_state s = report_layer(h->view, guest, (enum layer)i, &others);

                fprintf(h->to, "<li class=\"chip %s\">", state_class(s));
                html_textf(h, "%s: %s", layer_names[i], state_text(h, (enum layer)i, s, others));
                html_put(h, "</li>");
        }
        html_put(h, "</ul>");
}

static char *member_list(const struct html *h, const struct guest *g)
{
        struct arena *a = h->view->audit->arena;
        struct text_buffer b = {0};

        for (size_t i = 0; i < g->members.count; i++) {
                const struct process *p = g->members.items[i].process;

                if (i == 6) {
                        text_appendf(a, &b, " and %zu more", g->members.count - i);
                        break;
                }
                text_appendf(a, &b, "%s%s (pid %d)", i ? ", " : "",
                             text_printable(a, p->comm, strlen(p->comm), 32, false), p->pid);
        }
        return b.count ? b.items : arena_text(a, "none");
}

static void guest_facts(const struct html *h, const struct guest *g)
{
        struct arena *a = h->view->audit->arena;
        const struct thread_list *threads = &g->vmm->threads;

        html_put(h, "<dl>");
        fact(h, "Monitor",
             g->manager && strcmp(g->manager, g->kind) != 0 ? arena_printf(a, "%s, managed by %s", g->kind, g->manager)
                                                            : g->kind);
        fact(h, "Runs as",
             threads->count ? arena_printf(a, "uid %u, gid %u", threads->items[0].uid[1], threads->items[0].gid[1])
                            : "not determined");
        fact(h, "Processes", member_list(h, g));
        fact(h, "Machine",
             arena_printf(a, "%zu vCPU%s, %llu MiB of memory", g->vcpus, g->vcpus == 1 ? "" : "s",
                          (unsigned long long)(g->ram_bytes >> 20)));
        html_put(h, "</dl>");
}

static void side_box(const struct html *h, const struct html_side *s)
{
        const struct guest *g = h->view->audit->inv.guests.items[s->guests[0]];

        html_put(h, "<li class=\"guest\"><h4>");
        html_text(h, s->label);
        html_put(h, "</h4>");
        if (s->count == 1)
                guest_facts(h, g);
        else
                html_put(h, "<p>Each has the compartments:</p>");
        compartments(h, s->guests[0]);
        html_put(h, "</li>\n");
}

static void others_box(const struct html *h, const struct html_side *s)
{
        html_put(h, "<li class=\"guest others\"><h4>");
        html_textf(h, "%zu other guest%s", s->count, s->count == 1 ? "" : "s");
        html_put(
                h,
                "</h4><p>This report is for one tenant: it tells nothing about others but what separates them from it.</p>"
                "</li>\n");
}

void html_host(const struct html *h)
{
        const struct host *host = &h->view->audit->host;

        html_put(h, "<div class=\"host\"><ul class=\"guests\">\n");
        for (size_t i = 0; i < h->side_count; i++)
                if (h->sides[i].unnamed)
                        others_box(h, &h->sides[i]);
                else
                        side_box(h, &h->sides[i]);
        html_put(h, "</ul>\n");
        if (h->left_out)
                html_put(h, "<p>More guests are on this host than this picture shows.</p>");
        html_put(h, "<p class=\"ground\"><b>Shared by all guests:</b> ");
        html_textf(h, "the host's kernel (%s) with KVM, %u processor%s, %llu MiB of memory%s.",
                   host->kernel ? host->kernel : "?", host->cpus_online, host->cpus_online == 1 ? "" : "s",
                   (unsigned long long)(host->memory_bytes >> 20),
                   host->nested ? ", on a host that is itself a virtual machine: what its own host does cannot be seen"
                                : "");
        html_put(h, "</p></div>\n");
}
