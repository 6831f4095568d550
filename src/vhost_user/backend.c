#include "vhost_user/backend.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "base/cleanup.h"
#include "vhost_user/backend_parts.h"

#define PROTOCOL_FEATURES                                                                                \
        (VU_PROTOCOL_MQ | VU_PROTOCOL_REPLY_ACK | VU_PROTOCOL_BACKEND_REQ | VU_PROTOCOL_INFLIGHT_SHMFD | \
         VU_PROTOCOL_RESET_DEVICE | VU_PROTOCOL_CONFIGURE_MEM_SLOTS | VU_PROTOCOL_STATUS)

void vu_backend_init(struct vu_backend *b, const struct vu_device_ops *ops, void *ctx, int fd)
{
        memset(b, 0, sizeof(*b));
        b->ops = ops;
        b->ctx = ctx;
        b->fd = fd;
        b->request_fd = -1;
        for (unsigned int i = 0; i < VU_QUEUES_MAX; i++)
                b->queues[i] = (struct vu_queue){.index = i, .backend = b, .kick_fd = -1, .call_fd = -1, .err_fd = -1};
}

static uint64_t features_offered(const struct vu_backend *b)
{
        return b->ops->features | VU_F_PROTOCOL_FEATURES;
}

static uint64_t protocol_offered(const struct vu_backend *b)
{
        return PROTOCOL_FEATURES | (b->ops->config_bytes > 0 ? VU_PROTOCOL_CONFIG : 0);
}

static int on_get_features(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        m->body.u64 = features_offered(b);
        return 0;
}

/* Frozen while a queue runs: its ring is read as they say. */
static int on_set_features(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        uint64_t features = m->body.u64;

        if (features & ~features_offered(b))
                return err_set(e, -EINVAL, "features %#llx, which are not offered",
                               (unsigned long long)(features & ~features_offered(b)));
        if (vu_queues_live(b) && features != b->features)
                return err_set(e, -EBUSY, "other features while a queue runs");
        b->features = features;
        if (!(features & VU_F_PROTOCOL_FEATURES) && !vu_queues_live(b)) /* may know nothing of enabling */
                for (unsigned int i = 0; i < b->ops->queues; i++)
                        b->queues[i].enabled = true;
        if (b->ops->features_set)
                b->ops->features_set(b->ctx, features & ~VU_F_PROTOCOL_FEATURES);
        return 0;
}

static int on_get_protocol_features(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        m->body.u64 = protocol_offered(b);
        return 0;
}

static int on_set_protocol_features(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        if (m->body.u64 & ~protocol_offered(b))
                return err_set(e, -EINVAL, "protocol features %#llx, which are not offered",
                               (unsigned long long)(m->body.u64 & ~protocol_offered(b)));
        b->protocol_features = m->body.u64;
        return 0;
}

static int on_set_owner(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        return 0; /* whoever has the other end */
}

/* Some take it for more, which has led to errors: it disables the rings (the specification's advice). */
static int on_reset_owner(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        for (unsigned int i = 0; i < b->ops->queues; i++) {
                b->queues[i].live = false;
                b->queues[i].enabled = false;
                (void)vu_queue_apply(b, &b->queues[i], false, NULL); /* stopping cannot fail */
        }
        return 0;
}

static int on_get_queue_num(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        m->body.u64 = b->ops->queues;
        return 0;
}

/* Memory and protocol features belong to the connection: front ends do not send them anew. */
static int on_reset_device(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        for (unsigned int i = 0; i < b->ops->queues; i++)
                vu_queue_reset(b, &b->queues[i]);
        vu_inflight_drop(b);
        b->features = 0;
        b->status = 0;
        return 0;
}

static int on_set_status(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        if (m->body.u64 == 0)
                return on_reset_device(b, m, e);
        b->status = (uint8_t)m->body.u64;
        return 0;
}

static int on_get_status(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        m->body.u64 = b->status;
        for (unsigned int i = 0; i < b->ops->queues; i++)
                if (b->queues[i].started && b->queues[i].ring.broken)
                        m->body.u64 |= VIRTIO_CONFIG_S_NEEDS_RESET;
        return 0;
}

static int on_backend_req_fd(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        fd_closep(&b->request_fd);
        b->request_fd = TAKE_FD(m->fds[0]);
        return 0;
}

/* What lies behind the device's own configuration space reads as zero. */
static int on_get_config(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        uint8_t config[VU_CONFIG_MAX] = {0};
        struct vu_payload_config *c = &m->body.config;

        b->ops->config_read(b->ctx, config);
        memcpy(c->data, config + c->off_bytes, c->size_bytes);
        return 0;
}

static int on_set_config(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        const struct vu_payload_config *c = &m->body.config;
        int r = -EINVAL;

        if (c->flags == 0 && b->ops->config_write && c->off_bytes + c->size_bytes <= b->ops->config_bytes)
                r = b->ops->config_write(b->ctx, c->off_bytes, c->data, c->size_bytes);
        return r < 0 ? err_set(e, r, "write %u bytes of configuration at %u", c->size_bytes, c->off_bytes) : 0;
}

