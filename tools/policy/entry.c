/* One entry of a policy file: "call [conditions] : reason". */
#include <errno.h>
#include <seccomp.h>
#include <string.h>

#include "policy.h"

/* What is left to read of a condition list. */
struct cursor {
        const char *at;
};

static void blanks_skip(struct cursor *c)
{
        c->at += strspn(c->at, " \t");
}

static bool token_take(struct cursor *c, const char *token)
{
        blanks_skip(c);
        if (strncmp(c->at, token, strlen(token)) != 0)
                return false;
        c->at += strlen(token);
        return true;
}

static int name_take(const struct policy *p, struct cursor *c, struct number *ret, struct err *e)
{
        char name[POLICY_SYMBOL_MAX];
        size_t len = 0;

        while (policy_name_char(c->at[len]))
                len++;
        if (len == 0)
                return err_bad(e, STATUS_FAILURE, "a number or a name is missing before \"%s\"", c->at);
        if (len >= sizeof(name))
                return err_bad(e, STATUS_FAILURE, "name longer than %d characters", POLICY_SYMBOL_MAX - 1);
        memcpy(name, c->at, len);
        name[len] = '\0';
        if (policy_symbol_find(p, name, ret) < 0)
                return err_bad(e, STATUS_FAILURE, "unknown constant %s", name);
        c->at += len;
        return 0;
}

static int operand_take(const struct policy *p, struct cursor *c, struct number *ret, struct err *e)
{
        int r;

        blanks_skip(c);
        r = number_literal_parse(c->at, ret, &c->at);
        if (r == -ERANGE)
                return err_bad(e, STATUS_FAILURE, "number beyond 64 bits at \"%s\"", c->at);
        if (r == 0 && policy_name_char(*c->at))
                r = -EINVAL; /* 12abc, 0755 */
        else if (r < 0 && !(*c->at >= '0' && *c->at <= '9') && *c->at != '-')
                return name_take(p, c, ret, e);
        if (r < 0)
                return err_bad(e, STATUS_FAILURE, "not a decimal or 0x number at \"%s\"", c->at);
        return 0;
}

/* Reads V or V|V|... as the low 32 or all 64 bits. */
static int value_take(const struct policy *p, struct cursor *c, bool wide, uint64_t *ret, struct err *e)
{
        uint64_t value = 0;

        do {
                struct number n;
                int r = operand_take(p, c, &n, e);

                if (r < 0)
                        return r;
                if (!wide && (n.negative ? (int64_t)n.bits < INT32_MIN : n.bits > UINT32_MAX))
                        return err_bad(e, STATUS_FAILURE,
                                       "value does not fit the low 32 bits: write argN:64 to compare all");
                value |= wide ? n.bits : (uint32_t)n.bits;
        } while (token_take(c, "|"));
        *ret = value;
        return 0;
}

static int operator_take(const struct policy *p, struct cursor *c, struct condition *ret, struct err *e)
{
        int r;

        if (token_take(c, "==")) {
                ret->op = CONDITION_EQ;
        } else if (token_take(c, "!=")) {
                ret->op = CONDITION_NE;
        } else if (token_take(c, "<=")) {
                ret->op = CONDITION_LE;
        } else if (token_take(c, ">=")) {
                ret->op = CONDITION_GE;
        } else if (token_take(c, "&")) {
                ret->op = CONDITION_MASKED_EQ;
                r = value_take(p, c, ret->wide, &ret->mask, e);
                if (r < 0)
                        return r;
                if (!token_take(c, "=="))
                        return err_bad(e, STATUS_FAILURE, "a mask must be followed by == at \"%s\"", c->at);
        } else {
                return err_bad(e, STATUS_FAILURE, "no ==, !=, <=, >= or & at \"%s\"", c->at);
        }
        return value_take(p, c, ret->wide, &ret->value, e);
}

/* A condition that decides nothing makes an entry look narrower than it is. */
static int condition_check(const struct condition *c, struct err *e)
{
        uint64_t max = c->wide ? UINT64_MAX : UINT32_MAX;

        if (c->op == CONDITION_MASKED_EQ && (c->value & ~c->mask))
                return err_bad(e, STATUS_FAILURE, "never true: the value has bits outside its mask");
        if ((c->op == CONDITION_MASKED_EQ && c->mask == 0) || (c->op == CONDITION_GE && c->value == 0) ||
            (c->op == CONDITION_LE && c->value == max))
                return err_bad(e, STATUS_FAILURE, "always true: every value of arg%u meets it", c->arg);
        return 0;
}

static int condition_take(const struct policy *p, struct cursor *c, struct condition *ret, struct err *e)
{
        int r;

        *ret = (struct condition){0};
        if (!token_take(c, "arg") || *c->at < '0' || *c->at >= '0' + POLICY_ARGS)
                return err_bad(e, STATUS_FAILURE, "no arg0 to arg%d at \"%s\"", POLICY_ARGS - 1, c->at);
        ret->arg = (unsigned int)(*c->at++ - '0');
        ret->wide = strncmp(c->at, ":64", 3) == 0;
        if (ret->wide)
                c->at += 3;
        r = operator_take(p, c, ret, e);
        return r < 0 ? r : condition_check(ret, e);
}

