/* Between the files that ask the kernel by netlink and answer in lines. */
#pragma once

#include <libmnl/libmnl.h>

#include "audit/observe/live.h"

#define NETLINK_REQUEST_MAX 512

/* A request without its netlink header: a family's own header and attributes behind it. */
struct netlink_request {
        uint16_t type;
        const void *header;
        size_t header_len;
        uint32_t ext_mask; /* IFLA_EXT_MASK, where not 0 */
};

/* Sends the request as a dump to the network namespace that subject names ("self" or a pid) and gives each reply to
 * line, which adds to out. Returns 0 or a negative errno. */
int netlink_dump(struct live_lines *out, const char *subject, int protocol, const struct netlink_request *request,
                 void (*line)(struct live_lines *out, const struct nlmsghdr *reply));

/* Attributes by type, those past max left out. */
void netlink_attrs(const struct nlmsghdr *reply, size_t header_len, const struct nlattr **ret, size_t max);
void netlink_nested(const struct nlattr *nest, const struct nlattr **ret, size_t max);

/* Values; the fallback where the attribute is missing or too short. */
uint8_t netlink_u8(const struct nlattr *attr, uint8_t fallback);
uint16_t netlink_u16(const struct nlattr *attr, uint16_t fallback);
uint32_t netlink_u32(const struct nlattr *attr, uint32_t fallback);
uint32_t netlink_be32(const struct nlattr *attr, uint32_t fallback); /* as nf_tables sends it */
uint64_t netlink_be64(const struct nlattr *attr, uint64_t fallback);
char *netlink_text(struct live_lines *out, const struct nlattr *attr, const char *fallback); /* escaped */