static int (*const handlers[VU_REQUEST_END])(struct vu_backend *b, struct vu_message *m, struct err *e) = {
        [VU_GET_FEATURES] = on_get_features,
        [VU_SET_FEATURES] = on_set_features,
        [VU_SET_OWNER] = on_set_owner,
        [VU_RESET_OWNER] = on_reset_owner,
        [VU_SET_MEM_TABLE] = vu_on_mem_table,
        [VU_SET_VRING_NUM] = vu_on_vring_num,
        [VU_SET_VRING_ADDR] = vu_on_vring_addr,
        [VU_SET_VRING_BASE] = vu_on_vring_set_base,
        [VU_GET_VRING_BASE] = vu_on_vring_get_base,
        [VU_SET_VRING_KICK] = vu_on_vring_kick,
        [VU_SET_VRING_CALL] = vu_on_vring_call,
        [VU_SET_VRING_ERR] = vu_on_vring_err,
        [VU_GET_PROTOCOL_FEATURES] = on_get_protocol_features,
        [VU_SET_PROTOCOL_FEATURES] = on_set_protocol_features,
        [VU_GET_QUEUE_NUM] = on_get_queue_num,
        [VU_SET_VRING_ENABLE] = vu_on_vring_enable,
        [VU_SET_BACKEND_REQ_FD] = on_backend_req_fd,
        [VU_GET_CONFIG] = on_get_config,
        [VU_SET_CONFIG] = on_set_config,
        [VU_GET_INFLIGHT_FD] = vu_on_get_inflight,
        [VU_SET_INFLIGHT_FD] = vu_on_set_inflight,
        [VU_RESET_DEVICE] = on_reset_device,
        [VU_GET_MAX_MEM_SLOTS] = vu_on_max_mem_slots,
        [VU_ADD_MEM_REG] = vu_on_add_mem_reg,
        [VU_REM_MEM_REG] = vu_on_rem_mem_reg,
        [VU_SET_STATUS] = on_set_status,
        [VU_GET_STATUS] = on_get_status,
};

static int answer(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        int r;

        m->head.flags = VU_FLAG_VERSION | VU_FLAG_REPLY;
        r = vu_message_send(b->fd, m, VU_MESSAGE_TIMEOUT_MS);
        return r < 0 ? err_set(e, r, "answer the front end") : 0;
}

static int dispatch(struct vu_backend *b, struct vu_message *m, struct err *e)
{
        const struct vu_message_kind *kind = vu_message_kind(m->head.request, true);
        bool asked = m->head.flags & VU_FLAG_NEED_REPLY;
        int r;

        if (kind->protocol & ~b->protocol_features)
                return err_set(e, -EPROTO, "%s without its protocol feature", kind->name);
        r = handlers[kind->request](b, m, e);
        if (asked && !(b->protocol_features & VU_PROTOCOL_REPLY_ACK))
                return err_set(e, -EPROTO, "%s asks for an answer without its protocol feature", kind->name);
        if (kind->reply_always && r == 0) {
                m->head.size_bytes = kind->size_max > 0 ? m->head.size_bytes : sizeof(uint64_t);
                return answer(b, m, e);
        }
        if (kind->reply_always || !asked)
                return r < 0 ? err_wrap(e, r, "%s", kind->name) : 0;
        vu_message_close(m);
        m->head.size_bytes = sizeof(m->body.u64);
        m->body.u64 = r < 0;
        return answer(b, m, e);
}

int vu_backend_handle(struct vu_backend *b, struct err *e)
{
        struct vu_message m;
        int r = vu_message_receive(b->fd, true, NULL, VU_MESSAGE_TIMEOUT_MS, &m);

        if (r == -EPIPE)
                return r;
        if (r < 0)
                return err_set(e, r, "message %u of the front end", m.head.request);
        r = dispatch(b, &m, e);
        vu_message_close(&m);
        return r;
}

int vu_backend_config_changed(struct vu_backend *b)
{
        const struct vu_message m = {.head = {.request = VU_BACKEND_CONFIG_CHANGE, .flags = VU_FLAG_VERSION}};
        int r;

        if (b->request_fd < 0 || !(b->protocol_features & (VU_PROTOCOL_CONFIG | VU_PROTOCOL_STATUS)))
                return -ENOTSUP;
        r = vu_message_send(b->request_fd, &m, 0);
        return r == -ETIMEDOUT ? -EAGAIN : r;
}

void vu_backend_fini(struct vu_backend *b)
{
        if (!b->ops)
                return;
        for (unsigned int i = 0; i < VU_QUEUES_MAX; i++) {
                vu_queue_reset(b, &b->queues[i]);
                fd_closep(&b->queues[i].call_fd);
                fd_closep(&b->queues[i].err_fd);
        }
        vu_inflight_drop(b);
        guest_ram_unmap(&b->ram);
        fd_closep(&b->fd);
        fd_closep(&b->request_fd);
}