static int conditions_parse(const struct policy *p, const char *text, struct rule *ret, struct err *e)
{
        struct cursor c = {.at = text};

        do {
                int r;

                if (ret->condition_count == POLICY_CONDITIONS_MAX)
                        return err_bad(e, STATUS_FAILURE, "more than %d conditions", POLICY_CONDITIONS_MAX);
                r = condition_take(p, &c, &ret->conditions[ret->condition_count], e);
                if (r < 0)
                        return r;
                ret->condition_count++;
        } while (token_take(&c, ","));
        blanks_skip(&c);
        if (*c.at != '\0')
                return err_bad(e, STATUS_FAILURE, "not understood: \"%s\"", c.at);
        return 0;
}

static int text_copy(char *to, size_t size, const char *from, const char *what, struct err *e)
{
        size_t len = strlen(from);

        while (len > 0 && (from[len - 1] == ' ' || from[len - 1] == '\t'))
                len--;
        if (len >= size)
                return err_bad(e, STATUS_FAILURE, "%s longer than %zu characters", what, size - 1);
        memcpy(to, from, len);
        to[len] = '\0';
        return 0;
}

static int call_parse(char *name, struct rule *ret, struct err *e)
{
        int r = text_copy(ret->call, sizeof(ret->call), name, "name of a call", e);

        if (r < 0)
                return r;
        /* Negative: unknown (__NR_SCMP_ERROR), or known on other architectures only. */
        ret->nr = seccomp_syscall_resolve_name_arch(SCMP_ARCH_X86_64, ret->call);
        if (ret->nr < 0)
                return err_bad(e, STATUS_FAILURE, "unknown system call %s", ret->call);
        return 0;
}

/* ioctl(2) is hundreds of calls behind one number: allowing the number alone allows them all. */
static int ioctl_check(const struct rule *rule, struct err *e)
{
        if (strcmp(rule->call, "ioctl") != 0)
                return 0;
        for (unsigned int i = 0; i < rule->condition_count; i++)
                if (rule->conditions[i].arg == 1 && rule->conditions[i].op == CONDITION_EQ)
                        return 0;
        return err_bad(e, STATUS_FAILURE, "ioctl without its request: add arg1 == REQUEST");
}

static const char *const mark_names[] = {[MARK_NONE] = "", [MARK_VARIES] = "varies", [MARK_ERROR] = "error"};

const char *rule_mark_name(enum rule_mark mark)
{
        return mark_names[mark];
}

/* Cuts "[mark] " off the reason. */
static int mark_take(char **reason, enum rule_mark *ret, struct err *e)
{
        char *name = *reason + 1, *end = strchr(name, ']');

        *ret = MARK_NONE;
        if (**reason != '[')
                return 0;
        if (!end)
                return err_bad(e, STATUS_FAILURE, "[ without ]");
        *end = '\0';
        for (size_t i = MARK_VARIES; i < ARRAY_LEN(mark_names); i++)
                if (strcmp(name, mark_names[i]) == 0) {
                        *ret = (enum rule_mark)i;
                        *reason = end + 1 + strspn(end + 1, " \t");
                        return 0;
                }
        return err_bad(e, STATUS_FAILURE, "unknown mark [%s]: a reason may start with [varies] or [error]", name);
}

int policy_entry_parse(const struct policy *p, char *text, struct rule *ret, struct err *e)
{
        char *after = text + strcspn(text, " \t[:");
        char *conditions = NULL;
        char *reason = after + strspn(after, " \t");
        int r;

        *ret = (struct rule){0};
        if (*reason == '[') {
                conditions = reason + 1;
                reason = strchr(conditions, ']');
                if (!reason)
                        return err_bad(e, STATUS_FAILURE, "[ without ]");
                *reason++ = '\0';
                reason += strspn(reason, " \t");
        }
        if (*reason != ':')
                return err_bad(e, STATUS_FAILURE, "no reason: an entry ends with \": why it is needed\"");
        reason += 1 + strspn(reason + 1, " \t");
        *after = '\0';

        r = call_parse(text, ret, e);
        if (r == 0)
                r = mark_take(&reason, &ret->mark, e);
        if (r == 0)
                r = text_copy(ret->reason, sizeof(ret->reason), reason, "reason", e);
        if (r == 0 && ret->reason[0] == '\0')
                r = err_bad(e, STATUS_FAILURE, "%s: the reason is empty", ret->call);
        if (r == 0 && conditions) {
                conditions += strspn(conditions, " \t");
                r = text_copy(ret->text, sizeof(ret->text), conditions, "condition list", e);
                if (r == 0)
                        r = conditions_parse(p, conditions, ret, e);
        }
        return r < 0 ? r : ioctl_check(ret, e);
}
