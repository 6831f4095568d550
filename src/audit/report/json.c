/* The report for programs. docs/audit.schema.json describes it; REPORT_JSON_VERSION counts incompatible changes. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "audit/report/report.h"
#include "audit/text.h"

static json_t *text_json(const struct report_view *v, const char *text)
{
        return text ? json_string(text_harmless(v->audit->arena, text, strlen(text), false)) : json_null();
}

static const char *const state_names[] = {
        [LAYER_NONE] = "none",
        [LAYER_UNREAD] = "unknown",
        [LAYER_SHARED] = "shared",
        [LAYER_OWN] = "own",
};

/* Layer by layer, whether this guest has a compartment of its own. */
static json_t *compartments_json(const struct report_view *v, size_t guest)
{
        json_t *layers = json_object();

        for (int i = 0; i < LAYER_COUNT; i++) {
                size_t others;

                json_object_set_new(layers, layer_names[i],
                                    json_string(state_names[report_layer(v, guest, (enum layer)i, &others)]));
        }
        return layers;
}

static json_t *guests_json(const struct report_view *v)
{
        json_t *list = json_array();

        for (size_t i = 0; i < v->audit->inv.guests.count; i++) {
                const struct guest *g = v->audit->inv.guests.items[i];

                if (v->tenant && v->tenant != g)
                        continue;
                json_array_append_new(
                        list, json_pack("{s:s, s:o, s:o, s:i, s:I, s:I, s:I, s:o}", "name", report_name(v, g), "kind",
                                        text_json(v, g->kind), "manager", text_json(v, g->manager), "pid", g->vmm->pid,
                                        "memory_bytes", (json_int_t)g->ram_bytes, "vcpus", (json_int_t)g->vcpus,
                                        "processes", (json_int_t)g->members.count, "layers", compartments_json(v, i)));
        }
        return list;
}

/* Guests that a layer does not separate from each other; for a tenant, its own group, the others counted. */
static json_t *group_json(const struct report_view *v, const char *layer, const struct pair_group *group)
{
        json_t *guests = json_array();
        size_t others = 0;

        for (size_t i = 0; i < group->count; i++) {
                const struct guest *g = v->audit->inv.guests.items[group->guests[i]];

                if (v->tenant && v->tenant != g)
                        others++;
                else
                        json_array_append_new(guests, json_string(report_name(v, g)));
        }
        if (json_array_size(guests) == 0) {
                json_decref(guests);
                return NULL;
        }
        return json_pack("{s:s, s:o, s:I}", "layer", layer, "guests", guests, "other_guests", (json_int_t)others);
}

static json_t *layer_list_json(unsigned int bits)
{
        json_t *list = json_array();

        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (bits & LAYER_BIT(i))
                        json_array_append_new(list, json_string(layer_names[i]));
        return list;
}

/* The pair that the fewest layers separate; null where there is no pair. */
static json_t *closest_json(const struct report_view *v)
{
        const struct guest_list *guests = &v->audit->inv.guests;
        unsigned int bits;
        size_t x, y;

        if (!report_closest(v, &x, &y))
                return json_null();
        bits = pair_layers(v->audit, x, y);
        return json_pack("{s:i, s:o, s:[s, s]}", "count", __builtin_popcount(bits), "layers", layer_list_json(bits),
                         "guests", report_name(v, guests->items[x]), report_name(v, guests->items[y]));
}

static json_t *separation_json(const struct report_view *v)
{
        json_t *shared = json_array();

        for (int i = 0; i < LAYER_COUNT; i++)
                for (size_t k = 0; k < v->audit->pairs.shared[i].count; k++) {
                        json_t *group = group_json(v, layer_names[i], &v->audit->pairs.shared[i].items[k]);

                        if (group)
                                json_array_append_new(shared, group);
                }
        return json_pack("{s:o, s:o, s:o}", "layers", layer_list_json(LAYER_BIT(LAYER_COUNT) - 1), "shared", shared,
                         "closest", closest_json(v));
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
                        json_array_append_new(guests, json_string(report_name(v, g)));
        }
        for (size_t i = 0; i < f->evidence.count; i++) {
                const struct evidence *e = &f->evidence.items[i];

                if (report_may_show(v, e))
                        json_array_append_new(evidence,
                                              json_pack("{s:s, s:s, s:I}", "question", report_question(v, e), "answer",
                                                        report_answer(v, e), "time_ms", (json_int_t)e->time_ms));
        }
        return json_pack("{s:s, s:s, s:b, s:o, s:I, s:s, s:o, s:o}", "id", f->check->id, "verdict",
                         verdict_names[f->verdict], "softened", f->verdict != f->unsoftened, "guests", guests,
                         "other_guests", (json_int_t)(f->guests.count - json_array_size(guests)), "text",
                         report_text(v, f->text), "needs", text_json(v, f->needs), "evidence", evidence);
}

static json_t *counts_json(const struct report_view *v)
{
        return json_pack("{s:I, s:I, s:I, s:I, s:I}", "pass", (json_int_t)v->counts[VERDICT_PASS], "warn",
                         (json_int_t)v->counts[VERDICT_WARN], "fail", (json_int_t)v->counts[VERDICT_FAIL], "unknown",
                         (json_int_t)v->counts[VERDICT_UNKNOWN], "na", (json_int_t)v->counts[VERDICT_NA]);
}

static json_t *host_json(const struct report_view *v)
{
        const struct host *h = &v->audit->host;

        return json_pack("{s:o, s:o, s:I, s:I}", "kernel", text_json(v, h->kernel), "virtual_machine",
                         h->nested_known ? json_boolean(h->nested) : json_null(), "processors",
                         (json_int_t)h->cpus_online, "memory_bytes", (json_int_t)h->memory_bytes);
}

/* With which privilege all of this was asked. */
static json_t *auditor_json(const struct report_view *v)
{
        char caps[17];

        snprintf(caps, sizeof(caps), "%llx", (unsigned long long)v->audit->host.caps);
        return json_pack("{s:I, s:s, s:b}", "uid", (json_int_t)v->audit->host.euid, "capabilities", caps, "deep",
                         v->audit->host.deep);
}

int report_print_json(const struct report_view *v, FILE *to, struct err *e)
{
        json_t *findings = json_array(), *root;
        int r;

        for (size_t i = 0; i < v->count; i++)
                json_array_append_new(findings, finding_json(v, v->findings[i]));
        root = json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version", REPORT_JSON_VERSION,
                         "summary", report_sentence(v), "tenant",
                         v->tenant ? json_string(report_name(v, v->tenant)) : json_null(), "host", host_json(v),
                         "auditor", auditor_json(v), "counts", counts_json(v), "guests", guests_json(v), "separation",
                         separation_json(v), "checks", checks_json(), "findings", findings);
        if (!root)
                return err_set(e, -ENOMEM, "build the report as JSON");
        r = json_dumpf(root, to, JSON_INDENT(2)) < 0 || fputc('\n', to) == EOF ? -EIO : 0;
        json_decref(root);
        return r < 0 ? err_set(e, r, "write the report") : 0;
}
