/* The report for programs. docs/audit.schema.json describes it; REPORT_JSON_VERSION counts incompatible changes. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "audit/report/report.h"

static json_t *guests_json(const struct report_view *v)
{
        json_t *list = json_array();

        for (size_t i = 0; i < v->audit->inv.guests.count; i++) {
                const struct guest *g = v->audit->inv.guests.items[i];

                if (v->tenant && v->tenant != g)
                        continue;
                json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:i, s:I, s:I, s:I}", "name", g->name, "kind",
                                                      g->kind, "manager", g->manager, "pid", g->vmm->pid,
                                                      "memory_bytes", (json_int_t)g->ram_bytes, "vcpus",
                                                      (json_int_t)g->vcpus, "processes", (json_int_t)g->members.count));
        }
        return list;
}

static json_t *checks_json(void)
{
        json_t *list = json_array();

        for (int b = 0; b < BOUNDARY_COUNT; b++)
                for (const struct check *c = check_tables[b]; c->id; c++)
                        json_array_append_new(list,
                                              json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:b}", "id",
                                                        c->id, "boundary", boundary_names[b], "severity",
                                                        severity_names[c->severity], "worst", verdict_names[c->worst],
                                                        "claim", c->claim, "examined", c->examined, "rule", c->rule,
                                                        "source", c->source, "remedy", c->remedy, "deep", c->deep));
        return list;
}

static json_t *finding_json(const struct report_view *v, const struct finding *f)
{
        json_t *guests = json_array(), *evidence = json_array();

        for (size_t i = 0; i < f->guests.count; i++) {
                const struct guest *g = v->audit->inv.guests.items[f->guests.items[i]];

                if (!v->tenant || v->tenant == g)
                        json_array_append_new(guests, json_string(g->name));
        }
        for (size_t i = 0; i < f->evidence.count; i++) {
                const struct evidence *e = &f->evidence.items[i];

                if (report_may_show(v, e))
                        json_array_append_new(evidence, json_pack("{s:s, s:s, s:I}", "question", e->question, "answer",
                                                                  e->excerpt, "time_ms", (json_int_t)e->time_ms));
        }
        return json_pack("{s:s, s:s, s:b, s:o, s:s, s:s?, s:o}", "id", f->check->id, "verdict",
                         verdict_names[f->verdict], "softened", f->verdict != f->unsoftened, "guests", guests, "text",
                         report_text(v, f->text), "needs", f->needs, "evidence", evidence);
}

int report_print_json(const struct report_view *v, FILE *to, struct err *e)
{
        json_t *findings = json_array(), *root;
        int r;

        for (size_t i = 0; i < v->count; i++)
                json_array_append_new(findings, finding_json(v, v->findings[i]));
        root = json_pack("{s:i, s:s, s:{s:s, s:b}, s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:o}", "version",
                         REPORT_JSON_VERSION, "summary", report_sentence(v), "host", "kernel", v->audit->host.kernel,
                         "virtual_machine", v->audit->host.nested, "counts", "pass",
                         (json_int_t)v->counts[VERDICT_PASS], "warn", (json_int_t)v->counts[VERDICT_WARN], "fail",
                         (json_int_t)v->counts[VERDICT_FAIL], "unknown", (json_int_t)v->counts[VERDICT_UNKNOWN], "na",
                         (json_int_t)v->counts[VERDICT_NA], "guests", guests_json(v), "checks", checks_json(),
                         "findings", findings);
        if (!root)
                return err_set(e, -ENOMEM, "build the report as JSON");
        r = json_dumpf(root, to, JSON_INDENT(2)) < 0 || fputc('\n', to) == EOF ? -EIO : 0;
        json_decref(root);
        return r < 0 ? err_set(e, r, "write the report") : 0;
}
