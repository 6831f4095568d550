/* Packet filters, addresses, listening sockets and settings of a network namespace. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/audit.h"
#include "audit/model/network.h"
#include "audit/text.h"

static void chain_parse(struct audit *a, char *line, struct net_filter *f)
{
        struct net_chain c = {.line = arena_text(a->arena, line)};

        net_word_take(&line);
        c.family = net_word_take(&line);
        c.table = net_word_take(&line);
        c.name = net_word_take(&line);
        c.type = net_word_take(&line);
        c.hook = net_word_take(&line);
        net_word_take(&line); /* priority */
        c.policy = net_word_take(&line);
        c.device = net_word_take(&line);
        *GROW(a->arena, &f->chains) = c;
}

static void rule_parse(struct audit *a, char *line, struct net_filter *f)
{
        struct net_rule r = {.line = arena_text(a->arena, line)};

        net_word_take(&line);
        r.family = net_word_take(&line);
        r.table = net_word_take(&line);
        r.chain = net_word_take(&line);
        net_word_take(&line); /* handle */
        r.words = line;
        *GROW(a->arena, &f->rules) = r;
}

static void rules_count(struct net_filter *f)
{
        for (size_t i = 0; i < f->rules.count; i++)
                for (size_t k = 0; k < f->chains.count; k++) {
                        struct net_chain *c = &f->chains.items[k];
                        const struct net_rule *r = &f->rules.items[i];

                        c->rules += strcmp(c->name, r->chain) == 0 && strcmp(c->table, r->table) == 0 &&
                                    strcmp(c->family, r->family) == 0;
                }
}

/* Names of the tables of iptables of the old kind: there are some as soon as somebody used it. */
static void legacy_read(struct audit *a, const struct net_space *s, struct net_filter *f)
{
        static const char *const files[] = {"ip_tables_names", "ip6_tables_names", "arp_tables_names"};

        for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
                struct answer names;
                int r = observe(a->observer, &names, "read /proc/%s/net/%s", s->subject, files[i]);

                f->legacy = f->legacy || (r == 0 && names.len > 0);
                if (r < 0 && r != -ENOENT)
                        f->legacy_error = r;
        }
}

const struct net_filter *net_filter(struct audit *a, struct net_space *s)
{
        struct net_filter *f = s->filter;
        struct answer answer;
        char *rest, *line;

        if (f)
                return f;
        s->filter = f = arena_alloc(a->arena, sizeof(*f));
        f->error = observe(a->observer, &answer, "nft %s", s->subject);
        for (rest = f->error < 0 ? NULL : answer.bytes; rest && (line = text_next_line(&rest));) {
                if (text_has_prefix(line, "chain "))
                        chain_parse(a, line, f);
                else if (text_has_prefix(line, "rule "))
                        rule_parse(a, line, f);
        }
        rules_count(f);
        legacy_read(a, s, f);
        return f;
}

/* Packets of the family pass chains of inet, too, and of devices. Chains of address translation drop nothing. */
static bool chain_concerns(const struct net_chain *c, const char *family, const char *hook)
{
        bool ip = text_has_prefix(family, "ip");

        if (strcmp(c->type, "filter") != 0)
                return false;
        if (strcmp(c->family, "netdev") == 0)
                return strcmp(c->hook, "ingress") == 0;
        if (strcmp(c->family, family) != 0 && !(ip && strcmp(c->family, "inet") == 0))
                return false;
        return strcmp(c->hook, hook) == 0 || strcmp(c->hook, "prerouting") == 0;
}

enum filter_state net_filter_state(struct audit *a, struct net_space *s, const char *family, const char *hook,
                                   const struct net_chain **ret_chain)
{
        const struct net_filter *f = net_filter(a, s);
        enum filter_state state = FILTER_OPEN;
        bool ip = text_has_prefix(family, "ip");
        const struct net_chain *decides = NULL;
        struct observed_stat st;

        if (f->error < 0)
                return FILTER_UNKNOWN;
        for (size_t i = 0; i < f->chains.count && state != FILTER_DROPS; i++) {
                const struct net_chain *c = &f->chains.items[i];

                if (!chain_concerns(c, family, hook))
                        continue;
                if (strcmp(c->policy, "drop") == 0 && c->rules == 0 && strcmp(c->family, "netdev") != 0)
                        state = FILTER_DROPS;
                else if (c->rules > 0)
                        state = FILTER_RULES;
                else
                        continue;
                decides = c;
        }
        if (ret_chain)
                *ret_chain = decides;
        if (state == FILTER_OPEN && ip && f->legacy)
                return FILTER_RULES;
        if (state == FILTER_OPEN && ip && f->legacy_error < 0)
                return FILTER_UNKNOWN;
        /* ebtables of the old kind tells its rules to nobody; its table is a module. */
        if (state == FILTER_OPEN && !ip && observe_stat(a->observer, "/sys/module/ebtable_filter", &st) == 0)
                return FILTER_RULES;
        return state;
}

const struct net_address_list *net_addresses(struct audit *a, struct net_space *s)
{
        struct answer answer;
        char *rest, *line;

        if (s->addresses)
                return s->addresses;
        s->addresses = arena_alloc(a->arena, sizeof(*s->addresses));
        s->addresses_error = observe(a->observer, &answer, "addresses %s", s->subject);
        for (rest = s->addresses_error < 0 ? NULL : answer.bytes; rest && (line = text_next_line(&rest));) {
                struct net_address *address = GROW(a->arena, s->addresses);
                char *text;

                address->line = arena_text(a->arena, line);
                address->index = (uint32_t)strtoul(net_word_take(&line), NULL, 10);
                address->v6 = strcmp(net_word_take(&line), "inet6") == 0;
                text = net_word_take(&line);
                address->text = arena_copy(a->arena, text, strcspn(text, "/"));
        }
        return s->addresses;
}

const struct net_listener_list *net_listeners(struct audit *a, struct net_space *s)
{
        struct answer answer;
        char *rest, *line;

        if (s->listeners)
                return s->listeners;
        s->listeners = arena_alloc(a->arena, sizeof(*s->listeners));
        s->listeners_error = observe(a->observer, &answer, "listeners %s", s->subject);
        for (rest = s->listeners_error < 0 ? NULL : answer.bytes; rest && (line = text_next_line(&rest));) {
                struct net_listener *l = GROW(a->arena, s->listeners);

                l->line = arena_text(a->arena, line);
                l->udp = strcmp(net_word_take(&line), "udp") == 0;
                l->address = net_word_take(&line);
                l->port = (uint16_t)strtoul(net_word_take(&line), NULL, 10);
                net_word_take(&line); /* uid */
                net_word_take(&line); /* inode */
                l->index = (uint32_t)strtoul(line, NULL, 10);
        }
        return s->listeners;
}

int net_setting(struct audit *a, const struct net_space *s, const char *name)
{
        struct answer answer;
        int r = observe(a->observer, &answer, "net-sysctl %s %s", s->subject, name);

        if (r < 0)
                return r == -ENOENT ? 0 : r;
        return (int)strtol(answer.bytes, NULL, 10);
}
